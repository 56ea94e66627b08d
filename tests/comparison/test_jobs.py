"""Jobs in processes: failures do not stop the others, finished jobs are not repeated, interrupted ones are saved."""

import contextlib
import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import pytest

from equipoise.cli import main as cli
from equipoise.comparison import execution, jobs, plan_runs
from equipoise.comparison.execution import AnchorsJob, RunJob
from equipoise.comparison.folder import ComparisonFolder, create_or_open, read_tuned_arms, write_json
from equipoise.comparison.job_calls import PRELOADED_MODULES, call_job
from equipoise.comparison.jobs import execute_jobs
from equipoise.comparison.plan import Arm, ComparisonPlan, Regime, Tuning
from equipoise.comparison.plan_files import load_plan
from equipoise.comparison.plan_runs import RunSpec, TaskSetting
from equipoise.comparison.results import RunResult
from equipoise.errors import RunError
from equipoise.jobs.backend import BLOCKED, INTERRUPTED, NO_SPACE, Call, RunningCall
from equipoise.jobs.local import LocalBackend, LocalProcess

PLAN = """\
seeds = [0]
samples = 50
evaluations = 2

[arms.fixed]

[arms.error]
controller = { name = "mylab.custom", failure = "error" }

[arms.kill]
controller = { name = "mylab.custom", failure = "kill" }

[tasks.ring]
data = "ring"
model = { name = "mlp", width = 8 }
steps = 4
batch_size = 16
reported = "high_quality"
"""
CONTROLLER = '''\
"""A custom controller."""

import os
from dataclasses import dataclass

from equipoise.core.controller import Turn

__all__ = ["Custom"]


@dataclass(frozen=True)
class Custom:
    """Changes nothing, or fails."""

    failure: str

    def required_knobs(self):
        return frozenset()

    def initial(self, knobs):
        return {}

    def update(self, state, observation):
        if FAILS and observation.step == 2 and self.failure == "error":
            raise ValueError("broken controller")
        if FAILS and observation.step == 2 and self.failure == "kill":
            os.kill(os.getpid(), 9)
        return Turn(observation.knobs, state)
'''


def write_controller(folder: Path, *, fails: bool) -> None:
    (folder / "mylab").mkdir(exist_ok=True)
    (folder / "mylab" / "__init__.py").write_text("")
    (folder / "mylab" / "custom.py").write_text(f"{CONTROLLER}\n\nFAILS = {fails}\n")


def test_failed_runs_are_reported_and_tried_again(
    working_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(working_directory))
    write_controller(working_directory, fails=True)
    Path("plan.toml").write_text(PLAN)
    args = ["compare", "plan.toml", "--out", "out", "--processes", "2", "--json"]
    plan, folder = load_plan(Path("plan.toml")), ComparisonFolder(Path("out"))
    create_or_open(folder, plan, PLAN)
    execution.execute_anchors(folder, plan_runs.compared_settings(plan)[0])
    assert cli.run(args) == 3
    output = json.loads(capsys.readouterr().out)
    assert (output["done"], output["total"]) == (2, 4)
    assert output["failed"]["ring.error.seed0"] == "ValueError: broken controller"
    assert "Traceback" in Path("out/failed/ring.error.seed0.txt").read_text()
    assert "exit code -9" in output["failed"]["ring.kill.seed0"]
    assert output["cpu"] > 0
    before = Path("out/runs/ring.fixed.seed0/generator.safetensors").stat().st_mtime_ns
    lines = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    assert {line["arm"]: line["state"] for line in lines} == {"fixed": "ended", "error": "failed", "kill": "failed"}
    write_controller(working_directory, fails=False)
    assert cli.run(args[:-1]) == 0
    out, err = capsys.readouterr()
    assert "4 of 4 jobs done" in out
    assert "out/report.html" in out
    assert "2 of 4 jobs done" in err
    assert "done: ring.error.seed0" in err
    assert not list(Path("out/failed").iterdir())
    assert Path("out/runs/ring.fixed.seed0/generator.safetensors").stat().st_mtime_ns == before
    lines = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    assert len({line["score"] for line in lines}) == 1, "a controller that changes nothing equals fixed, same seed"
    assert len({line["weights"] for line in lines}) == 1


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def long_plan(tiny: ComparisonPlan) -> ComparisonPlan:
    task = dataclasses.replace(tiny.tasks["ring"], steps=100_000, also=())
    return dataclasses.replace(tiny, tasks={"ring": task}, evaluations=2000)


def start_long_run(tiny: ComparisonPlan, folder: ComparisonFolder) -> tuple[RunSpec, LocalProcess]:
    run = plan_runs.compared_runs(long_plan(tiny))[0]
    process = LocalBackend(1, PRELOADED_MODULES).start(call_job(folder, RunJob(run)))
    wait_until(lambda: folder.measurements(run).exists() or process.exit_code is not None)
    return run, process


def test_terminated_run_is_saved(tiny: ComparisonPlan, tmp_path: Path) -> None:
    folder = ComparisonFolder(tmp_path / "out")
    create_or_open(folder, long_plan(tiny), "")
    run, process = start_long_run(tiny, folder)
    process.terminate()
    assert process.join() > 0, "CPU seconds"
    assert process.exit_code == INTERRUPTED
    assert list((folder.run(run) / "checkpoints").glob("step-*"))


PARENT = """\
import os, pathlib, sys, time
from equipoise.comparison import execution, folder, job_calls, plan_runs
from equipoise.jobs.local import LocalBackend

comparison = folder.ComparisonFolder(pathlib.Path(sys.argv[1]))
run = plan_runs.compared_runs(folder.open_comparison(comparison).plan)[0]
process = LocalBackend(1, job_calls.PRELOADED_MODULES).start(job_calls.call_job(comparison, execution.RunJob(run)))
while process.exit_code is None and not comparison.measurements(run).exists():
    time.sleep(0.02)
os.kill(os.getpid(), 9)
"""


def test_run_is_saved_when_its_parent_is_killed(tiny: ComparisonPlan, tmp_path: Path) -> None:
    folder = ComparisonFolder(tmp_path / "out")
    create_or_open(folder, long_plan(tiny), "")
    parent = subprocess.run([sys.executable, "-c", PARENT, str(folder.path)], check=False)
    assert parent.returncode == -signal.SIGKILL
    events = folder.run(plan_runs.compared_runs(tiny)[0]) / "events.jsonl"
    wait_until(lambda: '"interrupted"' in events.read_text())


class FakeProcess:
    """A process that ends when it is polled for the third time, or when it is terminated."""

    started: ClassVar[list[str]] = []
    running = 0
    most = 0
    code_when_terminated = INTERRUPTED

    def __init__(self, name: str, code: int) -> None:
        self.name = name
        self.code, self.polls, self.terminated, self.ended = code, 0, False, False
        FakeProcess.started.append(name)
        FakeProcess.running += 1
        FakeProcess.most = max(FakeProcess.most, FakeProcess.running)

    @property
    def exit_code(self) -> int | None:
        self.polls += 1
        if not self.ended and (self.terminated or self.polls >= 3):
            self.ended = True
            FakeProcess.running -= 1
        return None if not self.ended else FakeProcess.code_when_terminated if self.terminated else self.code

    def terminate(self) -> None:
        self.terminated = True

    def join(self) -> float:
        self.terminated = self.terminated or not self.ended
        return 0.0 if self.exit_code else 1.5


@pytest.fixture
def fake_processes(monkeypatch: pytest.MonkeyPatch) -> type[FakeProcess]:
    """Processes that do nothing; those of an arm or task "broken" fail."""
    FakeProcess.started, FakeProcess.running, FakeProcess.most = [], 0, 0

    def start(backend: LocalBackend, call: Call) -> FakeProcess:
        folder, job = call.arguments
        is_broken = "broken" in job.name
        if isinstance(job, AnchorsJob) and not is_broken:
            write_json(folder.anchors(job.setting), {})
        call.output.parent.mkdir(parents=True, exist_ok=True)
        call.output.write_text("output\nValueError: broken\n" if is_broken else "")
        return FakeProcess(job.name, int(is_broken))

    def wait(backend: LocalBackend, running: Iterable[RunningCall]) -> None:
        assert list(running)

    monkeypatch.setattr(LocalBackend, "start", start)
    monkeypatch.setattr(LocalBackend, "wait", wait)
    return FakeProcess


def create_folder(plan: ComparisonPlan, path: Path) -> ComparisonFolder:
    folder = ComparisonFolder(path)
    create_or_open(folder, plan, "")
    return folder


@pytest.mark.parametrize("count", [1, 3])
def test_jobs_run_in_order_and_at_most_a_fixed_number_at_once(
    tiny: ComparisonPlan, tmp_path: Path, fake_processes: type[FakeProcess], count: int
) -> None:
    plan = dataclasses.replace(tiny, arms={"fixed": Arm(), "broken": Arm()})
    events = list(execute_jobs(plan, create_folder(plan, tmp_path / "out"), LocalBackend(count)))
    assert fake_processes.started[0] == "anchors.ring"
    assert sorted(fake_processes.started[1:]) == sorted(run.name for run in plan_runs.compared_runs(plan))
    assert fake_processes.most == count
    assert [one.done for one in events if one.job and not one.error] == [1, 2, 3, 4, 5]
    assert {one.job.name for one in events if one.job and one.error} == {
        run.name for run in plan_runs.compared_runs(plan) if run.arm == "broken"
    }
    assert {one.error for one in events if one.error} == {"ValueError: broken"}
    assert all(one.total == 9 for one in events)
    assert events[-1].cpu > 5 * 1.5, "CPU seconds of the jobs and of this process"


@pytest.mark.parametrize("code", [INTERRUPTED, -15])
def test_interrupted_jobs_are_terminated_and_not_failed(
    tiny: ComparisonPlan,
    tmp_path: Path,
    fake_processes: type[FakeProcess],
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    """A process that is terminated before it handles signals has not failed either."""
    monkeypatch.setattr(fake_processes, "code_when_terminated", code)
    folder = create_folder(tiny, tmp_path / "out")
    events: list[jobs.JobProgress] = []
    for event in execute_jobs(tiny, folder, LocalBackend(2), lambda: len(events) >= 3):
        events.append(event)
    assert not [event.error for event in events if event.error]
    assert len(events) in (3, 4), "two may end at once"
    assert fake_processes.running == 0
    assert len(fake_processes.started) < 9
    iterator = execute_jobs(tiny, folder, LocalBackend(2))
    next(iterator), next(iterator)
    iterator.close()
    assert fake_processes.running == 0, "closing the iterator stops the jobs"


def test_another_version_does_not_continue_a_comparison(
    working_directory: Path, capsys: pytest.CaptureFixture[str], fake_processes: type[FakeProcess]
) -> None:
    Path("plan.toml").write_text(
        PLAN.replace("mylab.custom", "annealed").replace(', failure = "error"', "").replace(', failure = "kill"', "")
    )
    folder = create_folder(load_plan(Path("plan.toml")), Path("out"))
    record = json.loads((folder.path / "plan.json").read_text())
    record["versions"]["torch"] = "1.0"
    write_json(folder.path / "plan.json", record)
    args = ["compare", "plan.toml", "--out", "out", "--quiet"]
    assert cli.run(args) == 0, "these processes do nothing"
    assert "instead of 1.0, with which the comparison was started" in capsys.readouterr().err
    record["versions"]["equipoise"] = "0.0.1"
    write_json(folder.path / "plan.json", record)
    assert cli.run(args) == 2
    assert "out was started with equipoise 0.0.1, but" in capsys.readouterr().err


def test_a_job_that_a_signal_from_elsewhere_stops_is_continued(
    tiny: ComparisonPlan, tmp_path: Path, fake_processes: type[FakeProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice; then it has failed, instead of being left out."""
    is_stopped = property(lambda self: self.name == last, lambda self, value: None)
    monkeypatch.setattr(FakeProcess, "terminated", is_stopped, raising=False)
    last = plan_runs.compared_runs(tiny)[-1].name
    events = list(execute_jobs(tiny, create_folder(tiny, tmp_path / "out"), LocalBackend(1)))
    assert fake_processes.started.count(last) == jobs.MAX_STOPS
    assert (events[-1].done, events[-1].error) == (8, "the process ended with exit code 130 and without output")


def test_a_full_disk_stops_a_comparison(
    tiny: ComparisonPlan, tmp_path: Path, fake_processes: type[FakeProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeProcess, "exit_code", property(lambda self: NO_SPACE))
    folder = create_folder(tiny, tmp_path / "out")
    with pytest.raises(RunError, match=r"no space left on .*; anchors\.ring was given back; free some space"):
        list(execute_jobs(tiny, folder, LocalBackend(1)))
    assert not list(folder.path.glob("failed/*"))


def test_a_job_without_the_one_that_it_needs_has_not_failed_itself(
    tiny: ComparisonPlan, tmp_path: Path, fake_processes: type[FakeProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    last = plan_runs.compared_runs(tiny)[-1].name
    monkeypatch.setattr(FakeProcess, "exit_code", property(lambda self: BLOCKED if self.name == last else 0))
    folder = create_folder(tiny, tmp_path / "out")
    events = list(execute_jobs(tiny, folder, LocalBackend(1)))
    assert (events[-1].done, events[-1].error is not None) == (8, True)
    assert not list(folder.path.glob("failed/*"))


def test_second_execution_of_a_comparison_is_refused(
    tiny: ComparisonPlan, tmp_path: Path, fake_processes: type[FakeProcess]
) -> None:
    folder = create_folder(tiny, tmp_path / "out")
    with contextlib.closing(execute_jobs(tiny, folder, LocalBackend(1))) as first:
        next(first)
        with pytest.raises(RunError, match="in use by another process"):
            next(execute_jobs(tiny, folder, LocalBackend(1)))
    assert next(execute_jobs(tiny, folder, LocalBackend(1))).total == 9


def test_tuning_selects_the_best_trial_of_each_arm(
    tiny: ComparisonPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: Callable[..., RunResult]
) -> None:
    """Mean scores by trial: 0.2, 0.6, 0.4 for one arm; 0.5, 0.5, 0.1 for the other, which remains as written."""
    arms = {name: Arm(search={"factors.lr_d": (0.5, 2.0)}) for name in ("one", "other")}
    task = dataclasses.replace(tiny.tasks["ring"], data=dataclasses.replace(tiny.tasks["ring"].data, name="grid"))
    plan = dataclasses.replace(tiny, arms=arms, tuning=Tuning(tasks={"grid": task}, trials=3, seeds=(8, 9)))
    scores = {"one": (0.2, 0.6, 0.4), "other": (0.5, 0.5, 0.1)}
    shift = {8: 0.1, 9: -0.1}

    def load_result(plan: ComparisonPlan, folder: ComparisonFolder, run: RunSpec) -> RunResult:
        assert run.trial is not None
        return row(run.arm, run.seed, scores[run.arm][run.trial] + shift[run.seed])

    monkeypatch.setattr(jobs.results, "load_result", load_result)
    folder = create_folder(plan, tmp_path / "out")
    jobs.select_trials(plan, folder)
    tuned = read_tuned_arms(folder)
    assert tuned["one"].trial == 1
    assert tuned["one"].options == plan_runs.trial_options(plan, "one", 1)
    assert tuned["one"].scores == pytest.approx([0.2, 0.6, 0.4])
    assert (tuned["other"].trial, tuned["other"].options) == (0, {})


def test_tuned_arms_of_an_older_folder_are_read(tmp_path: Path) -> None:
    folder = ComparisonFolder(tmp_path)
    write_json(folder.tuned, {"a": {"trial": 1, "tried": {"factors.lr_d": 2.0}, "scores": [0.1, 0.2]}})
    assert read_tuned_arms(folder)["a"].options == {"factors.lr_d": 2.0}


def test_nothing_is_trained_without_anchors(
    tiny: ComparisonPlan, tmp_path: Path, fake_processes: type[FakeProcess]
) -> None:
    plan = dataclasses.replace(tiny, tasks={"ring": tiny.tasks["ring"], "broken": tiny.tasks["ring"]})
    with pytest.raises(
        RunError, match=r"nothing was trained, because the job anchors\.broken failed: ValueError: broken"
    ):
        list(execute_jobs(plan, create_folder(plan, tmp_path / "out"), LocalBackend(2)))
    assert sorted(fake_processes.started) == ["anchors.broken", "anchors.ring"]


def test_nothing_is_compared_after_a_failed_trial(
    tiny: ComparisonPlan, tmp_path: Path, fake_processes: type[FakeProcess]
) -> None:
    arms = {name: Arm(search={"factors.lr_d": (0.5, 2.0)}) for name in ("fixed", "broken")}
    plan = dataclasses.replace(tiny, arms=arms, tuning=Tuning(tasks=tiny.tasks, trials=2, seeds=(8,)))
    folder = create_folder(plan, tmp_path / "out")
    with pytest.raises(RunError, match=r"nothing was compared: . of 4 trials failed, first tuning\."):
        list(execute_jobs(plan, folder, LocalBackend(2)))
    assert not folder.tuned.exists()
    assert not [name for name in fake_processes.started if not name.startswith(("anchors", "tuning"))]


def test_trials_come_before_tests(tiny: ComparisonPlan) -> None:
    arms = {name: Arm(search={"factors.lr_d": (0.5, 2.0)}) for name in tiny.arms}
    plan = dataclasses.replace(tiny, arms=arms, tuning=Tuning(tasks=tiny.tasks, trials=2, seeds=(8,)))
    names = [job.name for job in jobs.list_jobs(plan)]
    assert names[:2] == ["anchors.tuning.ring", "anchors.ring"]
    assert names[2] == "tuning.ring.fixed.trial0.seed8"
    assert names.index("ring.fixed.seed0") == 2 + 4
    assert len(set(names)) == len(names)


def test_regime_with_other_data_has_its_own_anchors(tiny: ComparisonPlan, tmp_path: Path) -> None:
    few, wide = Regime(data={"training_points": 100}), Regime(data={"training_points": 100, "std": 0.3})
    plan = dataclasses.replace(tiny, regimes={**tiny.regimes, "few": few, "wide": wide}, seeds=(0,))
    names = [job.name for job in jobs.list_jobs(plan) if isinstance(job, AnchorsJob)]
    assert names == ["anchors.ring", "anchors.ring.wide"], "fewer training points do not change the held-out data"
    folder = create_folder(plan, tmp_path / "out")
    for job in jobs.list_jobs(plan)[:2]:
        assert execution.execute_job(folder, job, lambda: False)
    narrow, same, broad = (
        execution.read_anchors(folder, plan_runs.anchor_setting(plan, TaskSetting("ring", regime)))
        for regime in ("well_set", "few", "wide")
    )
    assert narrow == same
    assert narrow != broad


def test_dry_run_and_report_only_train_nothing(
    working_directory: Path, capsys: pytest.CaptureFixture[str], fake_processes: type[FakeProcess]
) -> None:
    Path("plan.toml").write_text(
        PLAN.replace("mylab.custom", "annealed").replace(', failure = "error"', "").replace(', failure = "kill"', "")
    )
    assert cli.run(["compare", "plan.toml", "--dry-run"]) == 0
    assert "3 runs" in capsys.readouterr().out
    assert not Path("comparisons").exists()
    assert cli.run(["compare", "plan.toml", "--report-only"]) == 2
    assert "comparisons/plan is not a comparison" in capsys.readouterr().err
    create_folder(load_plan(Path("plan.toml")), Path("comparisons/plan"))
    assert cli.run(["compare", "plan.toml", "--report-only"]) == 0
    assert "comparisons/plan/report.html" in capsys.readouterr().out
    assert cli.run(["compare", "plan.toml", "--processes", "0"]) == 2
    assert "--processes 0: it must be at least 1" in capsys.readouterr().err
    assert fake_processes.started == []


def test_name_of_a_job() -> None:
    assert AnchorsJob(TaskSetting("ring", tuning=True)).name == "anchors.tuning.ring"
