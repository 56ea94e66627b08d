"""What was decoded from a folder of files, kept on disk and mapped into memory: keyed by content.

cache/<digest>-<key>/array.raw     the decoded rows, one after the other
                     about.json    which file each row stems from, and what was found on the way
      index/<folder>.json          size, modification time and digest of every file: a second start only stats

The digest is that of all relative paths and contents, the key that of the options of decoding: a copy of the folder
elsewhere meets the same entry. An entry is filled under another name and renamed once it is whole, so a kill leaves
nothing that is taken for whole, and two processes that fill at once do no harm. The cache may be deleted.
"""

import json
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from equipoise.core.data import Preparation
from equipoise.data._decoding import Decode, Decoded, Read, read_all
from equipoise.data._files import (
    File,
    content_digest,
    counted,
    difference,
    known,
    listing,
    remember,
    shown,
    some,
    whole_digest,
    writing_to,
)
from equipoise.errors import DataError

__all__ = ["Decoded", "File", "Kept", "changes", "counted", "fill", "held_out", "kept", "listing", "opened", "shown"]

ARRAY, ABOUT, FORMAT = "array.raw", "about.json", 1
ABANDONED = 3600.0
"""Seconds without a write after which a filling is taken for killed, and removed."""

Key = Mapping[str, Any]
"""Options of decoding, as JSON has them. What decodes otherwise in a later version says so by a number in here."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """The decoded rows of a folder.

    `digest`: of all paths and contents. `array`: (N, *shape), mapped, to be read only. `paths`, `digests`: of the file
    that each row stems from; files that decode to the same rows share the lowest of their digests. `notes`: what the
    user should know. `facts`: what decoding counted. `skipped`: path -> reason of files that could not be decoded.
    """

    digest: str
    array: Tensor
    paths: tuple[str, ...]
    digests: tuple[str, ...]
    notes: tuple[str, ...]
    facts: Mapping[str, int]
    skipped: Mapping[str, str]


def kept(folder: Path, cache: Path, files: Sequence[File], key: Key) -> Kept | None:
    """What an earlier filling left of these files; None if they must be read, or were never decoded with this key."""
    contents = _known(folder, cache, files)
    return opened(cache, whole_digest(contents), key) if len(contents) == len(files) else None


def opened(cache: Path, digest: str, key: Key) -> Kept | None:
    """The rows of files with this digest, without a look at the folder; None if they are not there, or not whole."""
    entry = cache / _name(digest, key)
    try:
        both = [(entry / name).stat() for name in (ARRAY, ABOUT)]
        return _mapped(entry, tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in both))
    except (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError):
        return None


def changes(folder: Path, cache: Path, files: Sequence[File], digest: str) -> str | None:
    """What became of a folder since it had this digest, in words; None if nothing did. Reads what is not known."""
    contents = _contents(folder, cache, files)
    if whole_digest(contents) == digest:
        return None
    for about in sorted(cache.glob(f"{digest}-*/{ABOUT}")):
        with suppress(OSError, ValueError, KeyError):
            return difference(json.loads(about.read_text())["files"], contents)
    return "its files are others"


def held_out(digests: Sequence[str], share: float) -> tuple[list[int], list[int]]:
    """Rows to train on, and rows held out: about `share` of all, those with the lowest digests; both ascending.

    Rows of equal digest stay together. At least one digest is held out if there are two and `share` is above 0, and
    at least one is trained on.
    """
    groups: dict[str, list[int]] = {}
    for row, digest in enumerate(digests):
        groups.setdefault(digest, []).append(row)
    wanted = round(share * len(digests))
    out: list[int] = []
    for digest in sorted(groups):
        if len(out) + len(groups[digest]) <= min(wanted, len(digests) - 1):
            out += groups[digest]
    if not out and share > 0 and len(groups) > 1:
        out = groups[min(groups, key=lambda digest: (len(groups[digest]), digest))]
    aside = set(out)
    return [row for row in range(len(digests)) if row not in aside], sorted(out)


def fill(
    folder: Path,
    cache: Path,
    files: Sequence[File],
    key: Key,
    decode: Decode,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    task: str,
    tolerance: float = 0.05,
) -> Iterator[Preparation]:
    """Read and decode every file once, in order, into the cache; :func:`kept` has the rows then, and the notes.

    What was decoded before, in another folder or with other times, is found again by hashing alone. A file that cannot
    be decoded is skipped. Raises DataError if more than `tolerance` of all are, with 0 at the first one, in its own
    words; and if the cache cannot be written.
    """
    if _has_alike(cache, files, key) and opened(cache, whole_digest(_contents(folder, cache, files)), key):
        yield Preparation(task, len(files), len(files))
        return
    with _partial(cache) as partial:
        filling = _Filling(np.dtype(dtype), shape)
        with (partial / ARRAY).open("wb") as array:
            for read in read_all(folder, files, decode):
                if read.reason is not None and not tolerance:
                    raise DataError(read.reason if read.content else f"{folder / read.path} {read.reason}")
                filling.take(read, array)
                yield Preparation(task, len(filling.contents), len(files))
        if len(filling.skipped) > tolerance * len(files):
            raise DataError(
                f"{len(filling.skipped):,} of {counted(len(files))} in {folder} cannot be used, more than "
                f"{tolerance:.0%}: {some(filling.skipped)}; mend them, or move them out"
            )
        if not filling.paths:
            raise DataError(f"there is nothing to train on in {folder}: {counted(len(files))} without a row")
        (partial / ABOUT).write_text(json.dumps(filling.about(files, key)))
        _put(partial, cache, whole_digest(filling.contents), key)
    remember(cache, folder, files, filling.contents)


@dataclass
class _Filling:
    """What is known of the rows written so far."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    contents: dict[str, str] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    alike: dict[str, str] = field(default_factory=dict)
    look: dict[str, str] = field(default_factory=dict)
    facts: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)

    def take(self, read: Read, array: BinaryIO) -> None:
        """Write the rows of a file, or keep the reason why there are none."""
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
        # Of files that show the same, the lowest digest stands for all: none is held out while its copy is trained on.
        look = self.look[read.path] = content_digest(content)
        self.alike[look] = min(read.content, self.alike.get(look, read.content))

    def about(self, files: Sequence[File], key: Key) -> dict[str, Any]:
        """All but the rows, as JSON has it."""
        copies = len(self.look) - len(self.alike)
        notes = []
        if self.skipped:
            notes.append(f"{len(self.skipped):,} of {counted(len(files))} cannot be used: {some(self.skipped)}")
        if copies:
            notes.append(f"{counted(copies)} show{'s' * (copies == 1)} the same as another; all are kept")
        return {
            "format": FORMAT,
            "alike": _alike(files, key),
            "digest": whole_digest(self.contents),
            "shape": self.shape,
            "dtype": self.dtype.name,
            "files": self.contents,
            "rows": [(path, self.alike[self.look[path]]) for path in self.paths],
            "notes": notes,
            "facts": self.facts,
            "skipped": self.skipped,
        }


def _known(folder: Path, cache: Path, files: Sequence[File]) -> dict[str, str]:
    """Path -> content digest of what need not be read again; what could not be read is tried again."""
    contents = known(cache, folder, files)
    unread = [file for file in files if contents.get(file.path) == ""]
    return contents | {read.path: read.content for read in read_all(folder, unread, None)}


def _contents(folder: Path, cache: Path, files: Sequence[File]) -> dict[str, str]:
    """Path -> content digest of all files; what is not known is read, and remembered."""
    contents = _known(folder, cache, files)
    missing = [file for file in files if file.path not in contents]
    if missing:
        contents |= {read.path: read.content for read in read_all(folder, missing, None)}
        remember(cache, folder, files, contents)
    return contents


@lru_cache(maxsize=8)
def _mapped(entry: Path, version: tuple[tuple[int, ...], ...]) -> Kept:
    """An entry, mapped; `version` tells it from another of that name. Raises several errors if it is not whole."""
    about = json.loads((entry / ABOUT).read_text())
    shape, dtype, rows = tuple(about["shape"]), np.dtype(about["dtype"]), about["rows"]
    count = len(rows) * math.prod(shape)
    path = entry / ARRAY
    if about["format"] != FORMAT or path.stat().st_size != count * dtype.itemsize:
        raise ValueError("not whole, or of another version")
    _read_through(path)
    kind = torch.from_numpy(np.empty(0, dtype)).dtype
    array = torch.from_file(str(path), shared=False, size=count, dtype=kind).view(-1, *shape)
    paths, digests = zip(*rows, strict=True)
    notes, facts = tuple(about["notes"]), about["facts"]
    return Kept(about["digest"], array, paths, digests, notes, facts, about["skipped"])


def _read_through(path: Path) -> None:
    """Have a file in the kernel's memory, if that takes no more than half of it.

    Otherwise each page that a batch touches first would wait for the disk alone: 100 ms in the second step of a run.
    """
    if path.stat().st_size <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2:
        piece = bytearray(2**20)
        with path.open("rb", buffering=0) as file:
            while file.readinto(piece):
                pass


def _name(digest: str, key: Key) -> str:
    return f"{digest}-{_key(key)[:16]}"


def _key(key: Key) -> str:
    return content_digest(json.dumps([FORMAT, dict(key)], sort_keys=True).encode())


def _alike(files: Sequence[File], key: Key) -> str:
    """A digest of what can be known without reading: paths, sizes and the key."""
    return content_digest(json.dumps([_key(key), [file[:2] for file in files]]).encode())


def _has_alike(cache: Path, files: Sequence[File], key: Key) -> bool:
    """Whether an entry stems from files of the same names and sizes, so that hashing may spare decoding."""
    wanted = _alike(files, key)
    for about in cache.glob(f"*-{_key(key)[:16]}/{ABOUT}"):
        with suppress(OSError, ValueError, KeyError):
            if json.loads(about.read_text())["alike"] == wanted:
                return True
    return False


@contextmanager
def _partial(cache: Path) -> Iterator[Path]:
    """A new folder in the cache to fill; gone afterwards, unless it was renamed. Older ones are removed."""
    with writing_to(cache):
        cache.mkdir(parents=True, exist_ok=True)
        for path in cache.glob(".filling-*"):
            newest = max((one.stat().st_mtime for one in (path, *path.glob("*"))), default=0.0)
            if time.time() - newest > ABANDONED:
                shutil.rmtree(path, ignore_errors=True)
        partial = Path(mkdtemp(prefix=".filling-", dir=cache))
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _put(partial: Path, cache: Path, digest: str, key: Key) -> None:
    """Give a whole entry its name, in place of one that is not whole; nothing if another process was faster."""
    entry = cache / _name(digest, key)
    partial.chmod(0o755)  # mkdtemp lets nobody else in
    with suppress(OSError):
        partial.rename(entry)
        return
    if opened(cache, digest, key) is None:
        shutil.rmtree(entry, ignore_errors=True)
        partial.rename(entry)
