"""The files of a folder: which there are, what they hold, and what changed since."""

import errno
import hashlib
import json
import os
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from equipoise.core.data import Preparation
from equipoise.core.files import find_files
from equipoise.errors import DataError

T = TypeVar("T")

MAX_LISTED = 3
"""Files that a message names before it only counts."""


class File(NamedTuple):
    """`path`: below the folder, with slashes. `size`: bytes. `modified`: nanoseconds since 1970."""

    path: str
    size: int
    modified: int


def list_files(folder: Path, endings: Collection[str]) -> tuple[File, ...]:
    """All files below a folder with one of these endings (".png", in any case), sorted by path.

    Hidden files and folders are left out, and run folders; links are followed, each folder is entered once. Raises
    DataError if there is no such folder, if it is a file or may not be looked at, or if no such file is in it.
    """
    if not folder.exists():
        raise DataError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; give the folder that it lies in")
    wanted = tuple(ending.lower() for ending in endings)
    try:
        result = [
            File(path, status.st_size, status.st_mtime_ns)
            for path, entry in find_files(str(folder))
            if path.lower().endswith(wanted)
            for status in (entry.stat(),)
        ]
    except OSError as error:
        raise DataError(f"cannot look into {error.filename or folder}: {error.strerror or error}") from error
    if not result:
        raise DataError(f"there is no file ending in {', '.join(endings)} in {folder}")
    return tuple(sorted(result))


def content_digest(content: bytes) -> str:
    """128 bits of BLAKE2b, as 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def combined_digest(contents: Mapping[str, str]) -> str:
    """One digest of all files: of their paths and their content digests, in the order of paths."""
    lines = (f"{contents[path]} {path}\n" for path in sorted(contents))
    return content_digest("".join(lines).encode("utf-8", "surrogateescape"))


def describe_difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """From one table of path -> digest to another: "2 files were added (b.png, …), 1 file was altered (a.png)"."""
    parts = {
        "added": sorted(now.keys() - before.keys()),
        "removed": sorted(before.keys() - now.keys()),
        "altered": sorted(path for path in before.keys() & now.keys() if before[path] != now[path]),
    }
    return ", ".join(
        f"{format_count(len(paths))} {'was' if len(paths) == 1 else 'were'} {verb} "
        f"({printable(paths[0])}{', …' * (len(paths) > 1)})"
        for verb, paths in parts.items()
        if paths
    )


def format_count(number: int, noun: str = "file") -> str:
    """A number and its noun: 1 file, 12,000 files."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def printable(path: str) -> str:
    """A path that can be printed, whatever bytes its name is made of."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def top_folder(path: str) -> str:
    """The immediate subfolder that a file lies in, however deep; "" for a file beside the subfolders."""
    return path.partition("/")[0] if "/" in path else ""


def format_reasons(reasons: Mapping[str, str]) -> str:
    """The first few files with what is wrong with them, and how many more there are."""
    first = [f"{printable(path)} ({reason})" for path, reason in list(reasons.items())[:MAX_LISTED]]
    more = len(reasons) - len(first)
    return ", ".join(first) + f" and {more:,} more" * (more > 0)


def load_index(cache: Path, folder: Path, files: Sequence[File]) -> dict[str, str]:
    """Path -> content digest, of those of `files` that have the size and the modification time of when they were read.

    The digest is "" for a file that could not be read then. A table that is not there, or damaged, knows nothing: every
    file is read again, which does no harm.
    """
    try:
        lines: dict[str, list[object]] = json.loads(_index(cache, folder).read_text())
        same = (file.path for file in files if lines.get(file.path, [])[:2] == [file.size, file.modified])
        return {path: str(lines[path][2]) for path in same}
    except (OSError, ValueError, AttributeError, IndexError, TypeError):
        return {}


def save_index(cache: Path, folder: Path, files: Sequence[File], contents: Mapping[str, str]) -> None:
    """Keep what `files` hold, in place of what was known of the folder. Raises DataError if it cannot be written."""
    lines = {file.path: (file.size, file.modified, contents[file.path]) for file in files if file.path in contents}
    path = _index(cache, folder)
    with report_write_errors(cache):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        partial.write_text(json.dumps(lines))
        partial.replace(path)


def _index(cache: Path, folder: Path) -> Path:
    return cache / "index" / f"{content_digest(os.fsencode(folder.resolve()))}.json"


@contextmanager
def report_write_errors(cache: Path) -> Iterator[None]:
    """What the disk refuses a cache is told in one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f"the disk that holds the cache {cache} is full; make room there") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise DataError(f"no permission to write to the cache {cache}; name another folder by cache") from error
        raise DataError(f"cannot write to the cache {cache}: {error.strerror or error}") from error


def exhaust(making: Generator[Preparation, None, T]) -> T:
    """What a making comes to in the end, its telling passed over."""
    while True:
        try:
            next(making)
        except StopIteration as end:
            result: T = end.value
            return result
