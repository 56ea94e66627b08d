"""Published files: local copies, verification by digest, and download.

A download is written to a temporary file and renamed when its digest is correct, so an interruption leaves no
incomplete file. Local copies are never modified.
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

CHUNK = 2**20
"""Bytes read at once."""
TIMEOUT = 30.0
"""Seconds without a response, or without a byte, after which a server counts as unreachable."""
REMEDY = "delete it to download it again"
"""Remedy for a damaged file that can be downloaded."""


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A published file. `md5`: its hexadecimal digest. `urls`: in order of preference."""

    name: str
    md5: str
    urls: tuple[str, ...]


def first_existing(paths: Sequence[Path]) -> Path | None:
    """Return the first of these files that exists, or None."""
    return next((path for path in paths if path.is_file()), None)


def read_file(path: Path, md5: str | None) -> bytes:
    """Read a file. Raises DataError if it cannot be read, or if its MD5 is not `md5` (None: any)."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if md5 is not None:
        check_digest(path, hashlib.md5(content, usedforsecurity=False).hexdigest(), md5)
    return content


def check_file(path: Path, md5: str, remedy: str = REMEDY) -> None:
    """Raise DataError if a file cannot be read or its MD5 is not `md5`. The file is read in chunks."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    check_digest(path, digest, md5, remedy)


def check_digest(path: Path, digest: str, md5: str, remedy: str = REMEDY) -> None:
    """Raise DataError if the digest of a local copy is not the published one."""
    if digest != md5:
        raise DataError(
            f"{path} is damaged, or is another file: its MD5 is {digest}, not the published {md5}; {remedy}"
        )


def download(files: Sequence[PublishedFile], folder: Path) -> Iterator[Preparation]:
    """Download files into `folder`; yields progress in kilobytes. Raises DataError with the remedy on failure."""
    for number, file in enumerate(files):
        try:
            yield from _download_any(file, folder / file.name)
        except _UnreachableError as error:
            missing = ", ".join(file.name for file in files[number:])
            raise DataError(f"cannot download {error}; put {missing} into {folder} yourself") from error


class _UnreachableError(Exception):
    """No URL of a file can be reached; the message contains the reasons."""


def _download_any(file: PublishedFile, target: Path) -> Iterator[Preparation]:
    """Download from the first URL that has the file."""
    reasons = []
    for url in file.urls:
        try:
            yield from _download_from(url, file, target)
            return
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, ValueError) as error:
            reasons.append(f"{url}: {_reason(error)}")
    raise _UnreachableError("; ".join(reasons))


def _download_from(url: str, file: PublishedFile, target: Path) -> Iterator[Preparation]:
    """Download from one URL. Raises ValueError if the content is not the published file."""
    task, digest, done = f"downloading {file.name} (kB)", hashlib.md5(usedforsecurity=False), 0
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response, _temporary_file(target) as partial:
        total = int(response.headers.get("Content-Length") or 0)
        while chunk := response.read(CHUNK):
            with _report_write_errors(target):
                partial.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            yield Preparation(task, done // 1000, max(total, done) // 1000)
        if digest.hexdigest() != file.md5:
            raise ValueError(f"the download is not the published file: its MD5 is {digest.hexdigest()}, not {file.md5}")
        with _report_write_errors(target):
            partial.close()
            Path(partial.name).replace(target)


@contextmanager
def _temporary_file(target: Path) -> Iterator[BinaryIO]:
    """Open a temporary file next to the target; it is removed afterwards unless it was renamed."""
    path = target.with_name(f".{target.name}.{os.getpid()}.partial")
    with _report_write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("wb")
    try:
        with file:
            yield file
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _report_write_errors(target: Path) -> Iterator[None]:
    """Convert errors of the file system to DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write {target}: {error.strerror or error}; free some space, or choose another folder: "
            "--option data.root=FOLDER"
        ) from error


def _reason(error: Exception) -> str:
    """Describe in a few words why a server was not reached."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(getattr(reason, "strerror", None) or reason)
