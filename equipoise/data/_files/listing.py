"""Files of a folder: listing, content digests, the index of digests, and changes."""

import errno
import hashlib
import json
import os
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from equipoise.core.files import find_files
from equipoise.core.printing import MAX_LISTED, format_count, format_more, format_names, printable
from equipoise.errors import DataError


class File(NamedTuple):
    """A file. `path`: relative to the folder, with slashes. `size`: in bytes. `modified`: in nanoseconds since 1970."""

    path: str
    size: int
    modified: int


def list_files(folder: Path, endings: Collection[str], *, junk: bool = False) -> tuple[File, ...]:
    """Return all files below a folder with one of these extensions (".png", any case), sorted by path.

    Hidden files, hidden folders and run folders are excluded, and without `junk` what systems leave behind; links are
    followed, but no folder is read twice. Raises DataError if the folder does not exist, is a file, is not readable, or
    contains no such file.
    """
    if not folder.exists():
        raise DataError(f"the folder {folder} does not exist")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; pass the folder that contains it")
    suffixes = tuple(ending.lower() for ending in endings)
    try:
        result = [
            File(path, status.st_size, status.st_mtime_ns)
            for path, entry in find_files(str(folder), junk=junk)
            if path.lower().endswith(suffixes)
            for status in (entry.stat(),)
        ]
    except OSError as error:
        raise DataError(f"cannot read {error.filename or folder}: {error.strerror or error}") from error
    if not result:
        raise DataError(f"{folder} contains no files with the extension {', '.join(endings)}")
    return tuple(sorted(result))


def content_digest(content: bytes) -> str:
    """Return 128 bits of BLAKE2b as 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def combined_digest(contents: Mapping[str, str]) -> str:
    """Return a digest of all files, computed from their paths and content digests."""
    lines = (f"{contents[path]} {path}\n" for path in sorted(contents))
    return content_digest("".join(lines).encode("utf-8", "surrogateescape"))


def describe_difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Describe the change between two tables of path -> digest: "2 files were added (b.png, …)"."""
    parts = {
        "added": sorted(now.keys() - before.keys()),
        "removed": sorted(before.keys() - now.keys()),
        "modified": sorted(path for path in before.keys() & now.keys() if before[path] != now[path]),
    }
    return ", ".join(
        f"{format_count(len(paths))} {'was' if len(paths) == 1 else 'were'} {verb} "
        f"({printable(paths[0])}{', …' * (len(paths) > 1)})"
        for verb, paths in parts.items()
        if paths
    )


def top_folder(path: str) -> str:
    """Return the top-level subfolder of a path; "" for a file outside of subfolders."""
    return path.partition("/")[0] if "/" in path else ""


def format_reasons(reasons: Mapping[str, str]) -> str:
    """Format the first few files of each of the first few reasons, and the number of further ones."""
    by_reason: dict[str, list[str]] = {}
    for path, reason in reasons.items():
        by_reason.setdefault(reason, []).append(path)
    listed = [f"{format_names(paths)} ({reason})" for reason, paths in list(by_reason.items())[:MAX_LISTED]]
    more = sum(len(paths) for paths in list(by_reason.values())[MAX_LISTED:])
    return ", ".join(listed) + format_more(more)


def load_index(cache: Path, folder: Path, files: Sequence[File]) -> dict[str, str]:
    """Return path -> content digest of those `files` whose size and modification time did not change since reading.

    The digest is "" for a file that could not be read. A missing or damaged index counts as empty: every file is read
    again.
    """
    try:
        lines: dict[str, list[object]] = json.loads(_index(cache, folder).read_text())
        same = (file.path for file in files if lines.get(file.path, [])[:2] == [file.size, file.modified])
        return {path: str(lines[path][2]) for path in same}
    except (OSError, ValueError, AttributeError, IndexError, TypeError):
        return {}


def save_index(cache: Path, folder: Path, files: Sequence[File], contents: Mapping[str, str]) -> None:
    """Store the content digests of `files`, replacing the index of the folder. Raises DataError on write errors."""
    lines = {file.path: (file.size, file.modified, contents[file.path]) for file in files if file.path in contents}
    save_json(cache, _index(cache, folder), lines)


def save_json(cache: Path, path: Path, value: object) -> None:
    """Write JSON to a file in the cache, complete or not at all. Raises DataError on write errors."""
    with report_write_errors(cache):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        partial.write_text(json.dumps(value))
        partial.replace(path)


def _index(cache: Path, folder: Path) -> Path:
    return cache / "index" / f"{content_digest(os.fsencode(folder.resolve()))}.json"


@contextmanager
def report_write_errors(cache: Path) -> Iterator[None]:
    """Convert errors of the file system to DataError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f"the disk that holds the cache {cache} is full; free some space") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise DataError(
                f"no permission to write to the cache {cache}; choose another folder with --option data.cache=FOLDER"
            ) from error
        raise DataError(f"cannot write to the cache {cache}: {error.strerror or error}") from error


def file_checksum(path: Path) -> int:
    """Return the CRC-32 of a file, which detects bytes that a disk, a copy or a crash has changed.

    Reading also loads the file into the page cache, so that the steps of a run do not wait for the disk. 1 GB takes
    0.6 s on one core of 2023 if the disk is faster; BLAKE2b would take 3 s.
    """
    result, buffer = 0, bytearray(2**20)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            result = zlib.crc32(view[:size], result)
    return result
