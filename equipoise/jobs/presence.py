"""Which processes work on a folder: either one alone, or any number that share its jobs by claims.

FOLDER/TOKEN.json       a process, touched every half minute while it works; deleted when it has ended
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Literal

from equipoise.errors import RunError, unwritable
from equipoise.jobs.claims import LEASE_SECONDS, TOUCH_SECONDS, clock_with_sleep
from equipoise.jobs.identity import ProcessIdentity, identity_from_json
from equipoise.runs.artifacts import write_text
from equipoise.runs.folders import BUSY

PresenceMode = Literal["alone", "joined"]


@dataclass(frozen=True, slots=True)
class ProcessPresence:
    """A process that works on a folder."""

    process: ProcessIdentity
    mode: PresenceMode


@contextmanager
def present(folder: Path, process: ProcessIdentity, mode: PresenceMode, owner: Path) -> Iterator[Callable[[], None]]:
    """Context manager that registers this process in a folder while it works there.

    Raises RunError, naming `owner`, if this process or another one must work on it alone, and there are others. Yields
    a function that checks this again, at most every TOUCH_SECONDS: if this computer has slept for longer than
    LEASE_SECONDS, others may have begun.
    """
    path = folder / f"{process.token}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"mode": mode, **process.to_json()}) + "\n")
    except OSError as error:
        raise RunError(unwritable(owner, error, has_out=True)) from error
    stop, checked = Event(), clock_with_sleep()

    def check() -> None:
        nonlocal checked
        if clock_with_sleep() - checked >= TOUCH_SECONDS:
            checked = clock_with_sleep()
            with contextlib.suppress(OSError):  # the drive is not reachable
                _check_others(folder, path, mode, owner)

    thread = Thread(target=_touch_until, args=(path, stop), daemon=True)
    try:
        _check_others(folder, path, mode, owner)
        thread.start()
        yield check
    finally:
        stop.set()
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def read_presences(folder: Path, path: Path) -> list[ProcessPresence]:
    """Return the other processes of a folder that still run. `path`: own file; its time is that of the file server.

    A process counts as running for LEASE_SECONDS after it has touched its file, unless its state is known for certain.
    """
    now, result = path.stat().st_mtime, []
    for file in sorted(folder.glob("*.json")):
        try:
            values = json.loads(file.read_text())
            touched, process, mode = file.stat().st_mtime, identity_from_json(values), values["mode"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # it has ended in the meantime
        is_running = not process.has_ended and (process.is_certain or now - touched < LEASE_SECONDS)
        if file != path and is_running:
            result.append(ProcessPresence(process, mode))
    return result


def _check_others(folder: Path, path: Path, mode: PresenceMode, owner: Path) -> None:
    others = read_presences(folder, path)
    alone = next((one for one in others if one.mode == "alone"), None)
    if alone is not None:
        raise RunError(f"{owner} is in use by another process on {alone.process}, without --join; {BUSY}")
    if others and mode == "alone":
        count = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise RunError(
            f"{owner} is in use by another process with --join on {others[0].process}{count}; add --join, or {BUSY}"
        )


def _touch_until(path: Path, stop: Event) -> None:
    while not stop.wait(TOUCH_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)
