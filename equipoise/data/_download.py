"""Published files: where a local copy may lie, whether it is the published one, and how to get it.

What is downloaded is written beside its place and renamed once its digest was found right, so that a kill leaves
nothing that is taken for whole. Local copies are only read.
"""

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO

from equipoise.core.data import Preparation
from equipoise.errors import DataError

PIECE = 2**20
"""Bytes read at once."""
TIMEOUT = 30.0
"""Seconds without an answer, or without a byte, after which a server counts as unreachable."""
ANEW = "delete it to have it downloaded anew"
"""The way out where a download is tried."""


@dataclass(frozen=True, slots=True)
class Published:
    """A file as it was published. `md5`: its digest, in hexadecimal. `urls`: where it is, the first one tried first."""

    name: str
    md5: str
    urls: tuple[str, ...]


def result(places: Sequence[Path]) -> Path | None:
    """The first of these files that is there."""
    return next((place for place in places if place.is_file()), None)


def content(path: Path, md5: str | None) -> bytes:
    """The bytes of a file. Raises DataError if it cannot be read, or has not the digest `md5`, if that is given."""
    try:
        read = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if md5 is not None:
        check(path, hashlib.md5(read, usedforsecurity=False).hexdigest(), md5)
    return read


def check_file(path: Path, md5: str, remedy: str = ANEW) -> None:
    """Raise DataError if a file cannot be read or has not the digest `md5`; for files too large for the memory."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    check(path, digest, md5, remedy)


def check(path: Path, digest: str, md5: str, remedy: str = ANEW) -> None:
    """Raise DataError if the digest of a local copy is not the published one."""
    if digest != md5:
        raise DataError(f"{path} is damaged or another file: its MD5 is {digest}, not the published {md5}; {remedy}")


def fetch(files: Sequence[Published], folder: Path) -> Iterator[Preparation]:
    """Download files into `folder`, each in kilobytes done of all. Raises DataError with the way out if that fails."""
    for number, file in enumerate(files):
        try:
            yield from _from_anywhere(file, folder / file.name)
        except _UnreachableError as error:
            missing = ", ".join(it.name for it in files[number:])
            raise DataError(f"cannot download {error}; put {missing} into {folder} by other means") from error


class _UnreachableError(Exception):
    """A file that is to be had from none of its places, and why."""


def _from_anywhere(file: Published, target: Path) -> Iterator[Preparation]:
    """Download from the first place that has the file."""
    reasons = []
    for url in file.urls:
        try:
            yield from _fetched(url, file, target)
            return
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, ValueError) as error:
            reasons.append(f"{url}: {_told(error)}")
    raise _UnreachableError("; ".join(reasons))


def _fetched(url: str, file: Published, target: Path) -> Iterator[Preparation]:
    """Download from one place. Raises ValueError if what comes is not the published file."""
    task, digest, done = f"downloading {file.name} (kB)", hashlib.md5(usedforsecurity=False), 0
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, _partial(target) as partial:
        total = int(answer.headers.get("Content-Length") or 0)
        while piece := answer.read(PIECE):
            with _writing(target):
                partial.write(piece)
            digest.update(piece)
            done += len(piece)
            yield Preparation(task, done // 1000, max(total, done) // 1000)
        if digest.hexdigest() != file.md5:
            raise ValueError(f"what came is not the published file: its MD5 is {digest.hexdigest()}, not {file.md5}")
        with _writing(target):
            partial.close()
            Path(partial.name).replace(target)


@contextmanager
def _partial(target: Path) -> Iterator[BinaryIO]:
    """A new file beside the target; gone afterwards, unless it was renamed."""
    path = target.with_name(f".{target.name}.{os.getpid()}.partial")
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("wb")
    try:
        with file:
            yield file
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """What the disk refuses is told in one line."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write {target}: {error.strerror or error}; make room there, or name another folder: "
            "--option data.root=FOLDER"
        ) from error


def _told(error: Exception) -> str:
    """Why a server was not reached, in few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(getattr(reason, "strerror", None) or reason)
