"""Members of zip and tar archives as items, read in place: nothing is unpacked into a folder.

A compressed tar cannot be read at any position: it is decompressed once into an anonymous temporary file, which the
system removes with the process.
"""

import bz2
import gzip
import lzma
import re
import struct
import tarfile
import threading
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import BufferedIOBase, BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, BinaryIO, NamedTuple

from equipoise.core.files import ZIP_ENDINGS, ending, is_junk
from equipoise.data._files.listing import File
from equipoise.data._files.sources import Source
from equipoise.errors import DataError

MAX_MEMBER = 2**30
"""Largest size of a member in bytes: bounds the memory that a decompression bomb takes."""
ZIP_START = b"PK"
"""First bytes of a zip, also of an empty one, unless a program precedes it."""
ENCRYPTED = 0x1
"""Bit of the flags of a zip member (APPNOTE.TXT, 4.4.4)."""
OUTSIDE = "its path leads out of the archive"
TOO_LARGE = f"larger than {MAX_MEMBER // 2**30} GiB"
ERRORS = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError),
    *(RuntimeError, NotImplementedError, ValueError, OverflowError),
)
"""What zipfile and tarfile raise for invalid bytes, besides OSError."""
CHUNK = 2**20
DECOMPRESSORS: Mapping[bytes, Callable[[Path], BufferedIOBase]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
"""First bytes of a compressed file -> what opens it for reading, decompressed."""


def open_archive(path: Path) -> Source:
    """Return all members of a .zip or .tar, compressed or not, that are files, sorted by path, except junk.

    The first bytes decide which of them it is: a .zip may be a .tar.gz that somebody renamed.

    Members whose paths lead out of the archive, that are encrypted or too large are left out with the reason. Raises
    DataError for an archive that is damaged, encrypted, or holds no file.
    """
    with _archive_errors(path):
        source = _open_zip(path) if _is_zip(path) else _open_tar(path)
    if not source.files:
        if source.left_out and set(source.left_out.values()) == {"encrypted"}:
            raise DataError(f"{path} is encrypted; unpack it with its password, and give the folder")
        raise DataError(f"{path} contains no file that can be read; give an archive of images")
    return source


@contextmanager
def _archive_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, *ERRORS) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from error
        raise DataError(f"{path} is damaged, or no archive of this kind; copy or pack it again") from error


def _is_zip(path: Path) -> bool:
    """Return whether a file is a zip, by its first bytes; by its extension if these are of no known archive."""
    with path.open("rb") as file:
        if file.read(len(ZIP_START)) == ZIP_START:
            return True
    return ending(path.name) in ZIP_ENDINGS and _decompressor(path) is None and not tarfile.is_tarfile(path)


def member_path(name: str) -> str | None:
    """Return the path of a member, with slashes; None if it is absolute or leads out of the archive."""
    path = name.replace("\\", "/")
    if path.startswith("/") or re.match(r"[A-Za-z]:", path) or "\0" in path:
        return None
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return None if ".." in parts or not parts else "/".join(parts)


def _open_zip(path: Path) -> Source:
    archive = zipfile.ZipFile(path)
    files, left_out, members = [], {}, {}
    for info in archive.infolist():
        if info.is_dir():
            continue
        name = member_path(info.filename)
        reason = OUTSIDE if name is None else _zip_reason(info)
        if name is None or reason:
            left_out[name or info.filename] = reason
        elif not is_junk(name):
            members[name] = info  # as unzip does, the last of several members of one name is used
            files.append(File(name, info.file_size, info.CRC))
    unique = {file.path: file for file in files}
    return Source(path, tuple(sorted(unique.values())), ZipStorage(archive, members), left_out)


def _zip_reason(info: zipfile.ZipInfo) -> str:
    """Return why a member cannot be read; empty if it can."""
    if info.flag_bits & ENCRYPTED:
        return "encrypted"
    return TOO_LARGE if info.file_size > MAX_MEMBER else ""


@dataclass(frozen=True, slots=True)
class ZipStorage:
    """Members of a zip, by path."""

    archive: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]

    def open(self, path: str) -> BinaryIO:
        """Open a member. Raises DataError if it is damaged, or compressed by a method that Python cannot read."""
        try:
            with self.archive.open(self.members[path]) as file:
                return BytesIO(file.read(MAX_MEMBER))
        except NotImplementedError as error:
            raise DataError("compressed by an uncommon method; pack the archive again") from error
        except (OSError, *ERRORS) as error:
            raise DataError("damaged in the archive") from error


class Extent(NamedTuple):
    """Position of a member in a tar, in bytes."""

    offset: int
    size: int


def _open_tar(path: Path) -> Source:
    files: dict[str, File] = {}
    left_out: dict[str, str] = {}
    extents: dict[str, Extent] = {}
    modified, decompress = path.stat().st_mtime_ns, _decompressor(path)
    with (decompress or _open_plain)(path) as plain, tarfile.open(fileobj=plain, mode="r:") as archive:
        for info in archive:
            name = member_path(info.name)
            if info.isdir() or (name is not None and is_junk(name)):
                continue
            target = member_path(info.linkname) if info.islnk() else None
            if name is not None and target in files:  # another name of the same file
                files[name], extents[name] = files[target]._replace(path=name), extents[target]
            elif reason := OUTSIDE if name is None else _tar_reason(info):
                left_out[name or info.name] = reason
            elif name is not None:
                files[name] = File(name, info.size, modified)
                extents[name] = Extent(info.offset_data, info.size)
    storage = TarStorage(path, extents) if decompress is None else CompressedTarStorage(path, extents, decompress)
    return Source(path, tuple(sorted(files.values())), storage, left_out)


def _open_plain(path: Path) -> BufferedIOBase:
    return path.open("rb")


def _decompressor(path: Path) -> Callable[[Path], BufferedIOBase] | None:
    with path.open("rb") as file:
        start = file.read(8)
    return next((decompress for first, decompress in DECOMPRESSORS.items() if start.startswith(first)), None)


def _tar_reason(info: tarfile.TarInfo) -> str:
    """Return why a member cannot be read; empty if it can."""
    if not info.isreg() or info.issparse():
        return "a link, a device or a sparse file"
    return TOO_LARGE if info.size > MAX_MEMBER else ""


@dataclass(frozen=True, slots=True)
class TarStorage:
    """Members of an uncompressed tar, by path."""

    path: Path
    extents: dict[str, Extent]

    def open(self, path: str) -> BinaryIO:
        """Open a member. Raises OSError, DataError if the archive was truncated."""
        with self.path.open("rb") as file:
            return _read_extent(file, self.extents[path])


@dataclass(slots=True, weakref_slot=True)
class CompressedTarStorage:
    """Members of a compressed tar, by path. The first read decompresses the archive into a temporary file."""

    path: Path
    extents: dict[str, Extent]
    decompress: Callable[[Path], BufferedIOBase]
    plain: IO[bytes] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, path: str) -> BinaryIO:
        """Open a member. Raises DataError if the archive is damaged, or the disk of temporary files is full."""
        with self.lock:
            if self.plain is None:
                self.plain = self._to_temporary_file()
                weakref.finalize(self, self.plain.close)
            return _read_extent(self.plain, self.extents[path])

    def __del__(self) -> None:
        if self.plain is not None:
            self.plain.close()

    def _to_temporary_file(self) -> IO[bytes]:
        """Decompress up to the end of the last member."""
        end = max(extent.offset + extent.size for extent in self.extents.values())
        try:
            with ExitStack() as stack:
                plain = stack.enter_context(TemporaryFile())
                with self.decompress(self.path) as compressed:
                    while plain.tell() < end and (chunk := compressed.read(min(CHUNK, end - plain.tell()))):
                        plain.write(chunk)
                stack.pop_all()
                return plain
        except (OSError, *ERRORS) as error:
            raise DataError(f"cannot be decompressed into a temporary file ({error}); unpack the archive") from error


def _read_extent(file: IO[bytes], extent: Extent) -> BinaryIO:
    file.seek(extent.offset)
    content = file.read(extent.size)
    if len(content) < extent.size:
        raise DataError("truncated in the archive")
    return BytesIO(content)
