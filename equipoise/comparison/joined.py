"""Jobs of a plan that any number of processes on any number of machines share through its folder.

Each process takes jobs by claims (see :mod:`equipoise.jobs.claims`) and executes them; nothing else connects the
processes. All wait until the jobs of a phase have ended before they start those of the next one. The settings that
tuning selects are written by the process that claims this, and so is the report.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from equipoise.comparison import jobs, machines
from equipoise.comparison.execution import Job
from equipoise.comparison.folder import ComparisonFolder
from equipoise.comparison.job_calls import describe_full_disk, discard_output, execute_claimed, record_end
from equipoise.comparison.jobs import JobPhase, JobProgress
from equipoise.comparison.plan import ComparisonPlan
from equipoise.errors import RunError
from equipoise.jobs.backend import (
    BLOCKED,
    DRIVE_ERRORS,
    DRIVE_FAILED,
    INTERRUPTED,
    LOST,
    NO_MEMORY,
    NO_SPACE,
    POLL_SECONDS,
    Backend,
    Call,
    EndedCall,
    execute_calls,
    follows_from,
)
from equipoise.jobs.claim_files import DriveFiles
from equipoise.jobs.claimed_queue import ClaimedQueue
from equipoise.jobs.claims import ClaimFolder, JobClaim, JobGivenUpError
from equipoise.jobs.identity import this_process
from equipoise.jobs.presence import present

MAX_KILLS = 3
"""A job whose process was killed so often, perhaps because memory ran out, or could not reach the drive, has failed."""


def join_jobs(
    plan: ComparisonPlan, folder: ComparisonFolder, backend: Backend, interrupted: Callable[[], bool] = lambda: False
) -> Iterator[JobProgress]:
    """Execute jobs of an existing folder together with other processes, until all have ended; yield own progress.

    `done` counts the jobs of all processes. A failed job is not tried again, unless the file with its output is
    deleted. Closing the iterator, or an interruption, saves the jobs of this process and gives them back.

    Raises RunError as execute_jobs does, if a process works on the folder without claims, and if this machine has no
    space left, after giving its jobs back.
    """
    claims = ClaimFolder(DriveFiles(folder.path / "locks"), this_process())
    with present(folder.processes, claims.holder, "joined", folder.path):
        machines.record_machine(folder, machines.this_machine())
        phases = jobs.list_phases(plan)
        total, before, cpu = sum(len(phase.jobs) for phase in phases), 0, 0.0
        yield JobProgress(sum(job.is_done(folder, plan) for phase in phases for job in phase.jobs), total)
        for phase in phases:
            _prepare(phase, plan, folder, claims, interrupted)
            source = _ClaimedJobs(plan, folder, phase, claims)
            try:
                for ended in execute_calls(backend, source, interrupted):
                    cpu += ended.cpu
                    is_ended, error = source.end(ended, is_stopped=interrupted())
                    if is_ended:
                        done = before + source.count_done()
                        job = source.jobs[ended.call.name]
                        yield JobProgress(done, total, job, error, cpu + sum(os.times()[:2]))
            finally:
                source.give_back()
            if interrupted():
                return
            before += source.count_done()
        yield JobProgress(before, total, cpu=cpu + sum(os.times()[:2]))


def write_once(
    folder: ComparisonFolder, name: str, write: Callable[[], object], interrupted: Callable[[], bool] = lambda: False
) -> None:
    """Write something that every process writes at its end, such as the report; one process at a time.

    If another process is already writing, wait and write again: its result may lack the jobs of this one. Return
    without writing if a process has begun to write since this call, or after an interruption.
    """
    claims = ClaimFolder(DriveFiles(folder.path / "locks"), this_process())
    first = claims.read(name)
    while (claim := claims.take(name)) is None:
        now = claims.read(name)
        if interrupted() or now is None or first is None or now.number > first.number:
            return
        time.sleep(POLL_SECONDS)
    try:
        write()
    finally:
        claim.end("free")


def _prepare(
    phase: JobPhase,
    plan: ComparisonPlan,
    folder: ComparisonFolder,
    claims: ClaimFolder,
    interrupted: Callable[[], bool],
) -> None:
    """Prepare a phase as prepare_phase does, but let only one of the processes select the tuning trials."""
    if phase.name != "runs" or plan.tuning is None:
        jobs.prepare_phase(phase, plan, folder)
        return
    queue = ClaimedQueue(("tuned",), claims, lambda name: folder.tuned.exists())
    while not queue.is_empty and not interrupted():
        if claim := queue.take():
            try:
                jobs.prepare_phase(phase, plan, folder)
            finally:
                claim.end("free")
        elif not queue.is_empty:
            time.sleep(POLL_SECONDS)


class _ClaimedJobs:
    """The jobs of a phase as calls, as far as they can be claimed. Mutable.

    `held`: the claims of this process. `failed`: jobs that are known to have failed, or that this machine cannot
    execute, so that counting reads no files.
    """

    def __init__(self, plan: ComparisonPlan, folder: ComparisonFolder, phase: JobPhase, claims: ClaimFolder) -> None:
        self.plan, self.folder, self.is_serial = plan, folder, phase.is_serial
        self.jobs = {job.name: job for job in phase.jobs}
        self.held: dict[str, JobClaim] = {}
        self.failed: set[str] = set()
        self.queue = ClaimedQueue(tuple(self.jobs), claims, self._has_ended, group=len(plan.arms))

    @property
    def is_empty(self) -> bool:
        return self.queue.is_empty

    def take(self) -> Call | None:
        if self.is_serial and self.held:
            return None
        try:
            claim = self.queue.take(self._is_ready)
        except JobGivenUpError as error:
            self.folder.output(error.job).write_text(f"{error}\n")
            record_end(self.folder, error.job, LOST)
            self.failed.add(error.job)
            self.queue.mark_ended(error.job)
            return self.take()
        except (OSError, RunError) as error:
            if not follows_from(error, DRIVE_ERRORS):
                raise
            return None  # the drive cannot be reached; look again later
        if claim is None:
            return None
        self.held[claim.job] = claim
        return Call(
            claim.job, execute_claimed, (self.folder, self.jobs[claim.job], claim), self.folder.output(claim.job)
        )

    def end(self, ended: EndedCall, *, is_stopped: bool) -> tuple[bool, str | None]:
        """End the claim of a call; return whether the job has ended, and the error if it has failed."""
        name, claim = ended.call.name, self.held.pop(ended.call.name)
        if ended.code == NO_SPACE:
            self._free(claim)
            raise RunError(describe_full_disk(self.folder, claim.holder.host, name))
        if ended.code and not _is_current(claim):  # perhaps because another process has replaced the files
            return False, None
        if ended.code in (INTERRUPTED, LOST) or (ended.code and is_stopped):
            self._free(claim)
            return False, None
        if (ended.code < 0 or ended.code == DRIVE_FAILED) and claim.kills + 1 < MAX_KILLS:
            self._free(claim, is_killed=True)
            return False, None
        is_possible = ended.code not in (BLOCKED, NO_MEMORY)
        error = record_end(self.folder, name, ended.code) if is_possible else discard_output(self.folder, name)
        claim.end("done" if error is None else "failed" if is_possible else "free")
        if error is not None:
            self.failed.add(name)
        self.queue.mark_ended(name)
        return True, error

    def give_back(self) -> None:
        """Give back the jobs that were taken and have not ended."""
        for claim in self.held.values():
            self._free(claim)
        self.held.clear()

    def count_done(self) -> int:
        """Return the number of jobs that are done, as far as this process has looked."""
        return sum(self.queue.is_known_ended(name) and name not in self.failed for name in self.jobs)

    def _free(self, claim: JobClaim, *, is_killed: bool = False) -> None:
        with contextlib.suppress(OSError):  # without space the claim ends with this process
            claim.end("done" if self._has_ended(claim.job) else "free", is_killed=is_killed)

    def _has_ended(self, name: str) -> bool:
        if self.jobs[name].is_done(self.folder, self.plan):
            self.failed.discard(name)
            return True
        if self.folder.failed(name).exists():
            self.failed.add(name)
            return True
        return False

    def _is_ready(self, name: str) -> bool:
        return jobs.is_ready(self.plan, self.jobs[name], _Unfinished(self.queue, self.jobs))


def _is_current(claim: JobClaim) -> bool:
    """Whether nobody has taken over a job, as far as the drive says."""
    try:
        return claim.is_current
    except OSError:
        return True


class _Unfinished:
    """The names of the jobs of a phase that have not ended, without looking at all of them."""

    def __init__(self, queue: ClaimedQueue, names: dict[str, Job]) -> None:
        self.queue, self.names = queue, names

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.names and not self.queue.check_ended(name)
