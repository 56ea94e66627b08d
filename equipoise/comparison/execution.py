"""Execution of one job of a comparison: a run, the anchors of a task, or the calibration of its budget."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from equipoise.comparison import calibration, measurements, plan_runs, population_runs, scores
from equipoise.comparison.folder import ComparisonFolder, open_comparison, read_json, read_tuned_arms, write_json
from equipoise.comparison.measured_training import train_and_measure
from equipoise.comparison.measurements import Measurement
from equipoise.comparison.plan import ComparisonPlan
from equipoise.comparison.plan_runs import MemberRound, RunSpec, TaskSetting
from equipoise.core.events import FinishReason
from equipoise.errors import RunError
from equipoise.experiment.files import load_run_experiment
from equipoise.runs.folders import BUSY, hold
from equipoise.runs.run import CHECKPOINTS_FOLDER, EXPERIMENT_FILE, EventLine, Run
from equipoise.training import checkpoint


@dataclass(frozen=True, slots=True)
class CalibratedTask:
    """A task with a budget, whose arms are calibrated."""

    task: str


@dataclass(frozen=True, slots=True)
class Job:
    """A run, a round of a member of a population, the anchors of a setting, or the calibration of a task."""

    spec: RunSpec | MemberRound | TaskSetting | CalibratedTask

    @property
    def name(self) -> str:
        """Name of the job and of its files."""
        if isinstance(self.spec, RunSpec | MemberRound):
            return self.spec.name
        if isinstance(self.spec, CalibratedTask):
            return f"calibration.{self.spec.task}"
        return f"anchors.{'tuning.' * self.spec.tuning}{self.spec.name}"


def execute_job(folder: ComparisonFolder, job: Job, interrupted: Callable[[], bool]) -> bool:
    """Execute a job in this process with one thread; return True if it is complete, False if interrupted.

    An interrupted run is saved; an interrupted calibration starts again.
    """
    torch.set_num_threads(1)
    if isinstance(job.spec, TaskSetting):
        execute_anchors(folder, job.spec)
        return True
    if isinstance(job.spec, CalibratedTask):
        arms = calibration.calibrate(open_comparison(folder).plan, job.spec.task, interrupted)
        if arms is None:
            return False
        calibration.write_calibration(folder, job.spec.task, arms)
        return True
    if isinstance(job.spec, MemberRound):
        return population_runs.execute_round(folder, job.spec, interrupted)
    return execute_run(folder, job.spec, interrupted)


def is_job_done(folder: ComparisonFolder, plan: ComparisonPlan, job: Job) -> bool:
    """Whether a job is complete."""
    if isinstance(job.spec, TaskSetting):
        return folder.anchors(job.spec).exists()
    if isinstance(job.spec, CalibratedTask):
        return folder.calibration(job.spec.task).exists()
    if isinstance(job.spec, MemberRound):
        return population_runs.record_path(folder, job.spec).exists()
    return is_run_done(folder, plan, job.spec)


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
    """Start or resume a run; return whether it finished. Waits while another process works on the same run.

    A run of an arm that samples from another arm's run is only sampled and measured. Raises RunError if the run that
    it samples from or starts from has not finished.
    """
    with hold(folder.lock(run.name), BUSY, wait=True):
        torch.set_num_threads(1)
        plan = calibration.with_calibrated_steps(open_comparison(folder).plan, folder)
        if is_run_done(folder, plan, run):
            return True
        required = plan_runs.required_run(plan, run)
        if required is not None and not is_run_done(folder, plan, required):
            raise RunError(
                f"{run.name} needs the run {required.name}, which failed or has not ended; run that one first"
            )
        part = plan.arms[run.arm].population
        if part in ("winner", "constants"):
            reason = population_runs.select_winner(folder, plan, run)
        elif plan_runs.trained_run(plan, run) == run:
            plan = population_runs.with_best_schedule(folder, plan, run) if part else plan
            start = plan_runs.start_run(plan, run)
            options = options_of_run(folder, run, plan)
            experiment = plan_runs.build_experiment(plan, run, options, None if start is None else folder.run(start))
            final = final_event(Run(folder.run(run)))
            training = plan, run, experiment, folder.run(run), folder.measurements(run), interrupted
            reason = final["reason"] if final else train_and_measure(*training)
            if reason == "interrupted":
                return False
        else:
            reason = _measure_samples(folder, plan, run)
        if reason != "diverged":
            _measure_additional_metrics(folder, plan, run)
        if plan_runs.trained_run(plan, run) == run:
            _remove_checkpoints(folder.run(run), keeps_last=plan_runs.is_start(plan, run.arm))
        return True


def _measure_additional_metrics(folder: ComparisonFolder, plan: ComparisonPlan, run: RunSpec) -> None:
    """Measure the additional metrics of a finished run, and write its samples if arms sample in different ways."""
    path, sampling = folder.run(plan_runs.trained_run(plan, run)), plan.arms[run.arm].sampling
    task = plan_runs.get_task(plan, run.setting)
    if plan.compares_models:
        measurements.write_uncurated_samples(path, folder.samples(run, ""), sampling)
    last = measurements.read_measurements(folder.measurements(run))[-1]
    also = measurements.evaluate_additional_metrics(task, path, plan.samples, sampling)
    measurements.append_measurement(folder.measurements(run), dataclasses.replace(last, also=also))


def _measure_samples(folder: ComparisonFolder, plan: ComparisonPlan, run: RunSpec) -> FinishReason:
    """Measure samples of an arm that trains nothing, generated by the final weights of the run that it samples from.

    The recorded training time is that of the sampled run. Returns the reason why that run ended.
    """
    trained = plan_runs.trained_run(plan, run)
    path = folder.run(trained)
    reason: FinishReason = (final_event(Run(path)) or {})["reason"]
    if reason != "diverged":
        experiment = load_run_experiment(path)
        metric = measurements.build_reported_metric(plan_runs.get_task(plan, run.setting), experiment, plan.samples)
        value, cost, weights = metric.of_run(path, plan.arms[run.arm].sampling)
        last = measurements.read_measurements(folder.measurements(trained))[-1]
        measured = Measurement(last.step, value, last.cpu, last.seconds, sampling=cost, weights=weights)
        measurements.append_measurement(folder.measurements(run), measured)
    return reason


def is_run_done(folder: ComparisonFolder, plan: ComparisonPlan, run: RunSpec) -> bool:
    """Whether a run, or the run that it samples from, has finished, and all measurements of it exist."""
    final = final_event(Run(folder.run(plan_runs.trained_run(plan, run))))
    if final is None:
        return False
    also = plan_runs.get_task(plan, run.setting).also
    recorded = measurements.read_measurements(folder.measurements(run))
    is_measured = bool(recorded) and recorded[-1].step == final["step"] and {*recorded[-1].also} == {*also}
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


def _remove_checkpoints(path: Path, *, keeps_last: bool) -> None:
    """Delete the checkpoints of a finished run, 99 % of its size; its final weights remain.

    `keeps_last`: other runs start from the last one.
    """
    if keeps_last:
        for saved in checkpoint.find(path / CHECKPOINTS_FOLDER)[:-1]:
            shutil.rmtree(saved, ignore_errors=True)
    else:
        shutil.rmtree(path / CHECKPOINTS_FOLDER, ignore_errors=True)
