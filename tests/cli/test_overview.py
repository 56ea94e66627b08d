"""Help, version, `list`, `runs` and `report`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from equipoise.cli import main as cli


def test_overview(call) -> None:
    code, out, err = call("--help")
    assert (code, err) == (0, "")
    assert all(command in out for command in cli.command_modules())
    assert "equipoise train digits" in out
    assert call()[:2] == (2, out)
    assert call("-h")[:2] == (0, out)


@pytest.mark.parametrize("command", cli.command_modules())
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        cli.run([command, "--help"])
    out = capsys.readouterr().out
    assert exit_info.value.code == 0
    assert f"equipoise {command}" in out
    assert ("--json" in out) == (command not in ("schema", "studio"))


def test_flags_of_train(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.run(["train", "--help"])
    out = capsys.readouterr().out
    flags = (
        "model gan steps batch-size image-size seed out controller set loss constraint experiment precision device "
        "threads from dry-run"
    )
    assert all(f"--{flag}" in out for flag in flags.split())


def test_version(call) -> None:
    code, out, _ = call("--version")
    assert code == 0
    assert out.strip()[0].isdigit()


def test_help_does_not_import_torch() -> None:
    slow = "{'torch', 'numpy', 'rich'}"
    code = f"import sys; from equipoise.cli import main; main.run(['-h']); sys.exit(bool({slow} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


def test_report_is_written_again(call, real_report, run_folder: Path) -> None:
    code, out, _ = call("report", run_folder, "--json")
    assert code == 0
    page = Path(json.loads(out)["report"])
    assert page == run_folder / "report.html"
    assert "dcgan" in page.read_text()
    assert (run_folder / "figures" / "training_progress.png").is_file()


def test_list_of_all_kinds(call) -> None:
    code, out, _ = call("list")
    assert code == 0
    assert all(word in out for word in ("models:", "data:", "controllers:", "metrics:", "dcgan:lab32", "kd_digits"))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("models", {"dcgan", "dirac", "mlp", "wgan", "wgan_gp", "sngan"}),
        ("data", {"digits", "ring", "grid"}),
        ("controllers", {"fixed", "annealed"}),
        ("metrics", {"kd_digits", "mixture_modes"}),
    ],
)
def test_list_of_one_kind(call, kind: str, names: set[str]) -> None:
    code, out, _ = call("list", kind, "--json")
    result = json.loads(out)
    assert code == 0
    assert result.keys() == {kind}
    assert names <= result[kind].keys()
    assert all(about["summary"] for about in result[kind].values())
    assert all(name in call("list", kind)[1] for name in names)


def test_list_has_presets(call) -> None:
    assert {"lab32", "celeba64"} <= set(json.loads(call("list", "models", "--json")[1])["models"]["dcgan"]["presets"])


def test_runs_have_their_state(call, trained: Path, cut_off: Path, working_directory: Path) -> None:
    result = json.loads(call("runs", trained.parent, "--json")[1])
    assert result == [
        {
            "name": "run",
            "model": "dcgan",
            "data": "digits",
            "step": 12,
            "steps": 12,
            "state": "finished (steps, health unknown)",
            "tags": [],
            "note": "",
            "archived": False,
        }
    ]
    code, out, _ = call("runs", cut_off.parent)
    assert code == 0
    assert "unfinished" in out
    assert "10 of 12" in " ".join(out.split())


def test_folder_without_runs(call, working_directory: Path) -> None:
    assert "there is no folder nowhere" in call("runs", "nowhere")[2]
    (working_directory / "empty").mkdir()
    assert call("runs", "empty")[1].startswith("empty contains no runs")
    assert json.loads(call("runs", "empty", "--json")[1]) == []


def test_damaged_run_is_listed(call, run_folder: Path) -> None:
    (run_folder / "experiment.json").write_text("{")
    code, out, _ = call("runs", run_folder.parent)
    assert code == 0
    assert "damaged" in out


def test_closed_pipe_is_no_error(trained: Path) -> None:
    """As in `equipoise --help | head -1`: the reader closes the pipe."""
    listing = subprocess.Popen(
        [sys.executable, "-m", "equipoise", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert listing.stdout is not None
    assert listing.stderr is not None
    listing.stdout.close()
    assert b"Traceback" not in listing.stderr.read()
    listing.stderr.close()
    assert listing.wait(60) == 0


@pytest.mark.skipif(not Path(sys.executable).with_name("equipoise").exists(), reason="not installed as a command")
def test_installed_command_equals_the_module() -> None:
    command = str(Path(sys.executable).with_name("equipoise"))
    environment = {**os.environ, "COLUMNS": "100"}
    outs = [
        subprocess.run([*words, "--help"], capture_output=True, timeout=60, env=environment).stdout
        for words in ([command], [sys.executable, "-m", "equipoise"])
    ]
    assert outs[0] == outs[1] != b""
