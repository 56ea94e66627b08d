"""Files that are no logs, damaged logs and unusual numbers, through `equipoise diagnose`."""

import gzip
import io
import json
import os
import pickle
import struct
import sys
import time
import unicodedata
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SPARSE_BYTES = 4 * 2**30
SECONDS_OF_PATTERN = 15


def losses(row: int) -> tuple[float, float]:
    """Losses of a run in which nothing is wrong."""
    return 0.9 + 0.1 * np.sin(row / 3), 1.3 + 0.2 * np.cos(row / 5)


def lines(count: int, start: int = 0) -> list[str]:
    """Lines of PyTorch's DCGAN, 50 per epoch."""
    result = []
    for row in range(start, start + count):
        d, g = losses(row)
        place = f"[{row // 50}/20][{row % 50}/50]"
        result.append(f"{place}\tLoss_D: {d:.4f}\tLoss_G: {g:.4f}\tD(x): 0.6800\tD(G(z)): 0.3300 / 0.2900\n")
    return result


def table(rows: Sequence[tuple[object, ...]], header: str = "step,loss_d,loss_g,fid") -> str:
    return "\n".join([header, *(",".join(str(cell) for cell in row) for row in rows)]) + "\n"


def improving(count: int, start: int = 0) -> list[tuple[object, ...]]:
    """Rows of a table: step, losses, and FID that improves."""
    fid = [20 + 180 * np.exp(-row / 8) for row in range(count)]
    return [(start + 100 * row, *(f"{loss:.4f}" for loss in losses(row)), f"{fid[row]:.2f}") for row in range(count)]


def has_control_characters(text: str) -> bool:
    return any(unicodedata.category(character) == "Cc" and character not in "\n\t" for character in text)


@pytest.fixture
def refusal(error_line: Callable[..., str]) -> Callable[..., str]:
    """Return a function that diagnoses what must be refused: one line that names it and says what to do."""

    def run(path: object, *flags: str) -> str:
        line = error_line("diagnose", path, *flags)
        assert not has_control_characters(line), line
        assert Path(str(path)).name in line
        assert ";" in line, line
        return line

    return run


@pytest.fixture
def diagnosis(call: Callable[..., tuple[int, str, str]]) -> Callable[..., dict[str, Any]]:
    """Return a function that diagnoses what can be read: the JSON result, after a look at what a terminal shows."""

    def run(path: object, *flags: str) -> dict[str, Any]:
        code, out, err = call("diagnose", path, *flags)
        assert (code, err) == (0, ""), err
        assert not has_control_characters(out), out
        code, out, _ = call("diagnose", path, "--json", *flags)
        assert code == 0
        result: dict[str, Any] = json.loads(out)
        return result

    return run


def text_of(result: object) -> str:
    """All strings of a result, as one text: notes may stand in any of its fields."""
    return json.dumps(result, ensure_ascii=False)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(768, dtype=np.uint8).reshape(16, 16, 3)).save(buffer, "PNG")
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("train.log", "".join(lines(40)))
    return buffer.getvalue()


def safetensors() -> bytes:
    header = json.dumps({"weight": {"dtype": "F32", "shape": [64], "data_offsets": [0, 256]}}).encode()
    return struct.pack("<Q", len(header)) + header + np.linspace(-1, 1, 64, dtype=np.float32).tobytes()


class Trap:
    """What must not be executed."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return (os.mkdir, ("executed",))


BINARY: dict[str, Callable[[], bytes]] = {
    "samples.png": png,
    "logs.zip": archive,
    "losses.pkl": lambda: pickle.dumps([Trap(), list(range(300))]),
    "model.safetensors": safetensors,
    "losses.npy": lambda: b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'}\n" + np.linspace(0, 1, 99).tobytes(),
    "random.log": lambda: np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes(),
}


@pytest.mark.parametrize("name", BINARY)
def test_binary_file(refusal, tmp_path: Path, working_directory: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BINARY[name]())
    refusal(tmp_path / name)
    assert list(working_directory.iterdir()) == []


def test_sparse_file_of_nothing(refusal, tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.touch()
    os.truncate(path, SPARSE_BYTES)
    start = time.process_time()
    refusal(path)
    assert time.process_time() - start < 2


def test_log_that_continues_as_a_sparse_file(diagnosis, tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("".join(lines(100)))
    os.truncate(path, SPARSE_BYTES)
    start = time.process_time()
    result = diagnosis(path)
    assert (time.process_time() - start) / 2 < 2, "read twice"
    assert result["readings"] == 100
    assert "NUL" in text_of(result)


@pytest.mark.parametrize("content", [b"", b"\n", b" \n\n\t\n", b"\0" * 3000], ids=["empty", "line", "blank", "NUL"])
def test_file_without_content(refusal, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.log").write_bytes(content)
    refusal(tmp_path / "train.log")


def test_text_that_is_no_log(refusal, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("# Notes\n\nThe generator should be trained longer.\nSee chapter 3.\n")
    refusal(tmp_path / "notes.txt")


def test_table_without_losses(refusal, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(table([("Ada", 36), ("Emmy", 53), ("Grace", 85)], "name,age"))
    assert "age" in refusal(tmp_path / "people.csv")


def test_folder_without_a_log(refusal, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    refusal(folder)
    (folder / "samples.png").write_bytes(png())
    (folder / "notes.txt").write_text("Nothing was measured.\n")
    (folder / "empty.log").touch()
    refusal(folder)


def test_missing_file(refusal, tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "train.log")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable(refusal, tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    path.chmod(0)
    refusal(path)
    path.chmod(0o700)


def test_name_with_control_characters(error_line, tmp_path: Path) -> None:
    path = tmp_path / "train\x1b[31m\n.log"
    path.write_text("nothing\n")
    assert not has_control_characters(error_line("diagnose", path))


class Input:
    """Standard input that holds these bytes."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)

    def isatty(self) -> bool:
        return False


def test_standard_input(
    diagnosis, call, monkeypatch: pytest.MonkeyPatch, error_line: Callable[..., str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdin", Input("".join(lines(60)).encode()))
    code, out, err = call("diagnose", "-", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["readings"] == 60
    monkeypatch.setattr(sys, "stdin", Input(b""))
    line = error_line("diagnose", "-")
    assert "standard input" in line
    assert ";" in line


# Compression


def test_truncated_gz_gives_what_precedes(diagnosis, tmp_path: Path) -> None:
    content = gzip.compress("".join(lines(1200)).encode())
    (tmp_path / "train.log.gz").write_bytes(content[: len(content) // 2])
    result = diagnosis(tmp_path / "train.log.gz")
    assert 200 < result["readings"] < 1200
    assert ".gz" in text_of({key: value for key, value in result.items() if key != "log"})


@pytest.mark.parametrize("content", [b"\x1f\x8b", b"\x1f\x8b\x08" + bytes(20), b"\x1f\x8b\x08\0\0\0\0\0\0\xff" * 9])
def test_damaged_gz(refusal, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.log.gz").write_bytes(content)
    refusal(tmp_path / "train.log.gz")


def test_binary_in_gz(refusal, tmp_path: Path) -> None:
    (tmp_path / "samples.log.gz").write_bytes(gzip.compress(png()))
    refusal(tmp_path / "samples.log.gz")


# Encodings


def test_mixed_encodings(diagnosis, tmp_path: Path) -> None:
    content = "".join(lines(60))
    latin = "Prüfung nach Epoche 1\n".encode("latin-1")
    (tmp_path / "train.log").write_bytes("Start é\n".encode() + content.encode() + latin + content.encode()[:0])
    result = diagnosis(tmp_path / "train.log")
    assert result["readings"] == 60
    assert "undecodable" in text_of(result)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("form", ["lines", "table"])
def test_encoding(diagnosis, tmp_path: Path, encoding: str, form: str) -> None:
    """PowerShell redirects to UTF-16; tools for tables begin UTF-8 with a byte order mark."""
    text = "".join(lines(60)) if form == "lines" else table(improving(60))
    (tmp_path / "train.log").write_bytes(text.replace("\n", "\r\n").encode(encoding))
    assert diagnosis(tmp_path / "train.log")["readings"] == 60


def test_nul_bytes_of_a_crash(diagnosis, tmp_path: Path) -> None:
    halves = ["".join(lines(50)).encode(), "".join(lines(50, 50)).encode()]
    (tmp_path / "train.log").write_bytes(halves[0] + bytes(4096) + b"\n" + halves[1])
    result = diagnosis(tmp_path / "train.log")
    assert result["readings"] == 100
    assert "NUL" in text_of(result)


def test_terminal_codes(diagnosis, tmp_path: Path) -> None:
    coloured = [f"\x1b[1;32m{line.strip()}\x1b[0m\x1b[K\n" for line in lines(60)]
    (tmp_path / "train.log").write_text("".join(coloured))
    assert diagnosis(tmp_path / "train.log")["readings"] == 60


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json"])
def test_terminal_codes_in_names_of_columns(diagnosis, tmp_path: Path, suffix: str) -> None:
    name = "bad\x1b[2J\x07\x9b31mname"
    records = [dict(zip(("step", "loss_d", "loss_g", "fid", name), (*row, 1.5), strict=True)) for row in improving(40)]
    text = {
        "csv": table([tuple(record.values()) for record in records], f"step,loss_d,loss_g,fid,{name}"),
        "jsonl": "".join(json.dumps({key: float(value) for key, value in it.items()}) + "\n" for it in records),
        "json": json.dumps([{key: float(value) for key, value in it.items()} for it in records]),
    }[suffix]
    (tmp_path / f"log.{suffix}").write_text(text)
    assert diagnosis(tmp_path / f"log.{suffix}")["readings"] == 40


# Numbers


def test_decimal_commas(diagnosis, tmp_path: Path) -> None:
    rows = [[str(cell).replace(".", ",") for cell in row] for row in improving(40)]
    semicolons = "\n".join(["step;loss_d;loss_g;fid", *(";".join(row) for row in rows)]) + "\n"
    (tmp_path / "log.csv").write_text(semicolons)
    result = diagnosis(tmp_path / "log.csv")
    assert (result["readings"], result["last"], result["verdict"]) == (40, 3900, "healthy")
    (tmp_path / "train.log").write_text("".join(f"step {row[0]} loss_d: {row[1]} loss_g: {row[2]}\n" for row in rows))
    result = diagnosis(tmp_path / "train.log")
    assert (result["readings"], result["last"]) == (40, 3900)
    assert not [finding for finding in result["findings"] if finding["severity"] >= 0.5]


@pytest.mark.parametrize("word", ["nan", "NaN", "inf", "-inf", "Infinity", "-nan(ind)", "1.#QNAN"])
@pytest.mark.parametrize("form", ["csv", "log"])
def test_losses_that_are_not_finite(diagnosis, tmp_path: Path, word: str, form: str) -> None:
    rows = [(row[0], *(row[1:3] if index < 40 else (word, word))) for index, row in enumerate(improving(60))]
    text = table(rows, "step,loss_d,loss_g")
    if form == "log":
        text = "".join(f"step: {step} loss_d: {d} loss_g: {g}\n" for step, d, g in rows)
    (tmp_path / f"train.{form}").write_text(text)
    result = diagnosis(tmp_path / f"train.{form}")
    assert result["verdict"] == "diverged"
    (finding,) = [finding for finding in result["findings"] if finding["symptom"] == "divergence"]
    assert 3900 <= finding["since"] <= 4200


def test_json_with_words_for_numbers(diagnosis, tmp_path: Path) -> None:
    rows = [{"step": 10 * row, "loss_d": losses(row)[0], "loss_g": losses(row)[1]} for row in range(40)]
    rows += [{"step": 10 * row, "loss_d": "NaN", "loss_g": None, "note": "x"} for row in range(40, 60)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert diagnosis(tmp_path / "log.jsonl")["verdict"] == "diverged"


@pytest.mark.parametrize("value", ["1e400", "9" * 400, "-" + "9" * 400])
def test_numbers_beyond_floating_point(call, tmp_path: Path, value: str) -> None:
    rows = [*improving(30), (3000, value, "1.2", ""), (value, "0.9", "1.2", "")]
    (tmp_path / "log.csv").write_text(table(rows))
    code, out, err = call("diagnose", tmp_path / "log.csv", "--json")
    assert code in (0, 2), err
    assert "defect" not in out + err


# Counters


def test_repeated_counters(diagnosis, tmp_path: Path) -> None:
    """Losses and metrics of a step in lines of their own, and each line twice, as with two handlers of logging."""
    texts = []
    for step, d, g, fid in improving(40):
        texts += [f"step: {step} loss_d: {d} loss_g: {g}\n"] * 2 + [f"step: {step} fid: {fid}\n"] * 2
    (tmp_path / "train.log").write_text("".join(texts))
    result = diagnosis(tmp_path / "train.log")
    assert (result["last"], result["verdict"]) == (3900, "healthy")


def test_counter_that_never_moves(diagnosis, tmp_path: Path) -> None:
    rows = [(0, *row[1:]) for row in improving(40)]
    (tmp_path / "log.csv").write_text(table(rows))
    assert "step" in text_of(diagnosis(tmp_path / "log.csv"))


def test_restart_from_a_checkpoint(diagnosis, tmp_path: Path) -> None:
    rows = improving(60)
    (tmp_path / "log.csv").write_text(table([*rows[:40], *rows[30:]]))
    result = diagnosis(tmp_path / "log.csv")
    assert (result["last"], result["verdict"]) == (5900, "healthy")
    assert "restart" in text_of(result) or "goes back" in text_of(result)


def test_two_runs_in_one_file(diagnosis, tmp_path: Path) -> None:
    """The second run starts from the first step with a bad FID: that is not a collapse of the first."""
    (tmp_path / "log.csv").write_text(table([*improving(60), *improving(60)]))
    result = diagnosis(tmp_path / "log.csv")
    assert result["verdict"] == "healthy"
    assert not [finding for finding in result["findings"] if finding["severity"] >= 0.5]
    (tmp_path / "train.log").write_text("".join([*lines(100), "Namespace(lr=0.0002)\n", *lines(100)]))
    result = diagnosis(tmp_path / "train.log")
    assert not [finding for finding in result["findings"] if finding["severity"] >= 0.5]


def test_two_runs_with_two_headers(diagnosis, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(table(improving(60)) + table(improving(60)))
    assert diagnosis(tmp_path / "log.csv")["verdict"] == "healthy"


# Regular expressions


def test_invalid_pattern(refusal, error_line: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("".join(lines(30)))
    line = error_line("diagnose", tmp_path / "train.log", "--pattern", "(?P<loss_d>[0-9")
    assert "pattern" in line


def test_pattern_without_groups(error_line, tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("".join(lines(30)))
    assert "(?P<" in error_line("diagnose", tmp_path / "train.log", "--pattern", "Loss_D: ([0-9.]+)")


def test_pattern_that_matches_nothing(refusal, tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("".join(lines(30)))
    line = refusal(tmp_path / "train.log", "--pattern", r"critic=(?P<loss_d>[0-9.]+)")
    assert "pattern" in line
    assert "Loss_D: 0.9" in line, "the lines that it was compared with"


def test_pattern(diagnosis, tmp_path: Path) -> None:
    texts = [f"it{row} critic!{losses(row)[0]:.4f}! maker!{losses(row)[1]:.4f}!\n" for row in range(40)]
    (tmp_path / "train.log").write_text("".join(texts))
    pattern = r"it(?P<step>\d+) critic!(?P<loss_d>[\d.]+)! maker!(?P<loss_g>[\d.]+)!"
    result = diagnosis(tmp_path / "train.log", "--pattern", pattern)
    assert (result["readings"], result["last"]) == (40, 39)


@pytest.mark.parametrize("pattern", [r"(?P<loss_d>(a+)+)$", r"(?P<step>\d+) (?P<loss_d>(\w+\s?)*)!$"])
def test_pattern_that_takes_exponential_time(
    error_line, tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.diagnosis.parsing.log_pattern.BLOCK_SECONDS", 0.5)
    (tmp_path / "train.log").write_text(f"1 {'a' * 400}?\n" * 50)
    start = time.process_time()
    line = error_line("diagnose", tmp_path / "train.log", "--pattern", pattern)
    assert time.process_time() - start < SECONDS_OF_PATTERN
    assert "pattern" in line
    assert ";" in line


def test_long_lines(call, tmp_path: Path) -> None:
    """Lines of a megabyte must not take quadratic time in our own expressions."""
    for text in ("a" * 2**20, "loss " * 2**18, "1" * 2**20, "[" * 2**20, "loss_d:" * 2**17, "a=" * 2**19):
        (tmp_path / "train.log").write_text(text + "\n" + "".join(lines(30)))
        start = time.process_time()
        code, out, err = call("diagnose", tmp_path / "train.log", "--json")
        assert time.process_time() - start < 5, text[:10]
        assert code in (0, 2), err
        assert "defect" not in out + err


# JSON


@pytest.mark.parametrize("nest", [("[", "]"), ('{"a":', "}"), ('{"loss_d":[', "]}")], ids=["lists", "objects", "both"])
def test_deeply_nested_json(refusal, tmp_path: Path, nest: tuple[str, str]) -> None:
    opening, closing = nest
    text = opening * 10_000 + "1" + closing * 10_000
    for name in ("log.json", "log.jsonl", "trainer_state.json", "notebook.ipynb"):
        (tmp_path / name).write_text(text + "\n")
        refusal(tmp_path / name)


def test_deeply_nested_line(diagnosis, tmp_path: Path) -> None:
    rows = [json.dumps({"step": row, "loss_d": losses(row)[0], "loss_g": losses(row)[1]}) for row in range(60)]
    rows.insert(30, '{"a":' * 10_000 + "1" + "}" * 10_000)
    (tmp_path / "log.jsonl").write_text("\n".join(rows) + "\n")
    result = diagnosis(tmp_path / "log.jsonl")
    assert result["readings"] == 60
    assert "1 of 61" in text_of(result) or "1 line" in text_of(result) or "1 record" in text_of(result)


@pytest.mark.parametrize("text", ["{", "[1, 2", '{"step": 1, "loss_d": ', "null", "3", '"text"', "[]", "{}", "[[]]"])
def test_json_without_records(refusal, tmp_path: Path, text: str) -> None:
    (tmp_path / "log.json").write_text(text)
    refusal(tmp_path / "log.json")
