"""Jobs of a plan: all anchors first, then calibrations, the tuning trials, and the runs that are compared.

Finished jobs are skipped, interrupted ones are resumed. A failed job does not stop the others of its phase. Runs are
trained only if all anchors and calibrations exist, and compared only if all trials have run. A run that starts from
another one, or is sampled from it, waits until that one has ended. A process executes calibrations one by one, because
others would slow them down; processes that share the jobs may execute several at once.
"""

import dataclasses
import os
import platform
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from equipoise.comparison import machines, plan_runs, results
from equipoise.comparison.execution import AnchorsJob, CalibrationJob, Job, RoundJob, RunJob
from equipoise.comparison.folder import ComparisonFolder, TunedArm, write_json
from equipoise.comparison.job_calls import call_job, describe_full_disk, last_line, record_end
from equipoise.comparison.plan import ComparisonPlan
from equipoise.errors import RunError
from equipoise.jobs.backend import INTERRUPTED, LOST, NO_SPACE, Backend, Call, execute_calls
from equipoise.jobs.identity import this_process
from equipoise.jobs.presence import present
from equipoise.runs.folders import BUSY, hold

MAX_STOPS = 3
"""A job that a signal from elsewhere has stopped so often has failed."""


@dataclass(frozen=True, slots=True)
class JobProgress:
    """Progress of a comparison: `done` of `total` jobs. `job`: the one that has just ended, None at the start.

    `error`: the last line of its output if it failed. `cpu`: CPU seconds of this process and of all jobs that have
    ended.
    """

    done: int
    total: int
    job: Job | None = None
    error: str | None = None
    cpu: float = 0.0


@dataclass(frozen=True, slots=True)
class JobPhase:
    """Jobs that may be executed at once, or one by one if `is_serial`, after those of the phase before have ended."""

    name: Literal["anchors", "calibrations", "tuning", "runs"]
    jobs: tuple[Job, ...]
    is_serial: bool = False


def list_phases(plan: ComparisonPlan) -> list[JobPhase]:
    """Return all jobs in the order of their execution."""
    trials, tests = plan_runs.tuning_runs(plan), plan_runs.compared_runs(plan)
    anchors = dict.fromkeys(plan_runs.anchor_setting(plan, run.setting) for run in (*trials, *tests))
    calibrated = [name for name, task in plan.tasks.items() if task.cpu_seconds is not None]
    return [
        JobPhase("anchors", tuple(map(AnchorsJob, anchors))),
        JobPhase("calibrations", tuple(map(CalibrationJob, calibrated)), is_serial=True),
        JobPhase("tuning", tuple(map(RunJob, trials))),
        JobPhase("runs", (*map(RoundJob, plan_runs.member_rounds(plan)), *map(RunJob, tests))),
    ]


def list_jobs(plan: ComparisonPlan) -> list[Job]:
    """Return all jobs in the order of their execution."""
    return [job for phase in list_phases(plan) for job in phase.jobs]


def execute_jobs(
    plan: ComparisonPlan, folder: ComparisonFolder, backend: Backend, interrupted: Callable[[], bool] = lambda: False
) -> Iterator[JobProgress]:
    """Execute all jobs of an existing folder, which no other process uses; yield progress.

    Closing the iterator stops the jobs and saves them.

    Raises RunError if another process executes this comparison, if anchors or a calibration could not be measured
    (nothing is trained), if a tuning trial failed (nothing is compared), or if there is no space left.
    """
    with ExitStack() as stack:
        stack.enter_context(hold(folder.lock("comparison"), BUSY))
        check_alone = stack.enter_context(present(folder.processes, this_process(), "alone", folder.path))
        if not backend.is_remote:
            machines.record_machine(folder, machines.this_machine())
        phases = list_phases(plan)
        jobs = [job for phase in phases for job in phase.jobs]
        pending = {job for job in jobs if not job.is_done(folder, plan)}
        done, cpu = len(jobs) - len(pending), 0.0
        yield JobProgress(done, len(jobs))
        for phase in phases:
            prepare_phase(phase, plan, folder)
            open_jobs = [job for job in phase.jobs if job in pending]
            source = _JobList(plan, folder, phase, open_jobs, is_remote=backend.is_remote)
            for ended in execute_calls(backend, source, interrupted):
                cpu += ended.cpu
                check_alone()
                if ended.code in (INTERRUPTED, LOST) and not interrupted() and source.retry(ended.call.name):
                    continue
                source.end(ended.call.name)
                if ended.code and interrupted():
                    continue
                if ended.code == NO_SPACE:
                    raise RunError(describe_full_disk(folder, platform.node(), ended.call.name))
                error = record_end(folder, ended.call.name, ended.code)
                done += error is None
                yield JobProgress(done, len(jobs), source.jobs[ended.call.name], error, cpu + sum(os.times()[:2]))
            if interrupted():
                return


class _JobList:
    """The jobs of a phase as calls. Mutable: `unfinished` holds the names of those that wait or run.

    `stops`: how often a job was stopped by a signal, or lost to another process, which this process did not request.
    """

    def __init__(
        self,
        plan: ComparisonPlan,
        folder: ComparisonFolder,
        phase: JobPhase,
        pending: Sequence[Job],
        *,
        is_remote: bool,
    ) -> None:
        self.plan, self.folder, self.is_serial, self.is_remote = plan, folder, phase.is_serial, is_remote
        self.jobs = {job.name: job for job in pending}
        self.waiting, self.unfinished = dict(self.jobs), set(self.jobs)
        self.stops: Counter[str] = Counter()

    @property
    def is_empty(self) -> bool:
        return not self.waiting

    def take(self) -> Call | None:
        if self.is_serial and len(self.waiting) < len(self.unfinished):
            return None
        job = next((job for job in self.waiting.values() if is_ready(self.plan, job, self.unfinished)), None)
        if job is None:
            return None
        return call_job(self.folder, self.waiting.pop(job.name), is_remote=self.is_remote)

    def end(self, name: str) -> None:
        self.unfinished.remove(name)

    def retry(self, name: str) -> bool:
        """Let a stopped job wait again; return False if it was stopped too often."""
        self.stops[name] += 1
        if self.stops[name] < MAX_STOPS:
            self.waiting[name] = self.jobs[name]
        return name in self.waiting


def list_failures(plan: ComparisonPlan, folder: ComparisonFolder) -> dict[str, str]:
    """Return the name of each failed job -> the last line of its output."""
    failed = [job for job in list_jobs(plan) if folder.failed(job.name).exists()]
    return {job.name: last_line(folder, job.name) for job in failed if not job.is_done(folder, plan)}


def prepare_phase(phase: JobPhase, plan: ComparisonPlan, folder: ComparisonFolder) -> None:
    """Before the tuning phase, check that all anchors and calibrations exist; before the runs, select the trials."""
    if phase.name == "tuning":
        _check_measured(plan, folder)
    if phase.name == "runs" and plan.tuning is not None and not folder.tuned.exists():
        select_trials(plan, folder)


def _check_measured(plan: ComparisonPlan, folder: ComparisonFolder) -> None:
    """Raise RunError for anchors or a calibration that could not be measured: without them nothing can be compared."""
    anchors, calibrations, *_ = list_phases(plan)
    for job in (*anchors.jobs, *calibrations.jobs):
        if not job.is_done(folder, plan):
            raise RunError(
                f"nothing was trained, because the job {job.name} failed: {last_line(folder, job.name)}; fix "
                "the cause and run the same command again, or change the plan and choose another folder with --out"
            )


def is_ready(plan: ComparisonPlan, job: Job, unfinished: Container[str]) -> bool:
    """Whether the jobs that a job needs have ended, even by failing (the job then fails, too). `unfinished`: names."""
    return not any(name in unfinished for name in job.required(plan))


def select_trials(plan: ComparisonPlan, folder: ComparisonFolder) -> None:
    """Select the trial of each arm with the highest mean score over tasks and seeds (the first of equal ones); save it.

    A diverged trial scores 0. The selection is final: raises RunError while the score of a trial is missing.
    """
    assert plan.tuning is not None
    rows = {run: results.load_result(plan, folder, run) for run in plan_runs.tuning_runs(plan)}
    if missing := [run.name for run, row in rows.items() if row.state == "failed" or not row.counts]:
        raise RunError(
            f"arms could not be tuned, so nothing was compared: {len(missing)} of {len(rows)} trials failed, first "
            f"{missing[0]}; their output is in {folder.path / 'failed'}; to try them again, run the same command"
        )
    tuned = {}
    for arm in plan.arms:
        means = [
            fmean(row.known_score for run, row in rows.items() if run.arm == arm and run.trial == trial)
            for trial in range(plan.tuning.trials)
        ]
        best = max(range(len(means)), key=means.__getitem__)
        tuned[arm] = dataclasses.asdict(TunedArm(best, plan_runs.trial_options(plan, arm, best), tuple(means)))
    write_json(folder.tuned, tuned)
