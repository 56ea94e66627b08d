"""Jobs of a comparison as calls of a backend, and what is recorded when they have ended."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from equipoise.comparison.execution import Job, execute_job
from equipoise.comparison.folder import ComparisonFolder
from equipoise.jobs.backend import BLOCKED, POLL_SECONDS, Call
from equipoise.jobs.claim_files import DriveFiles
from equipoise.jobs.claims import ClaimFolder, JobClaim
from equipoise.jobs.identity import this_process

PRELOADED_MODULES = (execute_job.__module__, "torch._dynamo")
"""Modules that the server of processes imports. The first takes 2.4 s of CPU time; the second, which the first
optimizer step imports, 1.5 s."""


def call_job(folder: ComparisonFolder, job: Job, *, is_remote: bool = False) -> Call:
    """Return the call that executes a job, after removing what an earlier failure has recorded.

    `is_remote`: whether an earlier call of the same job may still run on another machine.
    """
    folder.failed(job.name).unlink(missing_ok=True)
    if not is_remote:
        return Call(job.name, execute_job, (folder, job), folder.output(job.name))
    absolute = ComparisonFolder(folder.path.resolve())
    return Call(job.name, execute_when_free, (absolute, job), absolute.output(job.name))


def execute_claimed(folder: ComparisonFolder, job: Job, claim: JobClaim, interrupted: Callable[[], bool]) -> bool:
    """Execute a job in this process while touching its claim; return True if it is complete, False if interrupted."""
    with claim.alive(interrupted) as check:
        return execute_job(folder, job, check)


def execute_when_free(folder: ComparisonFolder, job: Job, interrupted: Callable[[], bool]) -> bool:
    """Execute a job as execute_claimed does, after claiming it: as soon as no other process works on it."""
    claims = ClaimFolder(DriveFiles(folder.path / "locks"), this_process())
    while (claim := claims.take(job.name)) is None:
        if interrupted():
            return False
        time.sleep(POLL_SECONDS)
    is_complete = False
    try:
        is_complete = execute_claimed(folder, job, claim, interrupted)
    finally:
        with contextlib.suppress(OSError):
            claim.end("done" if is_complete else "free")
    return is_complete


def record_end(folder: ComparisonFolder, name: str, code: int) -> str | None:
    """Remove the output of a job that succeeded and return None; move that of a failed one to failed/.

    Returns the last line of the output of a failed job. One that needs another job, which failed, has not failed
    itself.
    """
    output, failed = folder.output(name), folder.failed(name)
    if code == 0:
        output.unlink(missing_ok=True)
        failed.unlink(missing_ok=True)  # of a process that had lost the job
        return None
    if code == BLOCKED:
        return discard_output(folder, name)
    if not output.exists() or not output.read_bytes().strip():
        output.write_text(f"the process ended with exit code {code} and without output\n")
    failed.parent.mkdir(exist_ok=True)
    output.replace(failed)
    return last_line(folder, name)


def discard_output(folder: ComparisonFolder, name: str) -> str:
    """Remove the output of a job that could not be executed, and has not failed; return its last line."""
    line = _last_line(folder.output(name))
    folder.output(name).unlink(missing_ok=True)
    return line


def describe_full_disk(folder: ComparisonFolder, host: str, name: str) -> str:
    """Describe that a job had no space to write."""
    return (
        f"there is no space left on {host} or in {folder.path}; {name} was given back; free some space, then run the "
        "command again"
    )


def last_line(folder: ComparisonFolder, name: str) -> str:
    """Return the last line of the output of a failed job."""
    return _last_line(folder.failed(name))


def _last_line(output: Path) -> str:
    lines = output.read_text(errors="replace").splitlines() if output.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output was written")
