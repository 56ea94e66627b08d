"""One job of a comparison, in a process of its own: a run followed to its end, or the anchors of a task measured."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from equipoise.comparison import looks, planned, scores
from equipoise.comparison import plan as plans
from equipoise.comparison.folder import Folder, opened, read_json, write_json
from equipoise.comparison.looks import Clock, Look
from equipoise.comparison.planned import Planned, Setting
from equipoise.core.events import Finished, Resumed, Saved
from equipoise.errors import RunError
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, require
from equipoise.runs import run_folder as runs
from equipoise.runs.locks import held
from equipoise.training import checkpoint

WAIT = "wait until it has ended"
INTERRUPTED = 130
"""Exit code of a job that was stopped and is to be gone on with."""


def measure_anchors(folder: Folder, setting: Setting) -> None:
    """Measure and keep the anchors of a setting."""
    torch.set_num_threads(1)
    plan, _ = opened(folder)
    result = scores.anchors(plan, setting, planned.task_of(plan, setting))
    write_json(folder.anchors(setting), dataclasses.asdict(result))


def read_anchors(folder: Folder, setting: Setting) -> scores.Anchors | None:
    """The anchors of a setting, None if they were not measured yet."""
    values = read_json(folder.anchors(setting))
    return values and scores.Anchors(**{**values, "real": tuple(values["real"])})


def follow(folder: Folder, run: Planned, interrupted: Callable[[], bool]) -> bool:
    """Run what is planned, or go on with it; whether it came to its end. One process alone works at a run."""
    with held(folder.path / "locks" / run.name, WAIT, wait=True):
        return _follow(folder, run, interrupted)


def is_done(folder: Folder, task: plans.Task, run: Planned) -> bool:
    """Whether a run has ended and all looks were taken."""
    finished = finish_of(runs.Run(folder.run(run)))
    if finished is None:
        return False
    seen = looks.recorded(folder.looks(run))
    whole = bool(seen) and seen[-1].step == finished["step"] and {*seen[-1].also} == {*task.also}
    return finished["reason"] == "diverged" or whole


def finish_of(run: runs.Run) -> runs.Line | None:
    """The last line of a run that has ended for good; None if it is to be gone on with, or was not begun."""
    lines = run.lines() if (run.folder / runs.EXPERIMENT).exists() else []
    ended = bool(lines) and lines[-1]["event"] == "finished" and lines[-1]["reason"] != "interrupted"
    return lines[-1] if ended else None


def tuned(folder: Folder, run: Planned, plan: plans.Plan) -> dict[str, Any]:
    """What the arm of a run is set to: that of its trial, or what it was tuned to."""
    if run.trial is not None:
        return planned.drawn(plan, run.arm, run.trial)
    result = read_json(folder.tuned)
    if plan.tuning is not None and result is None:
        raise RunError(f"{folder.path} has no tuned.json yet: arms are tuned before they are tested")
    return dict(result[run.arm]["tried"]) if result else {}


def _follow(folder: Folder, run: Planned, interrupted: Callable[[], bool]) -> bool:
    torch.set_num_threads(1)
    plan, _ = opened(folder)
    task = planned.task_of(plan, run.setting)
    if is_done(folder, task, run):
        return True
    path, experiment = folder.run(run), planned.experiment(plan, run, tuned(folder, run, plan))
    ended = finish_of(runs.Run(path)) or _train(folder, run, experiment, interrupted)
    if ended["reason"] == "interrupted":
        return False
    if ended["reason"] != "diverged":
        last = looks.recorded(folder.looks(run))[-1]
        seen = looks.further(task, path, plan.samples)
        looks.record(folder.looks(run), dataclasses.replace(last, also=seen))
    _tidy(path)
    return True


def _train(folder: Folder, run: Planned, experiment: Experiment, interrupted: Callable[[], bool]) -> dict[str, Any]:
    """Start or go on, look when it is time to, and tell how it ended."""
    plan, path, clock = opened(folder)[0], folder.run(run), Clock()
    with clock.stopped():
        judge = looks.judge_of(planned.task_of(plan, run.setting), experiment, plan.samples)
        known = _gone_back(folder, run)
    events = launch.resume(path, interrupted=interrupted) if known else launch.start(experiment, path, interrupted)
    every, steps = require(experiment.save_every, "save_every"), require(experiment.steps, "steps")
    for event in events:
        match event:
            case Resumed() if known:
                clock.set(known.cpu, known.seconds)
            case Saved():
                due = event.step % every == 0 or event.step == steps
                with clock.stopped() as reading:
                    value = judge.of_run(path) if due else None
                    looks.record(folder.looks(run), Look(event.step, value, *reading))
            case Finished():
                return {"reason": event.reason}
    raise AssertionError("a run ends with Finished")


def _gone_back(folder: Folder, run: Planned) -> Look | None:
    """The last look that there is a checkpoint of; what is newer is dropped, and will be made again.

    None to begin anew: a kill has left no checkpoint, or none that was looked at.
    """
    path, seen = folder.run(run), {look.step: look for look in looks.recorded(folder.looks(run))}
    saved = checkpoint.find(path / runs.CHECKPOINTS) if (path / runs.EXPERIMENT).exists() else []
    while saved:
        step = int(saved[-1].name.removeprefix("step-"))
        if step in seen:
            return seen[step]
        shutil.rmtree(saved.pop())
    shutil.rmtree(path, ignore_errors=True)
    return None


def _tidy(path: Path) -> None:
    """Drop the checkpoints of a run that has ended, a hundred times as large as all else; its weights stay."""
    shutil.rmtree(path / runs.CHECKPOINTS, ignore_errors=True)
