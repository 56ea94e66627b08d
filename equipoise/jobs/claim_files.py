"""The files of claims in a folder of a drive, which may be a network drive."""

import errno
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from equipoise.runs.artifacts import PARTIAL, write_bytes

NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EINVAL, errno.EACCES)
"""Errors of os.link on drives without links (link(2)); Windows reports an invalid function as EINVAL."""


@dataclass(frozen=True, slots=True)
class DriveFiles:
    """Files in a folder. Links and exclusive creation are atomic on local drives and on NFS from version 3 on."""

    folder: Path

    def create(self, name: str, content: bytes) -> bool:
        """Create a file that does not exist; return whether this process created it.

        The file is complete at once, also if this process is killed: it is written under another name, and linked. On
        drives without links, a process that is killed leaves an empty claim, which is lost after LEASE_SECONDS.
        """
        path = self.folder / name
        partial = path.with_name(f".{name}.{uuid.uuid4().hex}{PARTIAL}")
        try:
            partial.write_bytes(content)
            os.link(partial, path)
        except FileExistsError:  # or NFS has repeated a request that had succeeded; then the file has both names
            return partial.stat().st_nlink == 2
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            return _create_in_place(path, content)
        finally:
            partial.unlink(missing_ok=True)
        return True

    def read(self, name: str) -> tuple[bytes, int] | None:
        """Return the content of a file and the time of its last change; None if it does not exist."""
        try:
            with (self.folder / name).open("rb") as file:
                return file.read(), os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return None

    def replace(self, name: str, content: bytes) -> None:
        """Replace the content of a file, atomically."""
        write_bytes(self.folder / name, content)

    def touch(self, name: str) -> None:
        """Set the time of the last change to now."""
        os.utime(self.folder / name)


def _create_in_place(path: Path, content: bytes) -> bool:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError:  # the disk is full: nobody shall wait for a claim that nobody holds
        path.unlink(missing_ok=True)
        raise
    return True
