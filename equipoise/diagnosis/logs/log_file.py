"""A file or stream that may be a log: its first mebibyte, its text in blocks of whole lines, and what was wrong.

Readers never hold a whole text log in memory: they decide by `head`, then go through `text_blocks`.
"""

import errno
import io
import os
import shutil
import tempfile
import weakref
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import IO, BinaryIO

from equipoise.diagnosis.logs.text_decoding import TextDecoder, clean_lines, describe_binary, detect_encoding
from equipoise.errors import DataError

HEAD_BYTES = 2**20
"""Number of decompressed bytes by which readers recognise a format, and of bytes that are read at once."""
MAX_BYTES = 4 * 2**30
"""Largest decompressed size of a log."""
DAMAGE_BYTES = 64
"""Number of compressed bytes before the damage of a file that are lost with it."""
GZIP = b"\x1f\x8b"


class LogFile:
    """A file that may be a log, decompressed and decoded while it is read.

    `path` names it in messages and finds the files next to it. `problems`: full sentences on what could not be read,
    such as a truncated .gz file; complete once everything has been read. All members that read raise DataError if the
    file does not exist or cannot be read, and those that return text also if the file is not a text.
    """

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        self.path = path
        self.problems: list[str] = []
        self._stream: IO[bytes] | None = None
        if content is not None:
            self._stream = io.BytesIO(content)

    @classmethod
    def from_stream(cls, name: str, stream: BinaryIO) -> "LogFile":
        """Copy a stream that can be read only once, such as standard input; to a temporary file."""
        file = cls(Path(name), b"")
        with ExitStack() as opened:
            copy = opened.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(stream, copy, HEAD_BYTES)
            opened.pop_all()
        file._stream = copy
        weakref.finalize(file, copy.close)
        return file

    def close(self) -> None:
        """Delete the temporary file that a stream was copied to."""
        if self._stream is not None:
            self._stream.close()

    @cached_property
    def head_bytes(self) -> bytes:
        """The first HEAD_BYTES decompressed bytes; all, if the file is smaller."""
        head = b""
        for chunk in self.chunks():
            head += chunk
            if len(head) >= HEAD_BYTES:
                break
        return head[:HEAD_BYTES]

    @property
    def content(self) -> bytes:
        """All decompressed bytes, for binary formats: test `head_bytes` before."""
        return b"".join(self.chunks())

    @cached_property
    def head(self) -> str:
        """The text of the first HEAD_BYTES, up to the last whole line; of a longer line, its beginning."""
        if b"\n" in self.head_bytes or b"\r" in self.head_bytes or len(self.head_bytes) < HEAD_BYTES:
            return next(self.text_blocks(), "")
        self._refuse_binary()
        return clean_lines(TextDecoder(detect_encoding(self.head_bytes)).decode(self.head_bytes))

    @property
    def text(self) -> str:
        """The whole text, without a last line that lacks its end, unless that is the only one."""
        text = "".join(self.text_blocks())
        return text[: text.rfind("\n") + 1] or text

    def text_blocks(self) -> Iterator[str]:
        """Yield the text in blocks of whole lines that end in "\\n"; only the last line of all may lack it.

        UTF-8 or UTF-16; undecodable bytes are replaced; "\\r\\n" and a lone "\\r" become "\\n"; NUL characters,
        backspaces and ANSI escape sequences are removed.
        """
        self._refuse_binary()
        decoder = TextDecoder(detect_encoding(self.head_bytes))
        parts: list[str] = []
        for chunk in self.chunks():
            text = decoder.decode(chunk)
            end = text.rfind("\n") + 1
            if end:
                yield clean_lines("".join((*parts, text[:end])))
                parts = []
            parts.append(text[end:])
        last = "".join((*parts, decoder.decode(b"", final=True)))
        if decoder.undecodable:
            self._add_problem(f"{decoder.undecodable:,} undecodable bytes were replaced.")
        if decoder.nul:
            self._add_problem(f"{decoder.nul:,} NUL characters were removed.")
        if last:
            yield clean_lines(last)

    def chunks(self) -> Iterator[bytes]:
        """Yield the decompressed bytes, at most about HEAD_BYTES at once. Raises DataError beyond MAX_BYTES."""
        size = 0
        for chunk in self._decompressed_chunks():
            size += len(chunk)
            if size > MAX_BYTES:
                raise DataError(
                    f"{self.path} has more than {MAX_BYTES >> 30} GiB of text; keep every tenth line of it, or only "
                    "the lines with losses and metrics"
                )
            yield chunk

    def _decompressed_chunks(self) -> Iterator[bytes]:
        chunks = self._raw_chunks()
        first = next(chunks, b"")
        if first.startswith(GZIP):
            yield from self._decompress(first, chunks)
        elif first:
            yield first
            yield from chunks

    def _raw_chunks(self) -> Iterator[bytes]:
        try:
            if self._stream is not None:
                position = 0
                while chunk := self._read_at(self._stream, position):
                    position += len(chunk)
                    yield chunk
                return
            with self.path.open("rb") as file:
                while chunk := file.read(HEAD_BYTES):
                    yield chunk
                    if not chunk.strip(b"\0"):
                        skip_hole(file)
        except FileNotFoundError as error:
            raise DataError(f"{self.path} does not exist; use the path of a run folder or of a log") from error
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}") from error

    @staticmethod
    def _read_at(stream: IO[bytes], position: int) -> bytes:
        stream.seek(position)
        return stream.read(HEAD_BYTES)

    def _decompress(self, data: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the decompressed bytes of all members; of a damaged file, those that precede the damage."""
        member = zlib.decompressobj(wbits=31)
        while True:
            before = member.copy()
            try:
                yield member.decompress(data, HEAD_BYTES)
            except zlib.error:
                yield _decompress_up_to_damage(before, data)
                self._add_problem("The .gz file is damaged; what precedes the damage was read.")
                return
            if not member.eof:
                data = member.unconsumed_tail or next(chunks, b"")
                if not data and (rest := member.flush()):
                    yield rest
                if not data:
                    self._add_problem("The .gz file is truncated; what it contains was read.")
                    return
                continue
            data = member.unused_data.lstrip(b"\0") or next(chunks, b"").lstrip(b"\0")
            if not data:
                return
            if not data.startswith(GZIP[: len(data)]):
                self._add_problem("The .gz file is followed by other bytes, which were ignored.")
                return
            member = zlib.decompressobj(wbits=31)

    def _refuse_binary(self) -> None:
        if description := describe_binary(self.head_bytes):
            raise DataError(
                f"{self.path} is not a text file ({description}); use the log that the program printed or saved"
            )

    def _add_problem(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


def _decompress_up_to_damage(member: "zlib._Decompress", data: bytes) -> bytes:
    """Return what a damaged part of a .gz file holds before the damage."""
    result = b""
    for start in range(0, len(data), DAMAGE_BYTES):
        try:
            result += member.decompress(data[start : start + DAMAGE_BYTES])
        except zlib.error:
            break
    return result


def skip_hole(file: IO[bytes]) -> None:
    """Move to the next data in a sparse file, to the end if there are none; nothing where the system cannot tell."""
    if not hasattr(os, "SEEK_DATA"):
        return
    try:
        file.seek(os.lseek(file.fileno(), file.tell(), os.SEEK_DATA))
    except OSError as error:
        if error.errno == errno.ENXIO:
            file.seek(0, os.SEEK_END)
