"""Signals that stop a command: Ctrl-C, SIGTERM and SIGHUP.

In general they end a command at once, as Ctrl-C does in Python, so that temporary files are removed. Inside
:func:`interruptible` the first one requests a stop: a training run saves its progress first. Ctrl-C then ends it at
once, but a repetition of SIGTERM or SIGHUP does not: a program that stops a whole group of processes sends SIGTERM to
each process of a run, and torchrun, which gets it too, sends it to them again.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from equipoise.cli.output import INTERRUPTED

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SignalAction = Callable[[int, FrameType | None], object] | int | None
GRACE_SECONDS = 0.8
"""Seconds after SIGTERM or SIGHUP until the process ends in any case, if a long computation keeps Python waiting."""
REPEAT_SECONDS = 10.0
"""Seconds after a request to stop in which SIGTERM and SIGHUP repeat it; later ones end the command at once."""


class StopRequest:
    """Whether the user requested a stop. `is_immediate`: whether a signal ends the command at once.

    `requested_at`: time.monotonic() of the request, or None. `is_program`: whether this process is the program, whose
    signals :func:`install` may handle, and has not yet.
    """

    def __init__(self) -> None:
        self.is_requested = False
        self.requested_at: float | None = None
        self.is_immediate = True
        self.is_program = False
        self.is_raising = False

    def __call__(self) -> bool:
        """Return whether a stop was requested."""
        return self.is_requested

    def is_repeated_by(self, number: int) -> bool:
        """Return whether a signal only repeats the request: SIGTERM or SIGHUP soon after it."""
        if number == signal.SIGINT or self.requested_at is None:
            return False
        return time.monotonic() - self.requested_at < REPEAT_SECONDS

    def defer(self) -> None:
        """From now on, let a signal only request a stop."""
        self.is_immediate = False

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Let a signal in the context raise KeyboardInterrupt after it requested a stop, to abort an evaluation."""
        self.is_raising = True
        try:
            yield
        finally:
            self.is_raising = False


_request = StopRequest()


def prepare() -> None:
    """Declare that this process is the program, so that `install` has an effect."""
    _request.is_program = True


def install() -> None:
    """Let SIGTERM and SIGHUP end the process as Ctrl-C does, and within a second in any case; to be called once.

    Until then they end it at once, without removing temporary files: it is called after the slow imports, during which
    Python cannot react. Signals that the parent process ignores, as `nohup` does with SIGHUP, remain ignored.
    """
    if not _request.is_program:
        return
    _request.is_program = False
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_end_after_grace, args=(reading,), daemon=True).start()
    _set_actions(_raise_interrupt)


@contextmanager
def interruptible(*, is_quiet: bool = False) -> Iterator[StopRequest]:
    """Catch Ctrl-C, SIGTERM and SIGHUP: after `defer` the first requests a stop.

    After it Ctrl-C ends the command, and so do SIGTERM and SIGHUP unless they repeat the request.
    `is_quiet`: without a message, in a process of a run that another one leads.
    """
    request = _request
    request.is_requested, request.requested_at, request.is_immediate = False, None, True

    def on_signal(number: int, frame: object) -> None:
        if request.is_repeated_by(number):
            return
        if request.is_immediate or request.is_requested:
            raise KeyboardInterrupt
        request.is_requested, request.requested_at = True, time.monotonic()
        if not is_quiet:
            print("\nsaving after this step; press Ctrl-C again to stop immediately", file=sys.stderr)
        if request.is_raising:
            raise KeyboardInterrupt

    install()
    previous = _set_actions(on_signal)
    try:
        yield request
    finally:
        request.is_immediate = True
        for number, action in previous.items():
            signal.signal(number, action)


def _set_actions(action: SignalAction) -> dict[int, SignalAction]:
    """Set the action of every stop signal that is not ignored; return the previous actions."""
    previous = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    active: dict[int, SignalAction] = {}
    for number, before in previous.items():
        if before not in (signal.SIG_IGN, None):
            active[number] = before
    for number in active:
        signal.signal(number, action)
    return active


def _raise_interrupt(number: int, frame: object) -> None:
    if not _request.is_repeated_by(number):
        raise KeyboardInterrupt


def _end_after_grace(reading: int) -> None:
    """End the process some time after SIGTERM or SIGHUP, unless a stop was only requested."""
    with contextlib.suppress(OSError):
        while content := os.read(reading, 1):
            if content[0] != signal.SIGINT and _request.is_immediate and not _request.is_repeated_by(content[0]):
                time.sleep(GRACE_SECONDS)
                print("equipoise: stopped", file=sys.stderr)
                os._exit(INTERRUPTED)
