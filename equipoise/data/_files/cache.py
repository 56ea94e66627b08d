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
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch
from torch import Tensor

from equipoise.core.data import Preparation
from equipoise.core.files import ending
from equipoise.core.printing import format_count
from equipoise.data._files.cache_writer import FORMAT, CacheWriter, key_digest, names_digest
from equipoise.data._files.decoding import Decoding, DecodingKey, decode_files
from equipoise.data._files.listing import (
    File,
    combined_digest,
    describe_difference,
    file_checksum,
    format_reasons,
    load_index,
    report_write_errors,
    save_index,
)
from equipoise.data._files.near_copies import near_copies
from equipoise.data._files.sources import Source
from equipoise.errors import DataError

ARRAY, ABOUT = "array.raw", "about.json"
ABANDONED = 3600.0
"""Seconds without a write after which a temporary entry is considered abandoned, and removed."""
FEW_DAMAGED = 3
"""Number of damaged files, up to a fifth of all, that are skipped whatever share of a small set they are."""
ATTEMPTS = 3
"""Number of attempts at decoding: another process that reads other files of the folder may replace its index."""


@dataclass(frozen=True, slots=True, eq=False)
class CachedFolder:
    """The decoded rows of a folder.

    `digest`: of all paths and contents. `array`: (N, *shape), memory-mapped, read-only. `paths`, `digests`: path and
    digest of the file of each row; files that decode to the same rows share the lowest of their digests. `groups`: the
    lowest digest among near-identical rows, for each row. `notes`: information for the user. `facts`: counts made while
    decoding. `skipped`: path -> reason of files that could not be decoded.
    """

    digest: str
    array: Tensor
    paths: tuple[str, ...]
    digests: tuple[str, ...]
    groups: tuple[str, ...]
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


def check_unchanged(source: Source, cache: Path, digest: str | None, place: Path) -> None:
    """Raise DataError if a source changed since it had this digest; None: it has not been read before.

    `place`: the folder or file, for the message.
    """
    if digest is not None and (change := describe_changes(source, cache, digest)):
        raise DataError(changed_data(place, change))


def changed_data(place: Path, change: str) -> str:
    """Return the message on data that are not those with which a run started."""
    return f"{place} changed since this run started: {change}; restore it, or start a new run with --from RUN"


def changed_cache(cache: Path | str) -> DataError:
    """Return the error for an entry of the cache that another program changed or removed after it was written."""
    return DataError(f"the cache {cache} was changed while it was read; run the command again")


def fill_cache(source: Source, cache: Path, decoding: Decoding) -> Iterator[Preparation]:
    """Read and decode every item once, in order, into the cache; :func:`load_cached` then returns the rows.

    Items decoded before, in another folder or with other modification times, are recognised by hashing. An item that
    cannot be decoded is skipped. Raises DataError if more than `decoding.tolerance` of all are skipped, and if the
    cache cannot be written.
    """
    files, key, task, tolerance = source.files, decoding.key, decoding.task, decoding.tolerance
    if _has_same_names(cache, files, key):
        digest = combined_digest(_content_digests(source, cache))
        if open_cached(cache, digest, key):
            yield Preparation(task, len(files), len(files))
            return
        if (cache / _name(digest, key)).is_dir():
            yield Preparation(task, 0, len(files), f"the cache {cache} was damaged: {source.location} is decoded again")
    with _temporary_entry(cache) as partial:
        writer = CacheWriter(np.dtype(decoding.dtype), decoding.shape)
        with (partial / ARRAY).open("wb") as array:
            for item in decode_files(source, files, decoding.decode):
                if item.reason is not None and not tolerance:
                    raise DataError(item.reason if item.content else f"{source.location / item.path} {item.reason}")
                writer.add(item, array)
                yield Preparation(task, len(writer.contents), len(files))
        _check_skipped(writer, source, decoding)
        groups = near_copies(_map_array(partial / ARRAY, writer), writer.row_digests()) if decoding.compare else None
        (partial / ABOUT).write_text(json.dumps(writer.metadata(files, key, groups)))
        _publish(partial, cache, combined_digest(writer.contents), key)
    save_index(cache, source.location, files, writer.contents)


def decode_source(source: Source, cache: Path, decoding: Decoding) -> Generator[Preparation, None, CachedFolder]:
    """Return the decoded rows of a source; reads and decodes its items unless they are in the cache. Yields progress.

    Raises as :func:`fill_cache` does, and DataError if the source changes in the meantime.
    """
    for _ in range(ATTEMPTS):
        if result := load_cached(source, cache, decoding.key):
            return result
        yield from fill_cache(source, cache, decoding)
    raise DataError(f"{source.location} changed while it was read; run the command again when nothing writes to it")


def _check_skipped(writer: CacheWriter, source: Source, decoding: Decoding) -> None:
    """Raise DataError if too many items were skipped, or all are empty."""
    total = format_count(len(writer.contents))
    skipped = {path: why for path, why in writer.skipped.items() if ending(path) not in decoding.optional}
    few = min(FEW_DAMAGED, len(writer.contents) // 5)
    is_many = len(skipped) > max(few, decoding.tolerance * len(writer.contents))
    if is_many or (writer.skipped and not writer.paths):
        limit = f", more than {decoding.tolerance:.0%}" if is_many else ""
        raise DataError(
            f"{len(writer.skipped):,} of {total} in {source.location} cannot be used{limit}: "
            f"{format_reasons(writer.skipped)}; repair or remove them"
        )
    if not writer.paths:
        raise DataError(f"no usable file in {source.location}: all of {total} are empty; add others")


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
    path = entry / ARRAY
    if about["format"] != FORMAT or path.stat().st_size != len(rows) * math.prod(shape) * dtype.itemsize:
        raise ValueError("incomplete, or of another version")
    if file_checksum(path) != about["checksum"]:
        raise ValueError("damaged")
    array = _map_rows(path, len(rows), shape, dtype)
    paths, digests, groups = zip(*rows, strict=True)
    notes, facts = tuple(about["notes"]), about["facts"]
    return CachedFolder(about["digest"], array, paths, digests, groups, notes, facts, about["skipped"])


def _map_array(path: Path, writer: CacheWriter) -> Tensor:
    return _map_rows(path, len(writer.paths), writer.shape, writer.dtype)


def _map_rows(path: Path, count: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Tensor:
    """Memory-map (count, *shape) rows, read-only."""
    torch_dtype = torch.from_numpy(np.empty(0, dtype)).dtype
    size = count * math.prod(shape)
    return torch.from_file(str(path), shared=False, size=size, dtype=torch_dtype).view(-1, *shape)


def _name(digest: str, key: DecodingKey) -> str:
    return f"{digest}-{key_digest(key)[:16]}"


def _has_same_names(cache: Path, files: Sequence[File], key: DecodingKey) -> bool:
    """Return whether an entry has files of the same names and sizes, so that hashing may replace decoding."""
    digest = names_digest(files, key)
    for about in cache.glob(f"*-{key_digest(key)[:16]}/{ABOUT}"):
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
