"""Help, examples, results and errors as JSON, unexpected errors, and advice that fits the case."""

import errno
import json
import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.cli import arguments
from equipoise.cli import main as cli
from equipoise.cli.commands import _dry_run, list_
from equipoise.core import catalog
from equipoise.core.controller import scheduled_knobs
from equipoise.errors import resume_command, unwritable

COMMANDS = list(cli.command_modules())


def write_images(folder: Path, count: int, size: tuple[int, int]) -> None:
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{index}.png")


RING = ("ring", "--steps", "2", "--batch-size", "8", "--metric", "none", "--option", "width=4", "--threads", "1")


def documented_keys(command: str) -> set[str]:
    return {key for keys in cli.command_modules()[command].JSON_KEYS for key in keys.split(", ")}


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_of_every_command_are_valid(command: str) -> None:
    examples = cli.command_modules()[command].EXAMPLES
    assert 1 <= len(examples) <= 5
    for example in examples:
        program, name, *words = shlex.split(example.partition(" > ")[0])
        assert (program, name) == ("equipoise", command)
        arguments.parse(cli.parser(command), words)
    assert examples[0] in cli.parser(command).format_help()


def test_help_of_a_command(call) -> None:
    code, out, err = call("help", "sample")
    assert (code, err) == (0, "")
    assert out == cli.parser("sample").format_help()
    assert call("help")[1] == call("--help")[1]
    assert call("help", "smaple")[2] == "equipoise: unknown command 'smaple'; did you mean 'sample'?\n"


@pytest.mark.parametrize(
    "words", [["train", "nowhere"], ["smaple"], ["runs", "--jsno"], ["sample", "none", "--out", "x"]]
)
def test_errors_are_json_with_json(call, words: list[str]) -> None:
    code, out, err = call(*words, "--json")
    result = json.loads(out)
    assert (code, err, result["exit_code"]) == (2, "", 2)
    assert call(*words)[2] == f"equipoise: {result['error']}\n"


def test_keys_of_json_results_are_documented(call, trained: Path, working_directory: Path) -> None:
    for command, words in {
        "train": ("train", *RING, "--out", "run"),
        "resume": ("resume", "run", "--steps", "3"),
        "report": ("report", "run"),
        "sample": ("sample", trained, "--count", "2", "--out", "grid.png"),
        "list": ("list", "dcgan"),
    }.items():
        code, out, err = call(*words, "--json")
        assert (code in (0, 3), err) == (True, "")
        assert json.loads(out).keys() <= documented_keys(command), command
    assert json.loads(call("runs", ".", "--json")[1])[0].keys() <= documented_keys("runs")
    assert json.loads(call("train", *RING, "--dry-run", "--json")[1]).keys() <= documented_keys("train")


def test_quiet_prints_the_result_alone(call, working_directory: Path) -> None:
    code, out, err = call("train", *RING, "--quiet", "--no-film", "--out", "run")
    assert (code, err, out) == (0, "", f"report: {Path('run', 'report.html')}\n")
    assert "'--quiet'" not in call("resume", "run", "--steps", "3", "--verbose", "--no-film")[2]


def test_quiet_and_verbose_exclude_each_other(error_line) -> None:
    assert "--quiet" in error_line("train", *RING, "--verbose", "--quiet")


def test_dry_run_is_a_page_for_people(call, working_directory: Path) -> None:
    code, out, _ = call("train", *RING, "--seed", "3", "--dry-run")
    assert code == 0
    titles = [line.split("  ")[0] for line in out.splitlines() if line and not line.startswith(" ")]
    assert titles[:7] == ["data", "model", "length", "control", "metric", "cost", "run folder"]
    assert "mlp (width=4" in out
    assert "generator 42 weights" in out
    assert "2 steps of 8 samples: 16 samples" in out
    assert out.splitlines()[-1].strip() == f"equipoise train {' '.join(RING)} --seed 3"
    assert list(working_directory.iterdir()) == []


def test_dry_run_prints_each_note_once_and_no_digests(call, working_directory: Path) -> None:
    write_images(working_directory / "photos", 9, (32, 32))
    words = ("train", "photos", "--image-size", "16", "--batch-size", "4", "--steps", "40", "--dry-run")
    code, out, err = call(*words, "--model", "dcgan", "--option", "width=4", "--threads", "1")
    assert (code, err) == (0, "")
    assert "assignment" not in out
    assert "larger than 16 pixels" in out
    assert "e+" not in out
    assert "20 passes through the data" in out


def test_dry_run_wraps_lines_in_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    page = _dry_run._format_page({"data": ["12 of 60 images are larger than 32 pixels: shrunk (image_size)"]}, "x")
    rows = page.splitlines()
    assert max(map(len, rows[:2])) <= 60
    assert rows[1].strip() == "(image_size)"


def test_empty_arguments_are_refused(error_line, trained: Path, working_directory: Path) -> None:
    assert "--out is empty" in error_line("sample", trained, "--out", "")
    assert "RUN is empty" in error_line("resume", " ")
    assert list(working_directory.iterdir()) == []


def test_unexpected_error(call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(list_, "KINDS", ("a defect",))
    code, out, err = call("list")
    (saved,) = tmp_path.glob("equipoise-traceback-*.txt")
    assert (code, out) == (1, "")
    assert err.startswith("equipoise: ")
    assert err.count("\n") == 1
    assert "this is a defect of Equipoise" in err
    assert str(saved) in err
    assert "Traceback" in saved.read_text()
    monkeypatch.setenv("EQUIPOISE_TRACEBACK", "1")
    assert "Traceback" in call("list")[2]


PLUGS = {
    "import": ("import torch\nraise ValueError('no luck')\n", "line 2: ValueError: no luck"),
    "syntax": ("def f(:\n", "line 1: SyntaxError: invalid syntax"),
    "missing": ("import no_such_module\n", "needs a missing module; install it: no_such_module"),
    "exit": ("raise SystemExit(3)\n", "line 1: SystemExit: 3"),
    "build": (
        "from dataclasses import dataclass\n__all__ = ['M']\n@dataclass\nclass M:\n"
        "    def build(self, spec, generator):\n        return 1 / 0\n",
        "line 6: ZeroDivisionError: division by zero",
    ),
}


@pytest.mark.parametrize("kind", PLUGS)
def test_plug_that_raises(error_line, working_directory: Path, kind: str) -> None:
    text, message = PLUGS[kind]
    (working_directory / "my_model.py").write_text(text)
    line = error_line("train", "ring", "--steps", "2", "--model", "./my_model.py")
    assert line.startswith(str(working_directory / "my_model.py"))
    assert message in line


@pytest.mark.parametrize("name", ["dcgan", "digits", "rank", "kid"])
def test_list_describes_a_plug(call, name: str) -> None:
    code, out, _ = call("list", name)
    (plug,) = json.loads(call("list", name, "--json")[1])["plugs"]
    assert code == 0
    assert plug["name"] == name
    assert plug["summary"] in out
    assert all(option in out and about["text"] for option, about in plug["options"].items())
    assert (Path(cli.__file__).parents[2] / plug["page"]).exists()
    if name == "dcgan":
        assert {"lab32", "celeba64", "cpu64"} == plug["presets"].keys()
        assert plug["knobs"]["lr_g"]["value"] == 2e-3
        assert "hinge" in plug["options"]["loss"]["values"]


def test_every_plug_can_be_described() -> None:
    for kind in list_.KINDS:
        for name in catalog.names(kind):
            plug = list_._describe_plug(kind, name, False)
            assert kind != "models" or plug.knobs, name
            assert all(option.text and option.values for option in plug.options.values()), name


def test_list_of_an_unknown_plug(error_line) -> None:
    assert "'dcgam'; did you mean 'dcgan'?" in error_line("list", "dcgam")


def test_knobs_with_schedules() -> None:
    for name, knobs in {
        "annealed": {"lr_g", "lr_d"},
        "rank": set(),
        "chain": set(),
        "chain:r3gan": {"r1_gamma", "r2_gamma", "ema_half_life", "beta2", "augment_p"},
    }.items():
        assert scheduled_knobs(catalog.build("controllers", name)) == knobs, name
    assert {"lr_g", "lr_d"} <= scheduled_knobs(catalog.build("controllers", "time_only"))


def test_empty_name_of_the_run_folder(error_line) -> None:
    assert "--out is empty" in error_line("train", *RING, "--out", "")


def test_name_like_a_flag(call, error_line, working_directory: Path) -> None:
    assert call("train", *RING, "--out=-rf")[0] in (0, 3)
    assert "equipoise resume ./-rf" in error_line("train", *RING, "--out=-rf")
    assert resume_command(Path("my run")) == "equipoise resume 'my run'"


def test_unknown_tracker(error_line) -> None:
    assert "there is no track 'foo'" in error_line("train", *RING, "--track", "foo")


@pytest.mark.parametrize(
    ("number", "options", "message"),
    [
        (errno.ENOSPC, {"then": "equipoise report run"}, "full; free some space, then: equipoise report run"),
        (errno.ENOSPC, {}, "full; free some space, then try again"),
        (errno.EROFS, {"has_out": True}, "choose another folder with --out"),
        (errno.EACCES, {}, "make it writable, or use a copy of it"),
    ],
)
def test_advice_fits_the_case(number: int, options: dict, message: str) -> None:
    text = unwritable(Path("run"), OSError(number, os.strerror(number)), **options)
    assert text.endswith(message)
    assert ("--out" in text) == ("--out" in message)


def test_full_disk_of_a_report_names_the_run(call, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(run: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(run_folder / "figures" / "x.png"))

    monkeypatch.setattr("equipoise.report.progress_figure.write_progress_figure", fail)
    code, _, err = call("report", run_folder)
    assert code == 2
    command = f"equipoise report {run_folder}"
    assert err == f"equipoise: the disk of {run_folder} is full; free some space, then: {command}\n"


def test_line_breaks_in_the_name_of_a_run_are_escaped(call, tiny: list[str], working_directory: Path) -> None:
    code, out, _ = call("train", *tiny, "--steps", "2", "--metric", "fd_pixels", "--no-film", "--out", "new\nline")
    assert code == 0
    assert [line.partition(":")[0] for line in out.splitlines()] == [
        "report",
        "weights",
        "the health of the run is unknown",
    ]
