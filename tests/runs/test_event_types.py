"""Logs that were edited by hand: the first field of a wrong type is reported with its event and key."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from equipoise.errors import RunError
from equipoise.runs.event_types import describe_problem
from equipoise.runs.folders import create_run
from equipoise.runs.run import Run, find_runs, summarize_run

FORMAT_1 = Path(__file__).parents[1] / "fixtures" / "format_1_ring"


@pytest.mark.parametrize("run", [FORMAT_1])
def test_logs_of_earlier_versions_are_valid(run: Path) -> None:
    Run(run).check_types()


def test_own_log_is_valid(trained: Path) -> None:
    Run(trained).check_types()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"event": "started", "knobs": {"lr_g": "high"}}, "knobs.lr_g = 'high': "),
        ({"event": "started", "steps": "40"}, "steps = '40': "),
        ({"event": "sensed", "progress": None}, "progress = None: "),
        ({"event": "sensed", "signals": {"rank_train_fake": [1]}}, "signals.rank_train_fake = [1]: "),
        ({"event": "sensed", "health": {"findings": [{"symptom": 3}]}}, "health.findings.0.symptom = 3: "),
        ({"event": "sensed", "health": 7}, "health = 7: "),
        ({"event": "turned", "to": "x"}, "to = 'x': "),
        ({"event": "evaluated", "value": {}}, "value = {}: "),
        ({"event": "finished", "images": "many"}, "images = 'many': "),
        ({"event": "finished", "verdict": 3}, "verdict = 3: "),
    ],
)
def test_wrong_type_is_described_with_its_key(line: Mapping[str, object], problem: str) -> None:
    assert (describe_problem({"step": 1, **line}) or "").startswith(problem)


@pytest.mark.parametrize(
    "line",
    [
        {"event": "sensed", "loss": {"g": {"mean": "nan", "min": "-inf", "max": "inf", "last": 1}}},
        {"event": "sensed", "signals": {"a signal of a later version": []}},
        {"event": "finished", "verdict": "a verdict of a later version", "reason": "other"},
        {"event": "of a later version", "images": []},
        {"event": "sampled", "samples": "samples/step-00000006.png"},
    ],
)
def test_lines_of_other_versions_are_valid(line: Mapping[str, object]) -> None:
    assert describe_problem({"step": 1, **line}) is None


def edit_first_sensed(folder: Path) -> None:
    lines = [json.loads(text) for text in (folder / "events.jsonl").read_text().splitlines()]
    next(line for line in lines if line["event"] == "sensed")["progress"] = "half"
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("command", ["resume", "diagnose"])
def test_commands_report_the_line(error_line, snapshot, run_folder: Path, command: str) -> None:
    edit_first_sensed(run_folder)
    before = snapshot(run_folder)
    line = error_line(command, run_folder)
    assert "events.jsonl, event 'sensed' of step 1: progress = 'half': " in line
    assert "restore that line, or delete it" in line
    assert snapshot(run_folder) == before


def test_one_damaged_run_does_not_hide_the_others(call, trained: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        shutil.copytree(trained, tmp_path / "runs" / name)
    edit_first_sensed(tmp_path / "runs" / "b")
    (tmp_path / "runs" / "c" / "experiment.json").write_text("[]")
    values = json.loads((tmp_path / "runs" / "d" / "experiment.json").read_text())
    (tmp_path / "runs" / "d" / "experiment.json").write_text(json.dumps({**values, "model": 3, "steps": {}}))
    code, out, err = call("runs", tmp_path / "runs")
    assert (code, err) == (0, "")
    a, b, c, d = out.splitlines()
    assert "finished (steps, health unknown)" in a
    assert "damaged: " in b
    assert "progress = 'half'" in b
    assert "is not a table of settings" in c
    assert d.startswith("d ")


def test_run_folder_is_listed_itself(call, trained: Path) -> None:
    assert [run.folder for run in find_runs(trained)] == [trained]
    code, out, _ = call("runs", trained)
    assert code == 0
    assert out.startswith("run ")


def test_missing_folder_is_an_error(error_line, call, working_directory: Path) -> None:
    assert (
        error_line("runs", "nowhere")
        == "there is no folder nowhere; give a folder of runs, such as: equipoise runs runs"
    )
    code, out, _ = call("runs")
    assert (code, out) == (0, "runs contains no runs; start one with: equipoise train digits\n")


def test_folder_of_runs_is_not_a_run(tmp_path: Path) -> None:
    create_run(tmp_path / "runs" / "first", {})
    with pytest.raises(RunError, match=r"is not a run: it has no experiment.json; give one of .* such as .*runs/first"):
        Run(tmp_path / "runs").experiment()
    with pytest.raises(RunError, match="there is no such folder; list the runs with: equipoise runs"):
        Run(tmp_path / "nowhere").experiment()
    assert summarize_run(Run(tmp_path / "nowhere")).state.startswith("damaged: ")
