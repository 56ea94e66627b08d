"""Messages between the studio and its explorer: a table of JSON values and bytes, with their lengths in front.

4 bytes: length of the JSON, 4 bytes: length of the content, both big-endian; the JSON; the content.
"""

import asyncio
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

_LENGTHS = struct.Struct(">II")
MAX_BYTES = 2**28
"""Longest part of a message."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A message. `values`: JSON values. `content`: bytes, such as a picture."""

    values: Mapping[str, object] = field(default_factory=dict)
    content: bytes = b""

    def encode(self) -> bytes:
        """Return the bytes of the message."""
        text = json.dumps(self.values, ensure_ascii=False).encode("utf-8", "backslashreplace")
        return _LENGTHS.pack(len(text), len(self.content)) + text + self.content


def read_frame(stream: BinaryIO) -> Frame | None:
    """Read a message; None at the end of the stream."""
    head = stream.read(_LENGTHS.size)
    if len(head) < _LENGTHS.size:
        return None
    lengths = _checked_lengths(head)
    parts = [stream.read(length) for length in lengths]
    return None if list(map(len, parts)) != list(lengths) else Frame(json.loads(parts[0]), parts[1])


async def receive_frame(stream: asyncio.StreamReader) -> Frame | None:
    """Read a message; None at the end of the stream."""
    try:
        first, second = _checked_lengths(await stream.readexactly(_LENGTHS.size))
        text, content = await stream.readexactly(first), await stream.readexactly(second)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return Frame(json.loads(text), content)


def _checked_lengths(head: bytes) -> tuple[int, int]:
    first, second = _LENGTHS.unpack(head)
    if max(first, second) > MAX_BYTES:
        raise ValueError(f"a message of {max(first, second):,} bytes")
    return first, second
