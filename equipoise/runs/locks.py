"""Locks that give one process exclusive use of a file. The operating system releases them when the process ends."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from equipoise.errors import RunError, unwritable

BUSY = "wait until it has finished, or stop it"
"""Remedy for a file that another process uses."""
SUFFIX = ".lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of a file system without locks, such as some network drives: other processes are not excluded there."""


def lock_of(path: Path) -> Path:
    """Return the lock file of a file: hidden, next to it, and left in place after use."""
    return path.with_name(f".{path.name}{SUFFIX}")


def is_lock(path: Path) -> bool:
    """Return whether a path is a lock file."""
    return path.name.startswith(".") and path.name.endswith(SUFFIX)


@contextmanager
def hold(path: Path, remedy: str, *, owner: Path | None = None, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a file for this process; creates the folder around it if necessary.

    `wait`: wait for another process instead of raising. Raises RunError, naming `owner` (default: `path`)
    and `remedy`, if another process holds the lock, or if the lock file cannot be created.
    """
    lock = FileLock(lock_of(path), timeout=-1 if wait else 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise RunError(f"{owner or path} is in use by another process; {remedy}") from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise RunError(unwritable(path.parent, error)) from error
    try:
        yield
    finally:
        lock.release()
