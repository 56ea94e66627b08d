"""Creating run folders, choosing their names and locking them; safe if several processes do so at once."""

import contextlib
import errno
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from equipoise.errors import RunError, resume_command, unwritable
from equipoise.runs.artifacts import PARTIAL, encode_json, write_text
from equipoise.runs.run import EVENTS_FILE, EXPERIMENT_FILE, OUTPUT_FILE, START_FILE

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def create_run(folder: Path, experiment: Mapping[str, object]) -> None:
    """Create a run folder with its experiment.json and an empty log.

    Raises RunError if the folder exists and is not empty, or cannot be written.
    """
    require_free(folder)
    text = encode_json(experiment, EXPERIMENT_FILE)
    log = folder / EVENTS_FILE
    try:
        with hold(log, BUSY, owner=folder, has_out=True):
            if (folder / EXPERIMENT_FILE).exists():  # created by another process in the meantime
                require_free(folder)
            log.touch()
            write_text(folder / EXPERIMENT_FILE, text)
    except OSError as error:
        with contextlib.suppress(OSError):
            log.unlink(missing_ok=True)
            lock_of(log).unlink(missing_ok=True)
            folder.rmdir()
        raise RunError(unwritable(folder, error, has_out=True)) from error


def require_free(folder: Path) -> None:
    """Raise RunError if a folder exists and is not empty, or cannot be read.

    Partial files and lock files of a killed process, and what the studio writes before a run, do not count.
    """
    try:
        if not folder.exists() or (folder.is_dir() and all(map(_is_leftover, folder.iterdir()))):
            return
        is_run, is_folder = (folder / EXPERIMENT_FILE).exists(), folder.is_dir()
    except OSError as error:
        raise RunError(unwritable(folder, error, has_out=True)) from error
    problem = "it is not empty;" if is_folder else "it is a file;"
    hint = f"resume it with: {resume_command(folder)}; or" if is_run else problem
    raise RunError(f"{folder} exists already; {hint} choose another folder with --out")


def _is_leftover(path: Path) -> bool:
    if path.name in (START_FILE, OUTPUT_FILE):  # written by the studio before the run starts
        return True
    return (path.name.startswith(".") and path.name.endswith(PARTIAL)) or is_lock(path)


def next_free_folder(folder: Path, stem: str) -> Path:
    """Return `folder`/`stem`-N for the lowest N from 1 that does not exist."""
    existing = {path.name for path in folder.glob(f"{stem}-*")} if folder.exists() else set()
    return folder / next(f"{stem}-{number}" for number in itertools.count(1) if f"{stem}-{number}" not in existing)


@contextlib.contextmanager
def claim_folder(folder: Path, stem: str) -> Iterator[Path]:
    """Create an empty folder `folder`/`stem`-N that no other process uses; remove it at the end if it is still empty.

    Raises RunError if it cannot be created.
    """
    is_new = not folder.exists()
    for number in itertools.count(1):
        path = folder / f"{stem}-{number}"
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError:
            continue
        except OSError as error:
            raise RunError(unwritable(path, error, has_out=True)) from error
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.rmdir()
            if is_new:
                folder.rmdir()


BUSY = "wait until it has finished, or stop it"
"""Remedy for a file that another process uses."""
SUFFIX = ".lock"
TIMEOUT = 0.2
"""Seconds for which a lock is tried, because :func:`is_held` holds it for an instant."""
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of a file system without locks, such as some network drives: other processes are not excluded there."""


def lock_of(path: Path) -> Path:
    """Return the lock file of a file: hidden, next to it, and left in place after use."""
    return path.with_name(f".{path.name}{SUFFIX}")


def is_lock(path: Path) -> bool:
    """Return whether a path is a lock file."""
    return path.name.startswith(".") and path.name.endswith(SUFFIX)


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock of a file. Numbers of processes in files would not tell: they are reused.

    False where the file system has no locks, and if the lock file cannot be opened.
    """
    lock = lock_of(path)
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:
        return False
    try:
        if fcntl is None:
            return _is_held_elsewhere(lock)
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)  # releases the lock, too


def _is_held_elsewhere(lock: Path) -> bool:
    """The same for systems without flock."""
    probe = FileLock(lock, timeout=0, fallback_to_soft=False)
    try:
        probe.acquire()
    except (Timeout, OSError):
        return True
    probe.release()
    return False


class InterruptedWaitError(RunError):
    """A wait for the lock of another process was interrupted."""


@contextmanager
def hold(
    path: Path,
    remedy: str,
    *,
    owner: Path | None = None,
    wait_until: Callable[[], bool] | None = None,
    has_out: bool = False,
) -> Iterator[None]:
    """Hold the lock of a file for this process; creates the folder around it if necessary.

    `wait_until`: wait for another process, instead of raising, until this returns True, which raises
    InterruptedWaitError. Raises RunError, naming `owner` (default: `path`) and `remedy`, if another process holds the
    lock, or if the lock file cannot be created. `has_out`: whether the command can write to another folder.
    """
    # Without `fallback_to_soft`: a file in place of a lock would outlast a process that was killed on another machine.
    lock = FileLock(lock_of(path), timeout=TIMEOUT, fallback_to_soft=False)
    problem = f"{owner or path} is in use by another process; {remedy}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while not _acquire(lock):
            if wait_until is None:
                raise RunError(problem)
            if wait_until():
                raise InterruptedWaitError(problem)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise RunError(unwritable(path.parent, error, has_out=has_out)) from error
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock) -> bool:
    """Try to acquire a lock for its timeout; return whether it was free."""
    try:
        lock.acquire()
    except Timeout:
        return False
    return True
