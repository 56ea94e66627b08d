"""Flags of `equipoise diagnose`: columns, formats of the output, the figure, standard input, and their errors."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from equipoise.cli import main as cli
from equipoise.cli.commands._log_diagnosis import diagnose_path
from equipoise.cli.commands.diagnose import parse_columns
from equipoise.diagnosis.logs.log_columns import ReadOptions
from equipoise.diagnosis.rendering.summary import RUN_FORM
from equipoise.errors import SettingError

ErrorLine = Callable[..., str]
WON = "".join(f"{step},{1 / (1 + step)},{1 + step},{60 - step if step < 30 else step}\n" for step in range(60))
TABLE = f"step,loss_d,loss_g,fid\n{WON}"


@pytest.fixture
def log(working_directory: Path) -> Path:
    path = working_directory / "log.csv"
    path.write_text(TABLE)
    return path


def diagnose(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.run(["diagnose", *words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["loss_d=critic,loss_g=actor"], {"loss_d": "critic", "loss_g": "actor"}),
        (["loss_d = critic , fid=FID score"], {"loss_d": "critic", "fid": "FID score"}),
        (["loss_d=a,b,loss_g=c=d"], {"loss_d": "a,b", "loss_g": "c=d"}),
        ([r"loss_d=a\,loss_g=b"], {"loss_d": "a,loss_g=b"}),
        (["loss_d=x", "loss_g=y,fid=z"], {"loss_d": "x", "loss_g": "y", "fid": "z"}),
        (["loss_d=#1"], {"loss_d": "#1"}),
    ],
)
def test_columns_may_have_any_name(words: list[str], expected: dict[str, str]) -> None:
    assert parse_columns(words) == expected


@pytest.mark.parametrize("words", [["loss_d"], [""], ["=x"], ["loss_d="], ["loss_d=a", "loss_d=b"], ["loss d=a"]])
def test_columns_that_are_no_pairs(words: list[str]) -> None:
    with pytest.raises(SettingError, match="--columns"):
        parse_columns(words)


def test_columns_and_counter_are_named(working_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{minute},{1 / (1 + minute)},{1 + minute}\n" for minute in range(60))
    (working_directory / "t.csv").write_text(f"minute,critic one,actor\n{rows}")
    flags = ("--columns", "loss_d=critic one,loss_g=actor", "--step-from", "minute")
    output = json.loads(diagnose(capsys, "t.csv", *flags, "--json"))
    assert output["signals"] == "loss_d, loss_g"
    assert output["last"] == 59
    assert output["sources"]["loss_d"] == ["critic one"]


def test_unknown_column_is_an_error_of_one_line(log: Path, error_line: ErrorLine) -> None:
    assert "nowhere" in error_line("diagnose", log.name, "--columns", "loss_d=nowhere")
    assert "nowhere" in error_line("diagnose", log.name, "--step-from", "nowhere")


@pytest.mark.parametrize("flag", ["--columns=loss_d=x", "--pattern=x", "--step-from=x"])
def test_options_of_logs_do_not_apply_to_runs(trained: Path, error_line: ErrorLine, flag: str) -> None:
    line = error_line("diagnose", str(trained), flag)
    assert flag.partition("=")[0] in line
    assert "is a run of Equipoise" in line


def test_folders_in_and_around_a_run(trained: Path, working_directory: Path, error_line: ErrorLine) -> None:
    first, second = working_directory / "runs/first", working_directory / "runs/second"
    shutil.copytree(trained, first)
    options = ReadOptions()
    names = ("runs", "runs/first/checkpoints", "runs/first/events.jsonl")
    assert {diagnose_path(name, options)[0].diagnosis.form for name in names} == {RUN_FORM}
    shutil.copytree(trained, second)
    assert "runs contains 2 runs: first, second; use the path of one of them" in error_line("diagnose", "runs")
    (working_directory / "runs/train.log").write_text(TABLE)
    assert diagnose_path("runs", options)[0].diagnosis.form != RUN_FORM, "the log of another program comes first"


def test_json_in_two_ways(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diagnose(capsys, log.name, "--json") == diagnose(capsys, log.name, "--format", "json")
    assert diagnose(capsys, log.name, "--format=json").count("\n") == 1


@pytest.mark.parametrize("words", [["--format", "json"], ["--format=json"], ["--json"]])
def test_errors_are_json_too(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert cli.run(["diagnose", "nowhere", *words]) == 2
    assert "nowhere" in json.loads(capsys.readouterr().out)["error"]


def test_two_formats_contradict_each_other(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["diagnose", log.name, "--json", "--format", "markdown"]) == 2
    assert "--format markdown" in capsys.readouterr().out


def test_markdown(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = diagnose(capsys, log.name, "--format", "markdown")
    assert text.startswith("### Diagnosis of `log.csv`: ")
    assert "| finding | when | severity | evidence |" in text
    assert "```python" in text


def test_two_games_of_one_log(working_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        f"(epoch: 1, iters: {step}, time: 0.1, data: 0.2) D_A: {0.5 / (1 + step / 50):.3f} G_A: {0.3 + step / 400:.3f} "
        f"cycle_A: 1.2 idt_A: 0.4 D_B: 0.250 G_B: 0.260 cycle_B: 1.1 idt_B: 0.5\n"
        for step in range(100, 6000, 100)
    ]
    (working_directory / "loss_log.txt").write_text("".join(rows))
    output = json.loads(diagnose(capsys, "loss_log.txt", "--json"))
    labels = [game["game"] for game in output["games"]]
    assert len(labels) == 2
    assert {finding["game"] for finding in output["findings"]} <= set(labels)
    text = diagnose(capsys, "loss_log.txt", "--plot", "games.png")
    assert all(f"game {label}: " in text for label in labels)
    assert "final verdict of 2 games: " in text
    with Image.open("games.png") as image:
        assert image.height > 1000


def test_standard_input(log: Path) -> None:
    code = "import sys; from equipoise.cli import main; main.main()"
    command = [sys.executable, "-c", code, "diagnose", "-", "--json"]
    result = subprocess.run(command, input=log.read_bytes(), capture_output=True, timeout=100, check=True)
    output = json.loads(result.stdout)
    assert output["log"] == "-"
    assert output["readings"] == 60


def test_figure(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = diagnose(capsys, log.name, "--plot", "folder/curves.png")
    assert "figure: folder/curves.png" in text
    with Image.open("folder/curves.png") as image:
        image.load()
        assert image.width == 1600
        assert image.height > 500
    assert os.listdir("folder") == ["curves.png"], "no partial file is left"
    assert log.read_text() == TABLE
    assert json.loads(diagnose(capsys, log.name, "--plot", "b.png", "--json"))["plot"] == "b.png"


def test_figure_of_a_run(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.name for path in trained.rglob("*"))
    diagnose(capsys, str(trained), "--plot", "run.png")
    assert Path("run.png").stat().st_size > 10_000
    assert sorted(path.name for path in trained.rglob("*")) == before


def test_a_figure_replaces_nothing_without_force(
    log: Path, error_line: ErrorLine, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("old.png").write_text("old")
    assert "old.png exists already; choose another --plot, or replace with --force" in error_line(
        "diagnose", log.name, "--plot", "old.png"
    )
    assert Path("old.png").read_text() == "old"
    diagnose(capsys, log.name, "--plot", "old.png", "--force")
    assert Path("old.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_never_replaces_the_log(log: Path, error_line: ErrorLine) -> None:
    log.rename("log.png")
    assert "would replace the log" in error_line("diagnose", "log.png", "--plot", "./log.png", "--force")
    assert Path("log.png").read_text() == TABLE


@pytest.mark.parametrize(("plot", "message"), [("x.jpg", ".png"), ("folder.png", "cannot write")])
def test_figures_that_cannot_be_written(log: Path, error_line: ErrorLine, plot: str, message: str) -> None:
    Path("folder.png").mkdir()
    assert message in error_line("diagnose", log.name, "--plot", plot, "--force")


def test_text_is_wrapped_only_in_a_terminal(log: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    plain = diagnose(capsys, log.name)
    assert max(map(len, plain.splitlines())) > 120
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "70")
    wrapped = [line for line in diagnose(capsys, log.name).splitlines() if not line.startswith("      ")]
    assert max(map(len, wrapped)) <= 70
    assert " ".join(plain.split()) == " ".join("\n".join(diagnose(capsys, log.name).splitlines()).split())


def test_the_exit_code_is_zero_whatever_the_verdict_is(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = set()
    for text in (TABLE, "step,loss_d\n1,1\n", "step,loss_d\n1,nan\n"):
        log.write_text(text)
        verdicts.add(json.loads(diagnose(capsys, log.name, "--json"))["verdict"])
    assert verdicts == {"unhealthy", "unknown", "diverged"}
    assert cli.run(["help", "diagnose"]) == 0
    assert "exit code is 0 whatever" in capsys.readouterr().out
