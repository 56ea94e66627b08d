"""Reader of the scalars in TensorBoard event files. Does not need TensorBoard.

A file is a sequence of records (length 8 bytes, checksum 4, data, checksum 4), each an Event in protocol buffers' wire
format (event.proto, summary.proto, tensor.proto of TensorFlow): step = field 2, summary = 5, in it values = 1 with
tag = 1, simple_value = 2 or tensor = 8. Checksums are not verified; a truncated record ends the file.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from equipoise.core.printing import printable
from equipoise.diagnosis.logs.column_builder import ColumnBuilder
from equipoise.diagnosis.logs.log_columns import Column, LogColumns
from equipoise.diagnosis.logs.log_file import LogFile
from equipoise.errors import DataError

__all__ = ["TensorBoard"]

HEADER, FOOTER = 12, 4
MAX_RECORD = 2**16
"""Largest record that is parsed; images, histograms and graphs are larger than scalars, and are skipped."""
FLOAT, DOUBLE, HALF = 1, 2, 19
"""DataType of tensor.proto."""
FORMATS = {FLOAT: "<f", DOUBLE: "<d", HALF: "<e"}
STEP, TIME = "step", "wall time"
OWN_COUNTER = 5
"""Quotient of the steps of two tags at the same time from which they do not count the same."""

Field = tuple[int, int | bytes]


class Scalar(NamedTuple):
    """A scalar of an event file; `time` in seconds since 1970."""

    step: int
    tag: str
    value: float
    time: float


class TensorBoard:
    """Reads the scalars of event files, in the order of the file names, which is chronological."""

    name = "TensorBoard"
    contents = "event files or a folder of them; TensorBoard is not needed"
    order = 10
    folder_files: tuple[str, ...] = ("*tfevents*",)

    def read(self, files: Sequence[LogFile]) -> LogColumns | None:
        """Read all scalars of the files. Raises DataError if event files hold none."""
        event_files = [file for file in files if is_event_file(file.head_bytes)]
        if not event_files:
            return None
        builder, last, notes = ColumnBuilder(), None, list[str]()
        for file in event_files:
            reader, folder = EventRecords(file.chunks()), file.path.absolute().parent.name
            for step, tag, value, time in reader.scalars():
                if last is not None and step != last:
                    builder.end_row()
                last = step
                builder.add(STEP, step)
                builder.add(TIME, time)
                builder.add(_column_name(tag, folder), value)
            if reader.is_truncated:
                notes.append(f"{file.path.name} is truncated; the records before its end are read.")
        if last is None:
            raise DataError("the event files hold no scalars; write losses and metrics with add_scalar")
        builder.end_row()
        columns = _sort_rows(builder.build(), builder.row_count)
        notes += _place_by_time(columns)
        notes += builder.notes("event")
        return LogColumns(self.name, columns, builder.row_count, "event", notes=tuple(notes), stride=builder.stride)


def _column_name(tag: str, folder: str) -> str:
    """Return the name of a scalar: its tag, or the folder loss_D that add_scalars made for its tag "loss"."""
    return folder if folder.startswith(f"{tag.replace('/', '_')}_") else tag


def _sort_rows(columns: Mapping[str, Column], row_count: int) -> dict[str, Column]:
    """Sort the rows of several files by time, which is not needed for files that follow each other."""
    times = np.zeros(row_count)
    times[columns[TIME].rows] = columns[TIME].values
    if (np.diff(times) >= 0).all():
        return dict(columns)
    place = np.empty(row_count, np.int64)
    place[np.argsort(times, kind="stable")] = np.arange(row_count)
    result = {}
    for name, (rows, values) in columns.items():
        order = np.argsort(place[rows])
        result[name] = Column(place[rows][order], values[order])
    return result


def _place_by_time(columns: dict[str, Column]) -> Iterator[str]:
    """Remove the steps of tags with a counter of their own, such as FID by epoch where losses are by iteration.

    The rows then get the step of the rows before them. Yields a note on each such tag.
    """
    rows, steps = columns[STEP]
    tags = [name for name in columns if name not in (STEP, TIME)]
    if not len(rows):
        return
    top = {tag: steps[np.searchsorted(rows, columns[tag].rows)].max() for tag in tags}
    main = max(tags, key=lambda tag: (top[tag], len(columns[tag].rows)))
    main_rows = columns[main].rows
    foreign = np.zeros(len(rows), bool)
    for tag in tags:
        own = columns[tag].rows
        last = np.searchsorted(main_rows, own, "right") - 1
        own_steps = steps[np.searchsorted(rows, own)]
        main_steps = np.where(last >= 0, steps[np.searchsorted(rows, main_rows[np.maximum(last, 0)])], 0)
        counted = own_steps > 0
        if counted.any() and np.median(main_steps[counted] / own_steps[counted]) > OWN_COUNTER:
            foreign[np.searchsorted(rows, own)] = True
            yield (
                f"{printable(tag)} is counted to {own_steps.max():,.0f} where {printable(main)} is counted to "
                f"{top[main]:,.0f}: it is placed by its time."
            )
    foreign[np.searchsorted(rows, main_rows)] = False
    if foreign.any():
        columns[STEP] = Column(rows[~foreign], steps[~foreign])


def is_event_file(content: bytes) -> bool:
    """Return whether a file begins with a record of its version, as event files do."""
    if len(content) < HEADER or not 0 < (length := struct.unpack_from("<Q", content)[0]) < 1024:
        return False
    return content[HEADER : HEADER + length].find(b"brain.Event:") >= 0


class EventRecords:
    """The records of an event file that comes in chunks. `is_truncated`: whether it ends within a record."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.is_truncated = False
        self._chunks = chunks
        self._data = bytearray()
        self._at = 0

    def scalars(self) -> Iterator[Scalar]:
        """Yield every scalar."""
        while self._load(HEADER):
            (length,) = struct.unpack_from("<Q", self._data, self._at)
            if length > MAX_RECORD:
                if not self._skip(HEADER + length + FOOTER):
                    return
                continue
            if not self._load(HEADER + length + FOOTER):
                break
            begin = self._at + HEADER
            yield from _event_scalars(bytes(self._data[begin : begin + length]))
            self._at = begin + length + FOOTER
        self.is_truncated = self._at < len(self._data)

    def _load(self, count: int) -> bool:
        """Make `count` bytes available; False at the end of the file."""
        while len(self._data) - self._at < count:
            chunk = next(self._chunks, b"")
            if not chunk:
                return False
            del self._data[: self._at]
            self._at = 0
            self._data += chunk
        return True

    def _skip(self, count: int) -> bool:
        """Move over `count` bytes, which need not fit into memory; False at the end of the file."""
        while count > len(self._data) - self._at:
            count -= len(self._data) - self._at
            self._data, self._at = bytearray(next(self._chunks, b"")), 0
            if not self._data:
                self.is_truncated = True
                return False
        self._at += count
        return True


def _event_scalars(data: bytes) -> Iterator[Scalar]:
    step, time, summaries = 0, 0.0, []
    for number, value in _message_fields(data):
        if number == 2 and isinstance(value, int):
            step = value - (1 << 64) if value >= 1 << 63 else value
        elif number == 5 and isinstance(value, bytes):
            summaries.append(value)
        elif number == 1 and isinstance(value, bytes) and len(value) == 8:
            (time,) = struct.unpack("<d", value)
    for summary in summaries:
        for number, value in _message_fields(summary):
            if number == 1 and isinstance(value, bytes):
                tag, scalar = _summary_value(value)
                if scalar is not None:
                    yield Scalar(step, tag, scalar, time)


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
