"""Names of the files of a folder, sorted in constant memory: chunks are sorted, written, and merged."""

import heapq
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from equipoise.core.files import JUNK_FILES, JUNK_FOLDERS, MAX_PREVIEWS, RUN_FILES, ending
from equipoise.data._images.formats import ENDINGS
from equipoise.data._shards.names import SHARD_ENDINGS

CHUNK = 200_000
"""Number of names that are sorted in memory."""
READ = 2**16


@dataclass(slots=True)
class SortedNames:
    """Names in order, of which at most CHUNK are in memory."""

    count: int = 0
    _names: list[bytes] = field(default_factory=list)
    _files: list[IO[bytes]] = field(default_factory=list)

    def add(self, name: bytes) -> None:
        """Add a name, which holds no zero byte."""
        self._names.append(name)
        self.count += 1
        if len(self._names) >= CHUNK:
            self._names.sort()
            file = TemporaryFile()  # noqa: SIM115 (closed by close)
            file.write(b"\0".join(self._names) + b"\0")
            self._files.append(file)
            self._names = []

    def merge(self) -> Iterator[bytes]:
        """Yield all names in order."""
        self._names.sort()
        yield from heapq.merge(self._names, *map(_read, self._files))

    def close(self) -> None:
        """Remove the temporary files."""
        for file in self._files:
            file.close()


def _read(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    rest = b""
    while part := file.read(READ):
        *names, rest = (rest + part).split(b"\0")
        yield from names


@dataclass(slots=True)
class FolderContent:
    """What a folder contains. `shards`: paths of shards. `images`: names of images. `folders`: path -> time in ns.

    `others`: extension -> number of other files.
    """

    images: SortedNames = field(default_factory=SortedNames)
    shards: list[str] = field(default_factory=list)
    folders: dict[str, int] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)

    @property
    def is_sharded(self) -> bool:
        """Whether the shards are the data, and images next to them, if any, previews."""
        return bool(self.shards) and self.images.count <= MAX_PREVIEWS


def scan_folder(root: Path) -> FolderContent:
    """List the files below a folder, except hidden ones, run folders, and what systems leave behind.

    Links are followed; each folder is visited once. Raises OSError for a folder that cannot be read.
    """
    result, pending, visited = FolderContent(), [""], set()
    while pending:
        path = pending.pop()
        folder = os.path.join(root, path)
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in visited or all(os.path.exists(f"{folder}/{name}") for name in RUN_FILES):
            continue
        visited.add((status.st_dev, status.st_ino))
        result.folders[path] = status.st_mtime_ns
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir():
                    pending += [] if name.lower() in JUNK_FOLDERS else [f"{path}{name}/"]
                elif name.lower() not in JUNK_FILES:
                    _add(result, f"{path}{name}")
    return result


def _add(content: FolderContent, path: str) -> None:
    suffix = ending(path)
    if suffix in ENDINGS:
        content.images.add(os.fsencode(path))
    elif suffix in SHARD_ENDINGS:
        content.shards.append(path)
    else:
        content.others[suffix or "without extension"] += 1
