"""Execution of one job of a comparison: training and measuring a run, or measuring the anchors of a task."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from equipoise.comparison import measurements, plan_runs, scores
from equipoise.comparison.folder import ComparisonFolder, open_comparison, read_json, read_tuned_arms, write_json
from equipoise.comparison.measurements import CostClock, Measurement
from equipoise.comparison.plan import ComparisonPlan, Task
from equipoise.comparison.plan_runs import RunSpec, TaskSetting
from equipoise.core.events import Finished, FinishReason, Resumed, Saved
from equipoise.errors import RunError
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, require
from equipoise.runs.folders import BUSY, hold
from equipoise.runs.run import CHECKPOINTS_FOLDER, EXPERIMENT_FILE, EventLine, Run
from equipoise.training import checkpoint


@dataclass(frozen=True, slots=True)
class Job:
    """A run, or the anchors of a setting."""

    spec: RunSpec | TaskSetting

    @property
    def name(self) -> str:
        """Name of the job and of its files."""
        if isinstance(self.spec, RunSpec):
            return self.spec.name
        return f"anchors.{'tuning.' * self.spec.tuning}{self.spec.name}"


def execute_job(folder: ComparisonFolder, job: Job, interrupted: Callable[[], bool]) -> bool:
    """Execute a job in this process with one thread; return True if it is complete, False if interrupted and saved."""
    torch.set_num_threads(1)
    if isinstance(job.spec, TaskSetting):
        execute_anchors(folder, job.spec)
        return True
    return execute_run(folder, job.spec, interrupted)


def is_job_done(folder: ComparisonFolder, plan: ComparisonPlan, job: Job) -> bool:
    """Whether a job is complete."""
    if isinstance(job.spec, TaskSetting):
        return folder.anchors(job.spec).exists()
    return is_run_done(folder, plan_runs.get_task(plan, job.spec.setting), job.spec)


def execute_anchors(folder: ComparisonFolder, setting: TaskSetting) -> None:
    """Measure the anchors of a setting and write them to the folder."""
    plan = open_comparison(folder).plan
    anchors = scores.measure_anchors(plan, setting, plan_runs.get_task(plan, setting))
    write_json(folder.anchors(setting), dataclasses.asdict(anchors))


def read_anchors(folder: ComparisonFolder, setting: TaskSetting) -> scores.Anchors | None:
    """Read the anchors of a setting; None if they were not measured yet."""
    values = read_json(folder.anchors(setting))
    return scores.Anchors(**{**values, "real": tuple(values["real"])}) if values else None


def execute_run(folder: ComparisonFolder, run: RunSpec, interrupted: Callable[[], bool]) -> bool:
    """Start or resume a run; return whether it finished. Waits while another process works on the same run."""
    with hold(folder.lock(run.name), BUSY, wait=True):
        torch.set_num_threads(1)
        plan = open_comparison(folder).plan
        task, path = plan_runs.get_task(plan, run.setting), folder.run(run)
        if is_run_done(folder, task, run):
            return True
        experiment = plan_runs.build_experiment(plan, run, options_of_run(folder, run, plan))
        final = final_event(Run(path))
        reason = final["reason"] if final else _train(folder, plan, run, experiment, interrupted)
        if reason == "interrupted":
            return False
        if reason != "diverged":
            last = measurements.read_measurements(folder.measurements(run))[-1]
            also = measurements.evaluate_additional_metrics(task, path, plan.samples)
            measurements.append_measurement(folder.measurements(run), dataclasses.replace(last, also=also))
        _remove_checkpoints(path)
        return True


def is_run_done(folder: ComparisonFolder, task: Task, run: RunSpec) -> bool:
    """Whether a run has finished and all its measurements exist."""
    final = final_event(Run(folder.run(run)))
    if final is None:
        return False
    recorded = measurements.read_measurements(folder.measurements(run))
    is_measured = bool(recorded) and recorded[-1].step == final["step"] and {*recorded[-1].also} == {*task.also}
    return final["reason"] == "diverged" or is_measured


def final_event(run: Run) -> EventLine | None:
    """Return the last line of the log of a finished run; None if the run was interrupted or never started."""
    lines = run.lines() if (run.folder / EXPERIMENT_FILE).exists() else []
    is_finished = bool(lines) and lines[-1]["event"] == "finished" and lines[-1]["reason"] != "interrupted"
    return lines[-1] if is_finished else None


def options_of_run(folder: ComparisonFolder, run: RunSpec, plan: ComparisonPlan) -> Mapping[str, object]:
    """Return the tuned options of the arm of a run: those of its trial, or those selected by tuning."""
    if run.trial is not None:
        return plan_runs.trial_options(plan, run.arm, run.trial)
    tuned = read_tuned_arms(folder)
    if plan.tuning is not None and not tuned:
        raise RunError(f"{folder.path} has no tuned.json yet; tune the arms before their comparison")
    return tuned[run.arm].options if tuned else {}


def _train(
    folder: ComparisonFolder,
    plan: ComparisonPlan,
    run: RunSpec,
    experiment: Experiment,
    interrupted: Callable[[], bool],
) -> FinishReason:
    """Start or resume the training, measure each checkpoint that is due, and return the reason for the end."""
    path, clock = folder.run(run), CostClock()
    with clock.paused():
        metric = measurements.build_reported_metric(plan_runs.get_task(plan, run.setting), experiment, plan.samples)
        last = _restore_last_measured(folder, run)
    events = launch.resume(path, interrupted=interrupted) if last else launch.start(experiment, path, interrupted)
    every, steps = require(experiment.save_every, "save_every"), require(experiment.steps, "steps")
    for event in events:
        match event:
            case Resumed() if last:
                clock.set(last.cpu, last.seconds)
            case Saved():
                is_due = event.step % every == 0 or event.step == steps
                with clock.paused() as reading:
                    value, cost = metric.of_run(path) if is_due else (None, None)
                    measurement = Measurement(event.step, value, *reading, sampling=cost)
                    measurements.append_measurement(folder.measurements(run), measurement)
            case Finished():
                return event.reason
    raise AssertionError("a run ends with Finished")


def _restore_last_measured(folder: ComparisonFolder, run: RunSpec) -> Measurement | None:
    """Return the last measurement that has a checkpoint, and delete newer checkpoints, whose cost is unknown.

    Returns None, and deletes the run, if it has to restart: the process was killed before the first measurement.
    """
    path = folder.run(run)
    by_step = {
        measurement.step: measurement for measurement in measurements.read_measurements(folder.measurements(run))
    }
    checkpoints = checkpoint.find(path / CHECKPOINTS_FOLDER) if (path / EXPERIMENT_FILE).exists() else []
    while checkpoints:
        step = int(checkpoints[-1].name.removeprefix("step-"))
        if step in by_step:
            return by_step[step]
        shutil.rmtree(checkpoints.pop())
    shutil.rmtree(path, ignore_errors=True)
    return None


def _remove_checkpoints(path: Path) -> None:
    """Delete the checkpoints of a finished run, 99 % of its size; its final weights remain."""
    shutil.rmtree(path / CHECKPOINTS_FOLDER, ignore_errors=True)
