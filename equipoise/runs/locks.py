"""Files that one process holds at a time. The system lets go of them when the process ends, however it does."""

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from equipoise.errors import RunError, unwritable

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What a file system says that knows no locks, as some do over a network: there, nobody is kept out."""


def hold(file: IO[Any], owner: Path, way_out: str, wait: bool = False) -> None:
    """Hold an open file for this process alone until it is closed.

    Raises RunError, naming `owner`, the file or the folder around it, and the way out, if another one holds it, unless
    it is to be waited for.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        raise RunError(f"{owner} is in use by another process; {way_out}") from error
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise


@contextmanager
def held(path: Path, way_out: str, wait: bool = False) -> Iterator[None]:
    """The same for a file that is made, with the folder around it, if it is not there. Raises RunError if it cannot."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise RunError(unwritable(path.parent, error)) from error
    with file:
        hold(file, path, way_out, wait)
        yield
