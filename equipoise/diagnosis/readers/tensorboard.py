"""Reader of the scalars in TensorBoard event files. Does not need TensorBoard.

A file is a sequence of records (length 8 bytes, checksum 4, data, checksum 4), each an Event in protocol buffers' wire
format (event.proto, summary.proto, tensor.proto of TensorFlow): step = field 2, summary = 5, in it values = 1 with
tag = 1, simple_value = 2 or tensor = 8. Checksums are not verified; a truncated record ends the file.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence

from equipoise.diagnosis.log_file import LogFile
from equipoise.diagnosis.training_log import TrainingLog

__all__ = ["TensorBoard"]

HEADER, FOOTER = 12, 4
FLOAT, DOUBLE, HALF = 1, 2, 19
"""DataType of tensor.proto."""
FORMATS = {FLOAT: "<f", DOUBLE: "<d", HALF: "<e"}

Field = tuple[int, int | bytes]


class TensorBoard:
    """Reads the scalars of event files, in the order of the file names, which is chronological."""

    name = "TensorBoard"
    contents = "event files or a folder of them; TensorBoard is not needed"
    order = 10
    folder_files: tuple[str, ...] = ("*tfevents*",)

    def read(self, files: Sequence[LogFile]) -> TrainingLog | None:
        """Read all scalars of the files."""
        if not any(is_event_file(file.content) for file in files):
            return None
        steps: dict[str, list[int]] = defaultdict(list)
        values: dict[str, list[float]] = defaultdict(list)
        for file in files:
            for step, tag, value in scalars(file.content):
                steps[tag].append(step)
                values[tag].append(value)
        return TrainingLog.from_columns(self.name, {tag: (steps[tag], values[tag]) for tag in steps})


def is_event_file(content: bytes) -> bool:
    """Return whether a file begins with a record of its version, as event files do."""
    if len(content) < HEADER or not 0 < (length := struct.unpack_from("<Q", content)[0]) < 1024:
        return False
    return content[HEADER : HEADER + length].find(b"brain.Event:") >= 0


def scalars(content: bytes) -> Iterator[tuple[int, str, float]]:
    """Yield (step, tag, value) of every scalar in the content of an event file."""
    at = 0
    while at + HEADER <= len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        end = at + HEADER + length
        if end + FOOTER > len(content):
            return
        yield from _event_scalars(content[at + HEADER : end])
        at = end + FOOTER


def _event_scalars(data: bytes) -> Iterator[tuple[int, str, float]]:
    step, summaries = 0, []
    for number, value in _message_fields(data):
        if number == 2 and isinstance(value, int):
            step = value - (1 << 64) if value >= 1 << 63 else value
        elif number == 5 and isinstance(value, bytes):
            summaries.append(value)
    for summary in summaries:
        for number, value in _message_fields(summary):
            if number == 1 and isinstance(value, bytes):
                tag, scalar = _summary_value(value)
                if scalar is not None:
                    yield step, tag, scalar


def _summary_value(data: bytes) -> tuple[str, float | None]:
    tag, scalar = "", None
    for number, value in _message_fields(data):
        if number == 1 and isinstance(value, bytes):
            tag = value.decode(errors="replace")
        elif number == 2 and isinstance(value, bytes) and len(value) == 4:
            scalar = float(struct.unpack("<f", value)[0])
        elif number == 8 and isinstance(value, bytes):
            scalar = _tensor_value(value)
    return tag, scalar


def _tensor_value(data: bytes) -> float | None:
    """Return the number of a tensor with one element: tensor_content (4), float_val (5) or double_val (6)."""
    fields = dict(_message_fields(data))
    kind = fields.get(1, FLOAT)
    content_format = FORMATS.get(kind) if isinstance(kind, int) else None
    for number, code in ((4, content_format), (5, "<f"), (6, "<d")):
        value = fields.get(number)
        if code and isinstance(value, bytes) and len(value) == struct.calcsize(code):
            return float(struct.unpack(code, value)[0])
    return None


def _message_fields(data: bytes) -> Iterator[Field]:
    """Yield (number, value) of each field of a message: an int for a varint, else bytes. Stops at damaged data."""
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
    """Return a number stored as seven bits per byte, lowest first, and the position after it."""
    number = shift = 0
    while at < len(data):
        byte = data[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128 or shift > 63:
            break
    return number, at
