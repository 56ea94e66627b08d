"""Executing calls: their exit codes, and what an interruption does to those that run."""

import dataclasses
import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from equipoise.errors import MemoryLimitError, RunError, SettingError
from equipoise.jobs.backend import (
    BLOCKED,
    DRIVE_FAILED,
    FAILED,
    INTERRUPTED,
    LOST,
    NO_MEMORY,
    NO_SPACE,
    BlockedError,
    Call,
    ClaimLostError,
    RunningCall,
    execute_call,
    execute_calls,
)
from equipoise.runs.folders import InterruptedWaitError


def caused_by(number: int) -> RunError:
    """Return an error that follows from one of the operating system."""
    error = RunError("cannot write")
    error.__cause__ = OSError(number, os.strerror(number))
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingError("a wrong value"), FAILED),
        (MemoryLimitError("needs 900 GiB"), NO_MEMORY),
        (BlockedError("needs the run a"), BLOCKED),
        (ClaimLostError("was taken over"), LOST),
        (InterruptedWaitError("is in use"), INTERRUPTED),
        (OSError(errno.ENOSPC, ""), NO_SPACE),
        (caused_by(errno.EDQUOT), NO_SPACE),
        (OSError(errno.ESTALE, ""), DRIVE_FAILED),
        (caused_by(errno.EIO), DRIVE_FAILED),
        (caused_by(errno.EACCES), FAILED),
    ],
)
def test_exit_code_of_an_error(tmp_path: Path, error: Exception, code: int) -> None:
    def fail(interrupted: Callable[[], bool]) -> bool:
        raise error

    assert execute_call(Call("job", fail, (), tmp_path / "log"), lambda: False) == code


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "no permission"), ValueError("a defect")])
def test_other_errors_are_raised(tmp_path: Path, error: Exception) -> None:
    def fail(interrupted: Callable[[], bool]) -> bool:
        raise error

    with pytest.raises(type(error)):
        execute_call(Call("job", fail, (), tmp_path / "log"), lambda: False)


@dataclasses.dataclass(eq=False)
class StubbornCall:
    """A call that ends only if it is killed."""

    requests: list[str] = dataclasses.field(default_factory=list)

    @property
    def exit_code(self) -> int | None:
        return -9 if "kill" in self.requests else None

    def terminate(self) -> None:
        self.requests.append("terminate")

    def kill(self) -> None:
        self.requests.append("kill")

    def join(self) -> float:
        if self.exit_code is None:
            raise KeyboardInterrupt
        return 0.0


@dataclasses.dataclass
class InterruptedBackend:
    """Calls during which Ctrl-C is pressed."""

    call: StubbornCall
    slots: int = 1
    is_remote: bool = False

    def start(self, call: Call) -> StubbornCall:
        return self.call

    def wait(self, running: Iterable[RunningCall]) -> None:
        if list(running):
            raise KeyboardInterrupt


@dataclasses.dataclass
class OneCall:
    is_empty: bool = False

    def take(self) -> Call | None:
        self.is_empty, is_left = True, not self.is_empty
        return Call("job", print, (), Path("log")) if is_left else None


def test_a_keyboard_interrupt_kills_what_runs() -> None:
    call = StubbornCall()
    with pytest.raises(KeyboardInterrupt):
        list(execute_calls(InterruptedBackend(call), OneCall()))
    assert call.requests == ["kill"]


def test_a_keyboard_interrupt_while_calls_save_kills_them(monkeypatch: pytest.MonkeyPatch) -> None:
    call = StubbornCall()
    monkeypatch.setattr(InterruptedBackend, "wait", lambda backend, running: 1 / 0)
    with pytest.raises(KeyboardInterrupt):
        list(execute_calls(InterruptedBackend(call), OneCall()))
    assert call.requests == ["terminate", "kill"]
