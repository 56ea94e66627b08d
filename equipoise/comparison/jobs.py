"""Jobs of a plan: all anchors first, then calibrations, the tuning trials, and the runs that are compared.

Finished jobs are skipped, interrupted ones are resumed. A failed job does not stop the others of its phase. Runs are
trained only if all anchors and calibrations exist, and compared only if all trials have run. A run that starts from
another one, or is sampled from it, waits until that one has ended. Calibrations are executed one by one, because others
would slow them down.
"""

import dataclasses
import os
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from equipoise.comparison import plan_runs, results
from equipoise.comparison.execution import CalibratedTask, Job, is_job_done
from equipoise.comparison.folder import ComparisonFolder, TunedArm, write_json
from equipoise.comparison.plan import ComparisonPlan
from equipoise.comparison.plan_runs import RunSpec, TaskSetting
from equipoise.comparison.processes import INTERRUPTED, JobProcess, start_process, wait_for_any
from equipoise.errors import RunError
from equipoise.runs.folders import BUSY, hold


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
class _Ended:
    job: Job
    error: str | None
    cpu: float


def list_jobs(plan: ComparisonPlan) -> list[Job]:
    """Return all jobs in the order of their execution."""
    trials, tests = plan_runs.tuning_runs(plan), plan_runs.test_runs(plan)
    anchors = dict.fromkeys(plan_runs.anchor_setting(plan, run.setting) for run in (*trials, *tests))
    calibrated = [CalibratedTask(name) for name, task in plan.tasks.items() if task.cpu_seconds is not None]
    specs: list[RunSpec | TaskSetting | CalibratedTask] = [*anchors, *calibrated, *trials, *tests]
    return [Job(spec) for spec in specs]


def execute_jobs(
    plan: ComparisonPlan, folder: ComparisonFolder, processes: int, interrupted: Callable[[], bool] = lambda: False
) -> Iterator[JobProgress]:
    """Execute all jobs of an existing folder, `processes` at a time; yield progress.

    Closing the iterator stops the jobs and saves them.

    Raises RunError if another process executes this comparison, if anchors or a calibration could not be measured
    (nothing is trained), or if a tuning trial failed (nothing is compared).
    """
    with hold(folder.lock("comparison"), BUSY):
        jobs = list_jobs(plan)
        pending = [job for job in jobs if not is_job_done(folder, plan, job)]
        done, cpu = len(jobs) - len(pending), 0.0
        yield JobProgress(done, len(jobs))
        anchors = [job for job in pending if isinstance(job.spec, TaskSetting)]
        calibrations = [job for job in pending if isinstance(job.spec, CalibratedTask)]
        trials = [job for job in pending if isinstance(job.spec, RunSpec) and job.spec.trial is not None]
        tests = [job for job in pending if isinstance(job.spec, RunSpec) and job.spec.trial is None]
        for phase in (anchors, calibrations, trials, tests):
            if phase is trials:
                _check_measured(jobs, folder, plan)
            if phase is tests and plan.tuning is not None and not folder.tuned.exists():
                select_trials(plan, folder)
            for ended in _execute(phase, folder, plan, 1 if phase is calibrations else processes, interrupted):
                done, cpu = done + (ended.error is None), cpu + ended.cpu
                yield JobProgress(done, len(jobs), ended.job, ended.error, cpu + sum(os.times()[:2]))
            if interrupted():
                return


def _check_measured(jobs: Sequence[Job], folder: ComparisonFolder, plan: ComparisonPlan) -> None:
    """Raise RunError for anchors or a calibration that could not be measured: without them nothing can be compared."""
    for job in jobs:
        if not isinstance(job.spec, RunSpec) and not is_job_done(folder, plan, job):
            output = folder.failed(job.name)
            reason = _last_line(output) if output.exists() else "no output was written"
            part = (
                f"the anchors of '{job.spec.name}'"
                if isinstance(job.spec, TaskSetting)
                else f"the calibration of '{job.spec.task}'"
            )
            raise RunError(
                f"nothing was trained, because {part} could not be measured: {reason}; fix the cause and run the same "
                "command again, or change the plan and choose another folder with --out"
            )


def _execute(
    phase: Sequence[Job],
    folder: ComparisonFolder,
    plan: ComparisonPlan,
    processes: int,
    interrupted: Callable[[], bool],
) -> Iterator[_Ended]:
    """Execute jobs in processes; yield each job that has finished or failed, but not interrupted ones."""
    waiting, running = list(phase), dict[Job, JobProcess]()
    is_stopping = False
    try:
        while running or (waiting and not interrupted()):
            while len(running) < processes and not interrupted():
                job = next((job for job in waiting if _is_ready(plan, job, {*waiting, *running})), None)
                if job is None:
                    break
                waiting.remove(job)
                running[job] = start_process(folder, job)
            wait_for_any(running.values())
            for job in [job for job, process in running.items() if process.exit_code is not None]:
                process = running.pop(job)
                code, cpu = process.exit_code, process.join()
                if code != INTERRUPTED and not (code and interrupted()):
                    yield _Ended(job, _error(folder, job, code), cpu)
            if interrupted() and not is_stopping:
                is_stopping = True
                _terminate(running.values())
    finally:
        _terminate(running.values())
        for process in running.values():
            process.join()


def _is_ready(plan: ComparisonPlan, job: Job, unfinished: Container[Job]) -> bool:
    """Whether the run that a job needs has ended; it fails at once if that one failed."""
    required = plan_runs.required_run(plan, job.spec) if isinstance(job.spec, RunSpec) else None
    return required is None or Job(required) not in unfinished


def _terminate(processes: Iterable[JobProcess]) -> None:
    for process in processes:
        if process.exit_code is None:
            process.terminate()


def _error(folder: ComparisonFolder, job: Job, code: int | None) -> str | None:
    """Return the last line of the output of a failed job, after moving the output to failed/; None if it succeeded."""
    output, failed = folder.output(job.name), folder.failed(job.name)
    if code == 0:
        output.unlink()
        return None
    if not output.read_bytes().strip():
        output.write_text(f"the process ended with exit code {code} and without output\n")
    failed.parent.mkdir(exist_ok=True)
    output.replace(failed)
    return _last_line(failed)


def _last_line(output: Path) -> str:
    return [line for line in output.read_text(errors="replace").splitlines() if line.strip()][-1].strip()


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
