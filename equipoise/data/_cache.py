"""On-disk cache of decoded files, memory-mapped and addressed by content.

    cache/<digest>-<key>/array.raw     the decoded rows, concatenated
                         about.json    the file of each row, and statistics of decoding
          index/<folder>.json          size, modification time and digest of every file, so unchanged files are not read

The digest is computed from all relative paths and contents, the key from the decoding options: a copy of the folder in
another place has the same entry. An entry is written under a temporary name and renamed when it is complete, so an
interruption leaves no incomplete entry, and two processes may write at once. The cache may be deleted.
"""

import json
import math
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from equipoise.core.data import Preparation
from equipoise.data._decoding import Decode, Decoded, DecodedFile, decode_files
from equipoise.data._files import (
    File,
    agree,
    combined_digest,
    content_digest,
    describe_difference,
    format_count,
    format_reasons,
    load_index,
    printable,
    read_through,
    report_write_errors,
    save_index,
)
from equipoise.data._sources import Source, open_folder
from equipoise.data._splits import split_by_digest
from equipoise.errors import DataError

__all__ = [
    "CachedFolder",
    "Decoded",
    "Decoding",
    "File",
    "describe_changes",
    "fill_cache",
    "format_count",
    "load_cached",
    "open_cached",
    "open_folder",
    "printable",
    "split_by_digest",
]

ARRAY, ABOUT, FORMAT = "array.raw", "about.json", 1
ABANDONED = 3600.0
"""Seconds without a write after which a temporary entry is considered abandoned, and removed."""

DecodingKey = Mapping[str, object]
"""Options of decoding, as JSON values. They include a version number, incremented when decoding changes."""


@dataclass(frozen=True, slots=True, eq=False)
class CachedFolder:
    """The decoded rows of a folder.

    `digest`: of all paths and contents. `array`: (N, *shape), memory-mapped, read-only. `paths`, `digests`: path and
    digest of the file of each row; files that decode to the same rows share the lowest of their digests. `notes`:
    information for the user. `facts`: counts made while decoding. `skipped`: path -> reason of files that could not be
    decoded.
    """

    digest: str
    array: Tensor
    paths: tuple[str, ...]
    digests: tuple[str, ...]
    notes: tuple[str, ...]
    facts: Mapping[str, int]
    skipped: Mapping[str, str]


def load_cached(source: Source, cache: Path, key: DecodingKey) -> CachedFolder | None:
    """Return the cached rows of a source; None if items must be read, or were not decoded with this key."""
    contents = _indexed_digests(source, cache)
    return open_cached(cache, combined_digest(contents), key) if len(contents) == len(source.files) else None


def open_cached(cache: Path, digest: str, key: DecodingKey) -> CachedFolder | None:
    """Return the cached rows of files with this digest, without reading the folder; None if missing or incomplete."""
    entry = cache / _name(digest, key)
    try:
        files = [(entry / name).stat() for name in (ARRAY, ABOUT)]
        return _map_entry(entry, tuple((status.st_ino, status.st_mtime_ns, status.st_size) for status in files))
    except (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError):
        return None


def describe_changes(source: Source, cache: Path, digest: str) -> str | None:
    """Describe how a source changed since it had this digest; None if it did not. Reads items not in the index."""
    contents = _content_digests(source, cache)
    if combined_digest(contents) == digest:
        return None
    for about in sorted(cache.glob(f"{digest}-*/{ABOUT}")):
        with suppress(OSError, ValueError, KeyError):
            return describe_difference(json.loads(about.read_text())["files"], contents)
    return "its files differ"


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the items of a source become rows of the cache.

    `key`: all options of decoding. `decode`: called once for each item. `shape`, `dtype`: of a row. `task`: as
    progress is reported. `tolerance`: largest share of items that may be skipped; with 0, the first one that cannot be
    decoded is an error with its own message.
    """

    key: DecodingKey
    decode: Decode
    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    task: str
    tolerance: float = 0.05


def fill_cache(source: Source, cache: Path, decoding: Decoding) -> Iterator[Preparation]:
    """Read and decode every item once, in order, into the cache; :func:`load_cached` then returns the rows.

    Items decoded before, in another folder or with other modification times, are recognised by hashing. An item that
    cannot be decoded is skipped. Raises DataError if more than `decoding.tolerance` of all are skipped, and if the
    cache cannot be written.
    """
    files, key, task, tolerance = source.files, decoding.key, decoding.task, decoding.tolerance
    if _has_same_names(cache, files, key) and open_cached(cache, combined_digest(_content_digests(source, cache)), key):
        yield Preparation(task, len(files), len(files))
        return
    with _temporary_entry(cache) as partial:
        writer = CacheWriter(np.dtype(decoding.dtype), decoding.shape)
        with (partial / ARRAY).open("wb") as array:
            for item in decode_files(source, files, decoding.decode):
                if item.reason is not None and not tolerance:
                    raise DataError(item.reason if item.content else f"{source.location / item.path} {item.reason}")
                writer.add(item, array)
                yield Preparation(task, len(writer.contents), len(files))
        if len(writer.skipped) > tolerance * len(files):
            raise DataError(
                f"{len(writer.skipped):,} of {format_count(len(files))} in {source.location} cannot be used, more than "
                f"{tolerance:.0%}: {format_reasons(writer.skipped)}; repair or remove them"
            )
        if not writer.paths:
            raise DataError(
                f"no usable file in {source.location}: all of {format_count(len(files))} are empty; add others"
            )
        (partial / ABOUT).write_text(json.dumps(writer.metadata(files, key)))
        _publish(partial, cache, combined_digest(writer.contents), key)
    save_index(cache, source.location, files, writer.contents)


@dataclass
class CacheWriter:
    """Writer of the rows and the metadata of a new entry."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    contents: dict[str, str] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    lowest_digest: dict[str, str] = field(default_factory=dict)
    row_digest: dict[str, str] = field(default_factory=dict)
    facts: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, read: DecodedFile, array: BinaryIO) -> None:
        """Write the rows of a file, or record why there are none."""
        self.contents[read.path] = read.content
        if read.rows is None:
            self.skipped[read.path] = read.reason or "cannot be decoded"
            return
        rows = np.ascontiguousarray(read.rows).reshape(-1, *self.shape)
        if rows.dtype != self.dtype:
            raise TypeError(f"{read.path} was decoded to {rows.dtype}, not {self.dtype}")
        content = rows.tobytes()
        array.write(content)
        self.facts.update(read.facts)
        self.paths += [read.path] * len(rows)
        # Files with equal rows share the lowest digest, so none is held out while its copy is trained on.
        digest = self.row_digest[read.path] = content_digest(content)
        self.lowest_digest[digest] = min(read.content, self.lowest_digest.get(digest, read.content))

    def metadata(self, files: Sequence[File], key: DecodingKey) -> dict[str, object]:
        """Return the content of about.json, as JSON values."""
        copies = len(self.row_digest) - len(self.lowest_digest)
        notes = []
        if self.skipped:
            count, verb = len(self.skipped), agree(len(self.skipped), "was", "were")
            notes.append(f"{count:,} of {format_count(len(files))} {verb} skipped: {format_reasons(self.skipped)}")
        if copies:
            notes.append(
                f"{format_count(copies)} {agree(copies, 'has', 'have')} the same content as another; all are used"
            )
        return {
            "format": FORMAT,
            "alike": _names_digest(files, key),
            "digest": combined_digest(self.contents),
            "shape": self.shape,
            "dtype": self.dtype.name,
            "files": self.contents,
            "rows": [(path, self.lowest_digest[self.row_digest[path]]) for path in self.paths],
            "notes": notes,
            "facts": self.facts,
            "skipped": self.skipped,
        }


def _indexed_digests(source: Source, cache: Path) -> dict[str, str]:
    """Return path -> content digest of items in the index; items that could not be read before are read again."""
    contents = load_index(cache, source.location, source.files)
    unread = [file for file in source.files if contents.get(file.path) == ""]
    return contents | {item.path: item.content for item in decode_files(source, unread, None)}


def _content_digests(source: Source, cache: Path) -> dict[str, str]:
    """Return path -> content digest of all items; items that are not in the index are read and added to it."""
    contents = _indexed_digests(source, cache)
    missing = [file for file in source.files if file.path not in contents]
    if missing:
        contents |= {item.path: item.content for item in decode_files(source, missing, None)}
        save_index(cache, source.location, source.files, contents)
    return contents


@lru_cache(maxsize=8)
def _map_entry(entry: Path, version: tuple[tuple[int, ...], ...]) -> CachedFolder:
    """Memory-map an entry; `version` distinguishes rewritten entries. Raises various errors if it is incomplete."""
    about = json.loads((entry / ABOUT).read_text())
    shape, dtype, rows = tuple(about["shape"]), np.dtype(about["dtype"]), about["rows"]
    count = len(rows) * math.prod(shape)
    path = entry / ARRAY
    if about["format"] != FORMAT or path.stat().st_size != count * dtype.itemsize:
        raise ValueError("incomplete, or of another version")
    read_through(path)
    torch_dtype = torch.from_numpy(np.empty(0, dtype)).dtype
    array = torch.from_file(str(path), shared=False, size=count, dtype=torch_dtype).view(-1, *shape)
    paths, digests = zip(*rows, strict=True)
    notes, facts = tuple(about["notes"]), about["facts"]
    return CachedFolder(about["digest"], array, paths, digests, notes, facts, about["skipped"])


def _name(digest: str, key: DecodingKey) -> str:
    return f"{digest}-{_key(key)[:16]}"


def _key(key: DecodingKey) -> str:
    return content_digest(json.dumps([FORMAT, dict(key)], sort_keys=True).encode())


def _names_digest(files: Sequence[File], key: DecodingKey) -> str:
    """Return a digest of paths, sizes and the key, which needs no reading of files."""
    return content_digest(json.dumps([_key(key), [file[:2] for file in files]]).encode())


def _has_same_names(cache: Path, files: Sequence[File], key: DecodingKey) -> bool:
    """Return whether an entry has files of the same names and sizes, so that hashing may replace decoding."""
    digest = _names_digest(files, key)
    for about in cache.glob(f"*-{_key(key)[:16]}/{ABOUT}"):
        with suppress(OSError, ValueError, KeyError):
            if json.loads(about.read_text())["alike"] == digest:
                return True
    return False


@contextmanager
def _temporary_entry(cache: Path) -> Iterator[Path]:
    """Create a temporary folder in the cache, removed afterwards unless renamed. Also removes abandoned ones."""
    with report_write_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
        for path in cache.glob(".filling-*"):
            newest = max((part.stat().st_mtime for part in (path, *path.glob("*"))), default=0.0)
            if time.time() - newest > ABANDONED:
                shutil.rmtree(path, ignore_errors=True)
        partial = Path(mkdtemp(prefix=".filling-", dir=cache))
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _publish(partial: Path, cache: Path, digest: str, key: DecodingKey) -> None:
    """Rename a complete entry, replacing an incomplete one; do nothing if another process has written it."""
    entry = cache / _name(digest, key)
    partial.chmod(0o755)  # mkdtemp denies access to other users.
    with suppress(OSError):
        partial.rename(entry)
        return
    if open_cached(cache, digest, key) is None:
        shutil.rmtree(entry, ignore_errors=True)
        partial.rename(entry)
