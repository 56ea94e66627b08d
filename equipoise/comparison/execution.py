"""The four kinds of jobs of a comparison, and their execution: anchors, calibrations, rounds of members, and runs."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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
from equipoise.jobs.backend import BlockedError
from equipoise.runs.folders import BUSY, hold
from equipoise.runs.run import CHECKPOINTS_FOLDER, EXPERIMENT_FILE, EventLine, Run
from equipoise.training import checkpoint


class Job(Protocol):
    """A part of a comparison that is executed as a whole, by one process at a time."""

    @property
    def name(self) -> str:
        """Name of the job and of its files."""

    def required(self, plan: ComparisonPlan) -> list[str]:
        """Return the names of the jobs that must have ended before this one can be executed."""

    def is_done(self, folder: ComparisonFolder, plan: ComparisonPlan) -> bool:
        """Whether the job is complete, as its files show."""

    def execute(self, folder: ComparisonFolder, interrupted: Callable[[], bool]) -> bool:
        """Execute or continue the job; return True if it is complete, False if it was interrupted."""


@dataclass(frozen=True, slots=True)
class AnchorsJob:
    """Measures the anchors of a setting."""

    setting: TaskSetting

    @property
    def name(self) -> str:
        """Name of the job and of its files."""
        return f"anchors.{'tuning.' * self.setting.tuning}{self.setting.name}"

    def required(self, plan: ComparisonPlan) -> list[str]:
        """Return [], since anchors need no other job."""
        return []

    def is_done(self, folder: ComparisonFolder, plan: ComparisonPlan) -> bool:
        """Whether the anchors were measured."""
        return folder.anchors(self.setting).exists()

    def execute(self, folder: ComparisonFolder, interrupted: Callable[[], bool]) -> bool:
        """Measure the anchors; this is too short to be interrupted."""
        execute_anchors(folder, self.setting)
        return True


@dataclass(frozen=True, slots=True)
class CalibrationJob:
    """Calibrates the arms of a task that has a budget."""

    task: str

    @property
    def name(self) -> str:
        """Name of the job and of its files."""
        return f"calibration.{self.task}"

    def required(self, plan: ComparisonPlan) -> list[str]:
        """Return [], since a calibration needs no other job."""
        return []

    def is_done(self, folder: ComparisonFolder, plan: ComparisonPlan) -> bool:
        """Whether the arms were calibrated."""
        return folder.calibration(self.task).exists()

    def execute(self, folder: ComparisonFolder, interrupted: Callable[[], bool]) -> bool:
        """Calibrate the arms; an interrupted calibration starts again."""
        arms = calibration.calibrate(open_comparison(folder).plan, self.task, interrupted)
        if arms is not None:
            calibration.write_calibration(folder, self.task, arms)
        return arms is not None


@dataclass(frozen=True, slots=True)
class RoundJob:
    """Trains a member of a population for one round."""

    round: MemberRound

    @property
    def name(self) -> str:
        """Name of the job and of its files."""
        return self.round.name

    def required(self, plan: ComparisonPlan) -> list[str]:
        """Return the names of the jobs of the previous round, those of all members."""
        previous = self.round.number - 1
        members = plan_runs.members_of_round(plan, self.round.run, previous) if previous >= 0 else []
        return [member.name for member in members]

    def is_done(self, folder: ComparisonFolder, plan: ComparisonPlan) -> bool:
        """Whether the member has finished the round."""
        return population_runs.record_path(folder, self.round).exists()

    def execute(self, folder: ComparisonFolder, interrupted: Callable[[], bool]) -> bool:
        """Train and measure the member; an interrupted round is saved."""
        return population_runs.execute_round(folder, self.round, interrupted)


@dataclass(frozen=True, slots=True)
class RunJob:
    """Trains and measures a run, or only measures the samples of another arm's run."""

    run: RunSpec

    @property
    def name(self) -> str:
        """Name of the job and of its files."""
        return self.run.name

    def required(self, plan: ComparisonPlan) -> list[str]:
        """Return the names of the jobs of the run or the population that this run starts or samples from."""
        return plan_runs.required_jobs(plan, self.run)

    def is_done(self, folder: ComparisonFolder, plan: ComparisonPlan) -> bool:
        """Whether the run has finished, and all measurements of it exist."""
        return is_run_done(folder, plan, self.run)

    def execute(self, folder: ComparisonFolder, interrupted: Callable[[], bool]) -> bool:
        """Train and measure the run; an interrupted run is saved."""
        return execute_run(folder, self.run, interrupted)


def execute_job(folder: ComparisonFolder, job: Job, interrupted: Callable[[], bool]) -> bool:
    """Execute a job in this process with one thread; return True if it is complete, False if interrupted."""
    torch.set_num_threads(1)
    return job.execute(folder, interrupted)


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

    A run of an arm that samples from another arm's run is only sampled and measured. Raises BlockedError if the run
    that it samples from or starts from has not finished.
    """
    with hold(folder.lock(run.name), BUSY, wait_until=interrupted):
        torch.set_num_threads(1)
        plan = calibration.with_calibrated_steps(open_comparison(folder).plan, folder)
        if is_run_done(folder, plan, run):
            return True
        required = plan_runs.required_run(plan, run)
        if required is not None and not is_run_done(folder, plan, required):
            raise BlockedError(
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
    """Return the event that ended a finished run, also if a process that had lost the run has appended others.

    None if the run was interrupted or never started.
    """
    last = run.last_line() if (run.folder / EXPERIMENT_FILE).exists() else None
    if last is not None and last["event"] != "finished":
        last = next(reversed(run.lines("finished")), None)  # a resumed run has none
    is_finished = last is not None and last["event"] == "finished" and last["reason"] != "interrupted"
    return last if is_finished else None


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
