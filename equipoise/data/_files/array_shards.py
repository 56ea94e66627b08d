"""Arrays of images in several .npz files, such as numbered shards, as one set; each file is loaded when it is read."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from equipoise.data._files.arrays import ArrayStorage, open_archive_of_arrays
from equipoise.data._files.listing import File
from equipoise.data._files.sources import LabelTable, Source
from equipoise.errors import DataError

MAX_SHARDS = 2
"""Number of .npz files whose arrays are kept in memory."""


@dataclass(frozen=True, slots=True)
class ShardStorage:
    """Rows of the arrays of several .npz files. The arrays of the last few files are in memory."""

    shards: Mapping[str, ArrayStorage]
    recent: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, path: str) -> BinaryIO:
        """Return a row as a .npy file. Raises DataError if the array is damaged."""
        name, _, rest = path.partition(".npz/")
        name += ".npz"
        with self.lock:
            if name not in self.recent:
                self.recent.append(name)
                if len(self.recent) > MAX_SHARDS:
                    self.shards[self.recent.pop(0)].loaded.clear()
            return self.shards[name].open(rest)


def open_shards_of_arrays(folder: Path, names: Sequence[str], key: str | None) -> Source | None:
    """Return the rows of the arrays of images in several .npz files; None if every file is one image."""
    files: list[File] = []
    shards: dict[str, ArrayStorage] = {}
    tables: list[LabelTable] = []
    for name in names:
        try:
            source = open_archive_of_arrays(folder / name, key)
        except DataError:
            if not shards:  # The decoder says what is wrong with files of one image each.
                return None
            raise
        if isinstance(source.storage, ArrayStorage):
            shards[name] = source.storage
        files += [file._replace(path=f"{name}/{file.path}") for file in source.files]
        for table in source.tables:
            columns = {
                column: {f"{name}/{path}": value for path, value in values.items()}
                for column, values in table.columns.items()
            }
            tables.append(replace(table, columns=columns))
    notes = (f"images: {len(names):,} files of arrays",)
    return replace(Source(folder, tuple(sorted(files)), ShardStorage(shards)), tables=tuple(tables), notes=notes)
