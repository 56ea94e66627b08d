"""Sources: where the items of a data set are read from, such as a folder or an archive.

Everything that decodes items sees a :class:`Source` only, so that one cache, one index of digests and one decoder serve
all kinds of files.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from equipoise.data._files.listing import File, list_files

PARQUET_COLUMNS = "the Parquet file"
"""Name of the table of the columns of Parquet files."""


class Storage(Protocol):
    """Access to the bytes of items, by path; used by several threads."""

    def open(self, path: str) -> BinaryIO:
        """Open an item at its first byte. Raises OSError, or DataError with a short reason."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelTable:
    """Values for items that may be labels. `name`: of the file or array. `columns`: name of a column -> path -> value.

    `problems`: why values were not read, for the user. `images`: paths of the images that a file names.
    """

    name: str
    columns: Mapping[str, Mapping[str, str]]
    problems: tuple[str, ...] = ()
    images: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Source:
    """Items of a folder, an archive, an array or a table.

    `location`: the folder or file; an absolute path. `files`: the items, sorted by path. `storage`: reads them.
    `left_out`: path -> reason of files that are no items; those in a folder or an archive can be read too. `tables`:
    labels that the file holds next to its items. `notes`: information for the user.
    """

    location: Path
    files: tuple[File, ...]
    storage: Storage
    left_out: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[LabelTable, ...] = ()
    notes: tuple[str, ...] = ()

    def open(self, path: str) -> BinaryIO:
        """Open an item at its first byte. Raises OSError, or DataError with a short reason."""
        return self.storage.open(path)

    def read(self, path: str) -> bytes:
        """Return the bytes of an item: those of an image, audio or text file, or of a .npy file with one array.

        Raises OSError, or DataError with a short reason.
        """
        with self.storage.open(path) as file:
            return file.read()

    def select(self, files: Sequence[File]) -> Self:
        """Return the source with these of its items only."""
        return replace(self, files=tuple(files))


@dataclass(frozen=True, slots=True)
class FolderStorage:
    """Files below a folder."""

    folder: Path

    def open(self, path: str) -> BinaryIO:
        """Open a file, given by its path relative to the folder. Raises OSError."""
        return (self.folder / path).open("rb")


def open_file(path: Path) -> Source:
    """Return one file as the only item."""
    status = path.stat()
    return Source(path.parent, (File(path.name, status.st_size, status.st_mtime_ns),), FolderStorage(path.parent))


def open_folder(folder: Path, endings: Collection[str], *, junk: bool = False) -> Source:
    """Return the files below a folder with one of these extensions; see `list_files`."""
    return Source(folder, list_files(folder, endings, junk=junk), FolderStorage(folder))
