"""Where calls are executed: a small protocol that processes of this machine and a Ray cluster fulfil.

A call is a function of a module and its arguments. Its result is what it writes to files: nothing is returned, so that
a call that was killed at any time can be repeated.
"""

import contextlib
import errno
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from equipoise.errors import EquipoiseError, MemoryLimitError, RunError
from equipoise.runs.folders import InterruptedWaitError

FAILED, BLOCKED, NO_MEMORY, DRIVE_FAILED, NO_SPACE, LOST, INTERRUPTED = 2, 69, 70, 71, 74, 75, 130
"""Exit codes of a call that reported an error, needs another that has failed, needs more memory than this machine has,
could not reach its drive, had no space to write, lost its claim, or was interrupted and saved."""
DRIVE_ERRORS = tuple(
    getattr(errno, name)
    for name in (
        "EIO",
        "ESTALE",
        "ETIMEDOUT",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETUNREACH",
        "ENOTCONN",
        "EREMOTEIO",
    )
    if hasattr(errno, name)
)
"""Errors of a drive, often of its network, that say nothing about a call."""
POLL_SECONDS = 0.1
"""Maximum time in seconds until an interruption is noticed."""


class ClaimLostError(RunError):
    """Another process has taken over the job of this one, which must not write any more."""


class BlockedError(RunError):
    """A call needs the result of another one that has failed, or that has not ended."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call `function(*arguments, interrupted)`, which returns whether it is complete, False if interrupted.

    `function`: of a module, since it is pickled by its name. `output`: file for everything that it prints.
    """

    name: str
    function: Callable[..., bool]
    arguments: tuple[object, ...]
    output: Path


class RunningCall(Protocol):
    """A call that was started."""

    @property
    def exit_code(self) -> int | None:
        """Exit code; None while it runs, negative if a signal killed its process."""

    def terminate(self) -> None:
        """Ask the call to save and end."""

    def kill(self) -> None:
        """End the call without saving."""

    def join(self) -> float:
        """Wait until it has ended; return its CPU seconds, 0 if they are unknown."""


class Backend(Protocol):
    """Where calls are executed."""

    @property
    def slots(self) -> int:
        """Number of calls that run at once."""

    @property
    def is_remote(self) -> bool:
        """Whether a call that seems dead may still run on another machine, and be repeated at the same time."""

    def start(self, call: Call) -> RunningCall:
        """Start a call; its output replaces the file of an earlier one."""

    def wait(self, running: Iterable[RunningCall]) -> None:
        """Wait until one of the calls has ended, at most POLL_SECONDS; sleep if there are none."""


@dataclass(slots=True)
class AnnouncedBackend:
    """A backend that announces the name of each call that it starts, and None when it begins to wait for others."""

    backend: Backend
    announce: Callable[[str | None], None]
    _is_waiting_announced: bool = False

    @property
    def slots(self) -> int:
        """Number of calls that run at once."""
        return self.backend.slots

    @property
    def is_remote(self) -> bool:
        """Whether a call that seems dead may still run on another machine."""
        return self.backend.is_remote

    def start(self, call: Call) -> RunningCall:
        """Start a call, after saying so."""
        self.announce(call.name)
        self._is_waiting_announced = False
        return self.backend.start(call)

    def wait(self, running: Iterable[RunningCall]) -> None:
        """Wait until one of the calls has ended; if there are none, another process works on all that are left."""
        running = list(running)
        if not running and not self._is_waiting_announced:
            self.announce(None)
            self._is_waiting_announced = True
        self.backend.wait(running)


class CallSource(Protocol):
    """Calls that wait for a free slot."""

    def take(self) -> Call | None:
        """Return a call to start now, and remove it; None if none is ready."""

    @property
    def is_empty(self) -> bool:
        """Whether no further call will become ready, even after the running ones have ended."""


@dataclass(frozen=True, slots=True)
class EndedCall:
    """A call that has ended. `code`: exit code; see RunningCall. `cpu`: CPU seconds."""

    call: Call
    code: int
    cpu: float


def execute_calls(
    backend: Backend, source: CallSource, interrupted: Callable[[], bool] = lambda: False
) -> Iterator[EndedCall]:
    """Execute calls until the source is empty; yield each one that has ended. Closing the iterator stops the others.

    After an interruption no call is started, and those that run get one request to save and end. KeyboardInterrupt
    kills them.
    """
    running: dict[RunningCall, Call] = {}
    is_stopping = False
    try:
        while True:
            while len(running) < backend.slots and not interrupted() and (call := source.take()) is not None:
                running[backend.start(call)] = call
            if not running and (interrupted() or source.is_empty):
                return
            backend.wait(running)
            for process in list(running):
                if (code := process.exit_code) is not None:
                    yield EndedCall(running.pop(process), code, process.join())
            if interrupted() and not is_stopping:
                is_stopping = True
                _terminate(running)
    except KeyboardInterrupt:
        _kill(running)
        raise
    finally:
        _terminate(running)
        try:
            for process in running:
                process.join()
        except KeyboardInterrupt:
            _kill(running)
            raise


def _kill(processes: Iterable[RunningCall]) -> None:
    for process in processes:
        process.kill()


def _terminate(processes: Iterable[RunningCall]) -> None:
    for process in processes:
        if process.exit_code is None:
            process.terminate()


def execute_call(call: Call, interrupted: Callable[[], bool]) -> int:
    """Execute a call in this process; return its exit code, after printing an expected error in one line.

    Any other exception is raised.
    """
    try:
        return 0 if call.function(*call.arguments, interrupted) else INTERRUPTED
    except InterruptedWaitError:
        return INTERRUPTED
    except (EquipoiseError, OSError) as error:
        code = _exit_code(error)
        if code is None:
            raise
        with contextlib.suppress(OSError):
            print(error, file=sys.stderr)
        return code


def _exit_code(error: EquipoiseError | OSError) -> int | None:
    """Return the exit code of a call that raised an error; None for a defect."""
    for kind, code in ((ClaimLostError, LOST), (BlockedError, BLOCKED), (MemoryLimitError, NO_MEMORY)):
        if isinstance(error, kind):
            return code
    if is_out_of_space(error):
        return NO_SPACE
    if follows_from(error, DRIVE_ERRORS):
        return DRIVE_FAILED
    return None if isinstance(error, OSError) else FAILED


def is_out_of_space(error: BaseException | None) -> bool:
    """Whether an error, or one that it follows from, says that a disk or a quota is full."""
    return follows_from(error, (errno.ENOSPC, errno.EDQUOT))


def follows_from(error: BaseException | None, numbers: Collection[int]) -> bool:
    """Whether an error is, or follows from, an OSError with one of these numbers."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in numbers:
            return True
        error = error.__cause__
    return False
