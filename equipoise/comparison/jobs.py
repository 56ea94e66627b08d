"""What a plan comes to: jobs, a process each, so many at a time, one thread a process.

All anchors first, then the trials of tuning, then the tests. What is done already is not done again; what was
begun goes on; a job that fails is told of and does not stop the others of its stage. Nothing is trained without
anchors, and nothing tested before every trial was run: a 0 for want of a scale would be told as a result.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from equipoise.comparison import follow, planned, tuning
from equipoise.comparison.folder import Folder
from equipoise.comparison.plan import Plan
from equipoise.comparison.planned import Planned, Setting
from equipoise.errors import RunError
from equipoise.runs.locks import held

PAUSE = 0.05
"""Seconds between two looks at the processes."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Job:
    """A run, or the anchors of a setting."""

    what: Planned | Setting

    @property
    def name(self) -> str:
        """Of the job and of its files."""
        if isinstance(self.what, Planned):
            return self.what.name
        return f"anchors.{'tuning.' * self.what.tuning}{self.what.name}"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a comparison is: `done` of `total` jobs. `job`: the one that has just ended, None at the start.

    `failed`: its last words, if it could not be done. `cpu`: seconds of the processor that all processes have taken
    since this was started.
    """

    done: int
    total: int
    job: Job | None = None
    failed: str | None = None
    cpu: float = 0.0


def jobs(plan: Plan) -> list[Job]:
    """All of them, in the order in which they are done."""
    trials, tests = planned.trials(plan), planned.tests(plan)
    scales = dict.fromkeys(planned.anchored(plan, run.setting) for run in (*trials, *tests))
    whats: list[Planned | Setting] = [*scales, *trials, *tests]
    return [Job(what) for what in whats]


def carry_out(
    plan: Plan, folder: Folder, processes: int, interrupted: Callable[[], bool] = lambda: False
) -> Iterator[Progress]:
    """Do all jobs of a folder that was begun. Closing the iterator stops the processes; what they did is saved.

    Raises RunError if another process is at it, if scores cannot be told for lack of anchors, so that nothing is
    trained, or if a trial could not be run, so that nothing is tested.
    """
    with held(folder.path / "locks" / "comparison", "wait until it has ended, or stop it"):
        every = jobs(plan)
        left = [job for job in every if not is_done(folder, plan, job)]
        done = len(every) - len(left)
        yield Progress(done, len(every))
        stages = [
            [job for job in left if isinstance(job.what, Setting)],
            [job for job in left if isinstance(job.what, Planned) and job.what.trial is not None],
            [job for job in left if isinstance(job.what, Planned) and job.what.trial is None],
        ]
        for number, stage in enumerate(stages):
            if number == 1:
                _check_anchors(every, folder)
            if number == 2 and plan.tuning is not None and not folder.tuned.exists():
                tuning.choose(plan, folder)
            for job, said in _together(stage, folder, processes, interrupted):
                done += said is None
                yield Progress(done, len(every), job, said, _cpu())
            if interrupted():
                return


def _check_anchors(every: Sequence[Job], folder: Folder) -> None:
    """Raise RunError for anchors that could not be measured: without them every score would be missing."""
    for job in every:
        if isinstance(job.what, Setting) and not folder.anchors(job.what).exists():
            said = folder.failed(job.name)
            words = _last_line(said) if said.exists() else "it said nothing"
            raise RunError(
                f"nothing was trained, for there is nothing to score '{job.what.name}' by: {words}; mend the plan and "
                "choose another folder with --out, or mend what it says and give the same command again"
            )


def is_done(folder: Folder, plan: Plan, job: Job) -> bool:
    """Whether there is nothing left to do."""
    if isinstance(job.what, Setting):
        return folder.anchors(job.what).exists()
    return follow.is_done(folder, planned.task_of(plan, job.what.setting), job.what)


def _together(
    stage: Sequence[Job], folder: Folder, processes: int, interrupted: Callable[[], bool]
) -> Iterator[tuple[Job, str | None]]:
    """Jobs as they end, and the last words of those that failed."""
    waiting, running = list(reversed(stage)), dict[Job, subprocess.Popen[bytes]]()
    try:
        while running or (waiting and not interrupted()):
            while waiting and len(running) < processes and not interrupted():
                job = waiting.pop()
                running[job] = _started(job, folder)
            ended = [job for job, process in running.items() if process.poll() is not None]
            for job in ended:
                code = running.pop(job).returncode
                if code != follow.INTERRUPTED and not (code and interrupted()):
                    yield job, _last_words(_said(folder, job), folder.failed(job.name), code)
            if interrupted():
                _stop(running.values())
            if not ended:
                time.sleep(PAUSE)
    finally:
        _stop(running.values())
        for process in running.values():
            process.wait()


def _started(job: Job, folder: Folder) -> "subprocess.Popen[bytes]":
    words = [sys.executable, "-m", "equipoise.comparison", str(folder.path), job.name]
    folder.failed(job.name).unlink(missing_ok=True)
    with _said(folder, job).open("wb") as file:
        environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment)


def _stop(running: "Iterable[subprocess.Popen[bytes]]") -> None:
    """Ask processes to save and end, once."""
    for process in running:
        if process.poll() is None:
            process.terminate()


def _said(folder: Folder, job: Job) -> Path:
    """What a job writes to its outputs."""
    return folder.path / "locks" / f"{job.name}.said"


def _last_words(said: Path, kept: Path, code: int) -> str | None:
    """The last line that a job has written, all of which is kept; None if it went well."""
    if code == 0:
        said.unlink()
        return None
    if not said.read_bytes().strip():
        said.write_text(f"it ended with code {code} without a word\n")
    kept.parent.mkdir(exist_ok=True)
    said.replace(kept)
    return _last_line(kept)


def _last_line(kept: Path) -> str:
    return [line for line in kept.read_text(errors="replace").splitlines() if line.strip()][-1].strip()


def _cpu() -> float:
    """CPU seconds of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])
