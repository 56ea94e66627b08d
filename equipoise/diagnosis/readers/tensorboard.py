"""TensorBoard's event files, read without TensorBoard: scalars by tag.

A file is a row of records (length 8 bytes, checksum 4, data, checksum 4), each an Event in protocol buffers' wire
format (event.proto, summary.proto, tensor.proto of TensorFlow): step = field 2, summary = 5, in it values = 1 with
tag = 1, simple_value = 2 or tensor = 8. Checksums are not looked at; a record that is cut short ends the file.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from equipoise.diagnosis.readers.columns import trace
from equipoise.diagnosis.trace import Trace

FILES = "*tfevents*"
HEADER, FOOTER = 12, 4
FLOAT, DOUBLE, HALF = 1, 2, 19
"""DataType of tensor.proto."""
FORMATS = {FLOAT: "<f", DOUBLE: "<d", HALF: "<e"}

Field = tuple[int, int | bytes]


def looks_like(content: bytes) -> bool:
    """Whether a file begins with a record that tells its version, as event files do."""
    if len(content) < HEADER or not 0 < (length := struct.unpack_from("<Q", content)[0]) < 1024:
        return False
    return content[HEADER : HEADER + length].find(b"brain.Event:") >= 0


def read(paths: Sequence[Path]) -> Trace:
    """The scalars of event files, in the order of their names, which is that of time."""
    columns: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for path in paths:
        for step, tag, value in scalars(path.read_bytes()):
            columns[tag].append((step, value))
    return trace("TensorBoard", {tag: tuple(zip(*rows, strict=True)) for tag, rows in columns.items()})  # type: ignore[misc]


def scalars(content: bytes) -> Iterator[tuple[int, str, float]]:
    """(step, tag, value) of every scalar in the bytes of an event file."""
    at = 0
    while at + HEADER <= len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        end = at + HEADER + length
        if end + FOOTER > len(content):
            return
        yield from _event(content[at + HEADER : end])
        at = end + FOOTER


def _event(data: bytes) -> Iterator[tuple[int, str, float]]:
    step, summaries = 0, []
    for number, value in _fields(data):
        if number == 2 and isinstance(value, int):
            step = value - (1 << 64) if value >= 1 << 63 else value
        elif number == 5 and isinstance(value, bytes):
            summaries.append(value)
    for summary in summaries:
        for number, value in _fields(summary):
            if number == 1 and isinstance(value, bytes):
                tag, scalar = _value(value)
                if scalar is not None:
                    yield step, tag, scalar


def _value(data: bytes) -> tuple[str, float | None]:
    tag, scalar = "", None
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            tag = value.decode(errors="replace")
        elif number == 2 and isinstance(value, bytes) and len(value) == 4:
            scalar = float(struct.unpack("<f", value)[0])
        elif number == 8 and isinstance(value, bytes):
            scalar = _tensor(value)
    return tag, scalar


def _tensor(data: bytes) -> float | None:
    """The number of a tensor that holds one: in tensor_content (4), float_val (5) or double_val (6)."""
    fields = dict(_fields(data))
    kind = fields.get(1, FLOAT)
    form = FORMATS.get(kind) if isinstance(kind, int) else None
    for number, code in ((4, form), (5, "<f"), (6, "<d")):
        value = fields.get(number)
        if code and isinstance(value, bytes) and len(value) == struct.calcsize(code):
            return float(struct.unpack(code, value)[0])
    return None


def _fields(data: bytes) -> Iterator[Field]:
    """(number, value) of each field of a message: an int for a varint, bytes for all else. Ends at damage."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            number, at = _varint(data, at)
            yield key >> 3, number
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            return
        if at + length > len(data):
            return
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in seven bits a byte, the lowest first, and where it ends."""
    number = shift = 0
    while at < len(data):
        byte = data[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128 or shift > 63:
            break
    return number, at
