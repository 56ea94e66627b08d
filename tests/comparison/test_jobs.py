"""Jobs in processes of their own: one that fails does not stop the rest, and what is done stays done."""

import dataclasses
import json
from pathlib import Path
from typing import ClassVar

import pytest

from equipoise.cli import main as cli
from equipoise.comparison import execution, jobs, plan_runs, tuning
from equipoise.comparison.folder import ComparisonFolder, create_or_open, read_json, write_json
from equipoise.comparison.jobs import Job, execute_jobs
from equipoise.comparison.plan import Arm, ComparisonPlan, Regime, Tuning, load_plan
from equipoise.comparison.plan_runs import TaskSetting
from equipoise.comparison.results import RunResult
from equipoise.errors import RunError

PLAN = """\
seeds = [0]
samples = 50
looks = 2

[arms.fixed]

[arms.mine]
controller = "mylab.mine"

[tasks.ring]
data = "ring"
model = { name = "mlp", width = 8 }
steps = 4
batch_size = 16
reported = "high_quality"
"""
MINE = '''\
"""A controller of one's own."""

from dataclasses import dataclass

from equipoise.observations import Turn

__all__ = ["Mine"]


@dataclass(frozen=True)
class Mine:
    """Turns nothing, or fails."""

    def turns(self):
        return frozenset()

    def initial(self, knobs):
        return {}

    def update(self, state, observation):
        if observation.step == 2 and WRONG:
            raise ValueError("too curious")
        return Turn(observation.knobs, state)
'''


def lab(folder: Path, wrong: bool) -> None:
    (folder / "mylab").mkdir(exist_ok=True)
    (folder / "mylab" / "__init__.py").write_text("")
    (folder / "mylab" / "mine.py").write_text(f"{MINE}\n\nWRONG = {wrong}\n")


def test_one_that_fails_is_told_of_and_tried_again(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(elsewhere))
    lab(elsewhere, wrong=True)
    Path("plan.toml").write_text(PLAN)
    words = ["compare", "plan.toml", "--out", "out", "--processes", "2", "--json"]
    plan, folder = load_plan(Path("plan.toml")), ComparisonFolder(Path("out"))
    create_or_open(folder, plan, PLAN)
    execution.execute_anchors(folder, plan_runs.test_settings(plan)[0])  # here, for a process takes seconds to begin
    assert cli.run(words) == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["done"], told["total"]) == (2, 3)
    assert told["failed"] == {"ring.mine.seed0": "ValueError: too curious"}
    assert "Traceback" in Path("out/failed/ring.mine.seed0.txt").read_text()
    assert told["cpu"] > 1, "the seconds of the processes that ran"
    before = Path("out/runs/ring.fixed.seed0/generator.safetensors").stat().st_mtime_ns
    lines = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    assert {line["arm"]: line["state"] for line in lines} == {"fixed": "ended", "mine": "failed"}
    lab(elsewhere, wrong=False)
    assert cli.run(words[:-1]) == 0
    out, err = capsys.readouterr()
    assert out == "3 of 3 done; report: out/report.html\n"
    assert "2 of 3 done: begun" in err
    assert "3 of 3 done: ring.mine.seed0" in err
    assert not Path("out/failed/ring.mine.seed0.txt").exists()
    assert Path("out/runs/ring.fixed.seed0/generator.safetensors").stat().st_mtime_ns == before
    first, second = (json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines())
    assert first["score"] == second["score"], "a controller that turns nothing is the fixed one, on the same seed"
    assert first["weights"] == second["weights"]


class Pretended:
    """A process that ends when it is looked at for the third time, or when it is asked to."""

    started: ClassVar[list[str]] = []
    together = 0
    most = 0
    when_stopped = 130

    def __init__(self, name: str, code: int, path: Path) -> None:
        self.name, self.code, self.path, self.looked, self.stopped = name, code, path, 0, False
        self.returncode: int | None = None
        Pretended.started.append(name)
        Pretended.together += 1
        Pretended.most = max(Pretended.most, Pretended.together)

    def poll(self) -> int | None:
        self.looked += 1
        if self.returncode is None and (self.stopped or self.looked >= 3):
            self.returncode = Pretended.when_stopped if self.stopped else self.code
            Pretended.together -= 1
        return self.returncode

    def terminate(self) -> None:
        self.stopped = True

    def wait(self) -> int:
        self.stopped = True
        return self.poll() or 0


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch):
    """Processes that do nothing; those of an arm called "broken" end with a complaint."""
    Pretended.started, Pretended.together, Pretended.most = [], 0, 0

    def start(job: Job, folder: ComparisonFolder) -> Pretended:
        said = jobs._said(folder, job)
        if isinstance(job.what, TaskSetting) and "broken" not in job.name:
            write_json(folder.anchors(job.what), {})
        said.write_text("hm\nValueError: broken\n" if "broken" in job.name else "")
        return Pretended(job.name, 1 if "broken" in job.name else 0, said)

    monkeypatch.setattr(jobs, "_started", start)
    monkeypatch.setattr(jobs, "PAUSE", 0.0)
    return Pretended


def folder_of(plan: ComparisonPlan, path: Path) -> ComparisonFolder:
    folder = ComparisonFolder(path)
    create_or_open(folder, plan, "")
    return folder


@pytest.mark.parametrize("processes", [1, 3])
def test_so_many_at_a_time_in_order(
    tiny: ComparisonPlan, tmp_path: Path, pretended: type[Pretended], processes: int
) -> None:
    plan = dataclasses.replace(tiny, arms={"fixed": Arm(), "broken": Arm()})
    seen = list(execute_jobs(plan, folder_of(plan, tmp_path / "out"), processes))
    assert pretended.started[0] == "anchors.ring"
    assert sorted(pretended.started[1:]) == sorted(run.name for run in plan_runs.test_runs(plan))
    assert pretended.most == processes
    assert [one.done for one in seen if one.job and not one.failed] == [1, 2, 3, 4, 5]
    assert {one.job.name for one in seen if one.job and one.failed} == {
        run.name for run in plan_runs.test_runs(plan) if run.arm == "broken"
    }
    assert {one.failed for one in seen if one.failed} == {"ValueError: broken"}
    assert all(one.total == 9 for one in seen)


@pytest.mark.parametrize("code", [130, -15])
def test_what_is_interrupted_is_asked_to_save(
    tiny: ComparisonPlan, tmp_path: Path, pretended: type[Pretended], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Also what had not come to listen for signals yet: it has not failed."""
    monkeypatch.setattr(pretended, "when_stopped", code)
    folder, events = folder_of(tiny, tmp_path / "out"), []
    for event in execute_jobs(tiny, folder, 2, lambda: len(events) >= 3):
        events.append(event)
    assert not [event.failed for event in events if event.failed]
    assert len(events) in (3, 4), "two may end at once"
    assert pretended.together == 0
    assert len(pretended.started) < 9
    running = execute_jobs(tiny, folder, 2)
    next(running), next(running)
    running.close()
    assert pretended.together == 0, "closing the iterator stops what runs"


def test_two_at_once_do_not_get_into_each_others_way(
    tiny: ComparisonPlan, tmp_path: Path, pretended: type[Pretended]
) -> None:
    folder = folder_of(tiny, tmp_path / "out")
    first = execute_jobs(tiny, folder, 1)
    next(first)
    with pytest.raises(RunError, match="in use by another process; wait until it has ended, or stop it"):
        next(execute_jobs(tiny, folder, 1))
    first.close()
    assert next(execute_jobs(tiny, folder, 1)).total == 9


def test_every_arm_gets_the_best_of_its_trials(
    tiny: ComparisonPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row
) -> None:
    """Mean scores by trial: 0.2, 0.6, 0.4 for one arm; 0.5, 0.5, 0.1 for the other, which stays as it is written."""
    arms = {name: Arm(search={"factors.lr_d": (0.5, 2.0)}) for name in ("one", "other")}
    task = dataclasses.replace(tiny.tasks["ring"], data=dataclasses.replace(tiny.tasks["ring"].data, name="grid"))
    plan = dataclasses.replace(tiny, arms=arms, tuning=Tuning(tasks={"grid": task}, trials=3, seeds=(8, 9)))
    scores = {"one": (0.2, 0.6, 0.4), "other": (0.5, 0.5, 0.1)}
    shift = {8: 0.1, 9: -0.1}

    def told(plan: ComparisonPlan, folder: ComparisonFolder, run: plan_runs.RunSpec) -> RunResult:
        assert run.trial is not None
        made: RunResult = row(run.arm, run.seed, scores[run.arm][run.trial] + shift[run.seed])
        return made

    monkeypatch.setattr(tuning.results, "row", told)
    folder = folder_of(plan, tmp_path / "out")
    tuning.select_trials(plan, folder)
    chosen = read_json(folder.tuned)
    assert chosen["one"]["trial"] == 1
    assert chosen["one"]["tried"] == plan_runs.trial_options(plan, "one", 1)
    assert chosen["one"]["scores"] == pytest.approx([0.2, 0.6, 0.4])
    assert (chosen["other"]["trial"], chosen["other"]["tried"]) == (0, {})


def test_without_anchors_nothing_is_trained(tiny: ComparisonPlan, tmp_path: Path, pretended: type[Pretended]) -> None:
    plan = dataclasses.replace(tiny, tasks={"ring": tiny.tasks["ring"], "broken": tiny.tasks["ring"]})
    folder, seen = folder_of(plan, tmp_path / "out"), []
    with pytest.raises(RunError, match="nothing was trained, for there is nothing to score 'broken' by: ValueE"):
        seen += execute_jobs(plan, folder, 2)
    assert sorted(pretended.started) == ["anchors.broken", "anchors.ring"]


def test_nothing_is_chosen_while_a_trial_could_not_be_run(
    tiny: ComparisonPlan, tmp_path: Path, pretended: type[Pretended]
) -> None:
    """A crash is no score: what is chosen stands for good."""
    arms = {name: Arm(search={"factors.lr_d": (0.5, 2.0)}) for name in ("fixed", "broken")}
    plan = dataclasses.replace(tiny, arms=arms, tuning=Tuning(tasks=tiny.tasks, trials=2, seeds=(8,)))
    folder = folder_of(plan, tmp_path / "out")
    for job in jobs.list_jobs(plan)[:2]:
        folder.anchors(job.what).parent.mkdir(exist_ok=True)
    with pytest.raises(RunError, match=r"no arm is tuned, and nothing tested: . of 4 trials could not be run, tun"):
        list(execute_jobs(plan, folder, 2))
    assert not folder.tuned.exists()
    assert not [name for name in pretended.started if not name.startswith(("anchors", "tuning"))]


def test_trials_come_before_tests(tiny: ComparisonPlan) -> None:
    arms = {name: Arm(search={"factors.lr_d": (0.5, 2.0)}) for name in tiny.arms}
    plan = dataclasses.replace(tiny, arms=arms, tuning=Tuning(tasks=tiny.tasks, trials=2, seeds=(8,)))
    names = [job.name for job in jobs.list_jobs(plan)]
    assert names[:2] == ["anchors.tuning.ring", "anchors.ring"]
    assert names[2] == "tuning.ring.fixed.trial0.seed8"
    assert names.index("ring.fixed.seed0") == 2 + 4
    assert len(set(names)) == len(names)


def test_a_regime_with_other_data_has_anchors_of_its_own(tiny: ComparisonPlan, tmp_path: Path) -> None:
    few, wide = Regime(data={"training_points": 100}), Regime(data={"training_points": 100, "std": 0.3})
    plan = dataclasses.replace(tiny, regimes={**tiny.regimes, "few": few, "wide": wide}, seeds=(0,))
    names = [job.name for job in jobs.list_jobs(plan) if isinstance(job.what, TaskSetting)]
    assert names == ["anchors.ring", "anchors.ring.wide"], "fewer points to train on leave the held-out ones alone"
    folder = folder_of(plan, tmp_path / "out")
    for job in jobs.list_jobs(plan)[:2]:
        assert isinstance(job.what, TaskSetting)
        execution.execute_anchors(folder, job.what)
    scales = {
        regime: plan_runs.anchor_setting(plan, TaskSetting("ring", regime)) for regime in ("well_set", "few", "wide")
    }
    narrow, same, broad = (execution.read_anchors(folder, scale) for scale in scales.values())
    assert narrow == same
    assert narrow != broad


def test_a_dry_run_and_a_report_alone_run_nothing(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], pretended: type[Pretended]
) -> None:
    Path("plan.toml").write_text(PLAN.replace('controller = "mylab.mine"', 'controller = "annealed"'))
    assert cli.run(["compare", "plan.toml", "--dry-run"]) == 0
    assert "2 runs, about" in capsys.readouterr().out
    assert not Path("comparisons").exists()
    assert cli.run(["compare", "plan.toml", "--report-only"]) == 2
    assert "comparisons/plan is not a comparison" in capsys.readouterr().err
    folder_of(load_plan(Path("plan.toml")), Path("comparisons/plan"))
    assert cli.run(["compare", "plan.toml", "--report-only"]) == 0
    assert capsys.readouterr().out == "report: comparisons/plan/report.html\n"
    assert cli.run(["compare", "plan.toml", "--processes", "0"]) == 2
    assert "--processes 0: it must be at least 1" in capsys.readouterr().err
    assert pretended.started == []


def test_a_setting_is_no_run() -> None:
    assert Job(TaskSetting("ring", tuning=True)).name == "anchors.tuning.ring"
