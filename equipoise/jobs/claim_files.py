"""The files of claims in a folder of a drive, which may be a network drive."""

import os
from dataclasses import dataclass
from pathlib import Path

from equipoise.runs.artifacts import write_bytes


@dataclass(frozen=True, slots=True)
class DriveFiles:
    """Files in a folder. Exclusive creation (O_EXCL) is atomic on local drives and on NFS from version 3 on."""

    folder: Path

    def create(self, name: str, content: bytes) -> bool:
        """Create a file that does not exist; return whether this process created it."""
        path = self.folder / name
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
