"""Reading a path: the readers in their order, folders, standard input, and the answers to what is no log."""

import gzip
import io
import os
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from equipoise.diagnosis import readers
from equipoise.diagnosis.logs.log_file import LogFile
from equipoise.diagnosis.logs.training_log import TrainingLog, build_series
from equipoise.errors import DataError

TABLE = "step,train/d_loss,G Loss,FID,lr\n1,0.5,2.0,90,1e-4\n2,0.4,nan,,1e-4\n3,0.3,2.2,70,1e-4\n"
LOSSES = "step,d_loss,g_loss\n" + "".join(
    f"{step},{0.7 - step / 1000},{1 + step / 100}\n" for step in range(0, 500, 10)
)
FIDS = "step,fid\n" + "".join(f"{step},{90 - step / 10}\n" for step in range(0, 500, 100))


def write_log(folder: Path, text: str | bytes, name: str = "log.txt") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"dear diary, it trains\n",
        bytes(range(256)) * 4,
        gzip.compress(b"dear diary\n", mtime=0)[:-9],
        b"\x1f\x8b\x08broken",
        b'{"event": "x"}\n',
    ],
)
def test_what_is_no_log_is_an_error_of_one_line_with_the_path(tmp_path: Path, content: bytes) -> None:
    path = write_log(tmp_path, content)
    with pytest.raises(DataError) as raised:
        readers.read_log(path)
    message = str(raised.value)
    assert message.startswith(str(path))
    assert message.count(str(path)) == 1
    assert "\n" not in message


def test_an_unknown_form_is_answered_with_its_lines_the_flag_and_the_known_forms(tmp_path: Path) -> None:
    path = write_log(tmp_path, f"alpha beta\n\x1b]0;title\x07gamma {'x' * 300}\n\nthird\nfourth\n")
    with pytest.raises(DataError) as raised:
        readers.read_log(path)
    message = str(raised.value)
    assert "alpha beta | " in message
    assert "third" in message
    assert "fourth" not in message
    assert "\x1b" not in message
    assert "x" * 81 not in message
    assert "--pattern '" in message
    assert all(reader.name in message for reader in readers.log_readers())


def test_what_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        readers.read_log(tmp_path / "nowhere")


def test_devices_are_not_read() -> None:
    with pytest.raises(DataError, match="is a device"):
        readers.read_log(Path("/dev/zero"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_and_standard_input_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = readers.read_log(write_log(tmp_path, TABLE)).signals["loss_d"]
    stream = io.TextIOWrapper(io.BytesIO(gzip.compress(TABLE.encode())))
    monkeypatch.setattr(sys, "stdin", stream)
    np.testing.assert_array_equal(readers.read_log(Path("-")).signals["loss_d"].values, expected.values)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    if os.fork() == 0:
        pipe.write_text(TABLE)
        os._exit(0)
    np.testing.assert_array_equal(readers.read_log(pipe).signals["loss_d"].values, expected.values)
    os.wait()


def test_a_folder_without_a_log_says_what_was_looked_at(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0 files looked at") as raised:
        readers.read_log(tmp_path)
    assert str(raised.value).startswith(str(tmp_path))
    write_log(tmp_path, "dear diary\n", "notes.txt")
    write_log(tmp_path, b"\x89PNG", "image.png")
    with pytest.raises(DataError, match=r"2 files looked at; notes\.txt"):
        readers.read_log(tmp_path)


def test_the_log_with_most_signals_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    write_log(tmp_path, "step,d_loss\n1,0.5\n2,0.4\n", "old/short.csv")
    write_log(tmp_path, LOSSES, "run/metrics.csv")
    write_log(tmp_path, '{"lr": 0.1}', "run/config.json")
    log = readers.read_log(tmp_path)
    assert len(log.signals["loss_d"].steps) == 50
    assert "The log is run/metrics.csv; other logs there: old/short.csv." in log.notes


def test_metrics_next_to_the_losses_are_added(tmp_path: Path) -> None:
    write_log(tmp_path, LOSSES, "train.csv")
    write_log(tmp_path, FIDS, "fid.csv")
    log = readers.read_log(tmp_path)
    assert log.metrics["fid"].series.steps.tolist() == [0, 100, 200, 300, 400]
    assert len(log.signals["loss_d"].steps) == 50
    assert "The columns of fid.csv were added." in log.notes


def test_metrics_are_not_added_where_it_is_not_clear_to_what(tmp_path: Path) -> None:
    write_log(tmp_path, LOSSES, "a.csv")
    write_log(tmp_path, LOSSES, "b.csv")
    write_log(tmp_path, FIDS, "fid.csv")
    log = readers.read_log(tmp_path)
    assert not log.metrics
    assert any("other logs there: b.csv, fid.csv" in note for note in log.notes)


def test_metrics_by_epoch_are_not_added_to_losses_by_step(tmp_path: Path) -> None:
    write_log(tmp_path, LOSSES, "train.csv")
    write_log(tmp_path, FIDS.replace("step", "epoch"), "fid.csv")
    assert not readers.read_log(tmp_path).metrics


def test_the_exports_of_several_tags_are_one_run(tmp_path: Path) -> None:
    for tag in ("Loss_D", "Loss_G", "FID"):
        text = "Wall time,Step,Value\n" + "".join(f"{1.7e9 + step},{step},{step / 7}\n" for step in range(20))
        write_log(tmp_path, text, f"run-.-tag-{tag}.csv")
    log = readers.read_log(tmp_path)
    assert {*log.signals, *log.metrics} == {"loss_d", "loss_g", "fid"}


class MarkdownLog:
    """A reader of an installed package."""

    name = contents = "Markdown"
    order = 15
    folder_files = ()

    def read(self, files: Sequence[LogFile]) -> TrainingLog | None:
        if not files[0].head.startswith("# Log"):
            return None
        return TrainingLog(self.name, {"loss_d": build_series([1, 2], [0.5, 0.25])})


def test_reader_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry_point = EntryPoint("markdown", f"{__name__}:MarkdownLog", "equipoise.readers")
    monkeypatch.setattr(EntryPoint, "load", lambda self: MarkdownLog)
    monkeypatch.setattr(readers, "installed_plugs", lambda kind: {"markdown": [entry_point]})
    readers.log_readers.cache_clear()
    try:
        log = readers.read_log(write_log(tmp_path, "# Log\n"))
        assert (log.log_format, log.signals["loss_d"].values.tolist()) == ("Markdown", [0.5, 0.25])
    finally:
        readers.log_readers.cache_clear()


def test_every_reader_is_collected_and_documented() -> None:
    files = {path.stem for path in Path(readers.__path__[0]).glob("[a-z]*.py")}
    assert {type(reader).__module__.rpartition(".")[2] for reader in readers.log_readers()} == files
    orders = [reader.order for reader in readers.log_readers()]
    assert orders == sorted(set(orders))
    assert all(reader.name and reader.contents for reader in readers.log_readers())


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-8-sig"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    expected = readers.read_log(write_log(tmp_path, TABLE)).signals["loss_d"]
    body = TABLE.replace("\n", "\r\n").encode(encoding)
    np.testing.assert_array_equal(readers.read_log(write_log(tmp_path, body)).signals["loss_d"].values, expected.values)
