"""Reading a log while it grows: only what was appended is read, and no reading is parsed before it is needed.

A log of 100,000 readings has 134 MB, and :meth:`~equipoise.runs.run.Run.lines` needs seconds for it. Here the readings
are only located: their lines are found by the form that :mod:`equipoise.runs.log` writes, and any other line is parsed.
The result is the same: lines that a later `resumed` or `started` line supersedes are left out, and an incomplete last
line is read when it is complete.
"""

import json
import os
import re
import threading
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

from equipoise.runs.log_lines import SENSED, TURNED, ReadingHeads, TurnRow, parse_readings, parse_turns
from equipoise.runs.migration import migrate_event
from equipoise.runs.run import EventLine

ORDERED = re.compile(rb'"(started|resumed|sensed|turned)"|\\u')
"""Part of the lines that remove others, and of readings and changes of a knob that have another form."""
CHUNK = 2**18
"""Bytes that are read at once."""
CHECKED = 64
"""Bytes before the end of what was read that must be unchanged; otherwise the log is read again from its start."""


@dataclass
class Readings:
    """Where the `sensed` lines are: step, images and seconds of each, and the offset and length of its line."""

    steps: "array[int]" = field(default_factory=lambda: array("q"))
    images: "array[int]" = field(default_factory=lambda: array("q"))
    seconds: "array[float]" = field(default_factory=lambda: array("d"))
    offsets: "array[int]" = field(default_factory=lambda: array("q"))
    lengths: "array[int]" = field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self.steps)

    def extend(self, heads: ReadingHeads, offsets: Sequence[int], lengths: Sequence[int]) -> None:
        """Append rows."""
        self.steps.extend(heads.steps)
        self.images.extend(heads.images)
        self.seconds.extend(heads.seconds)
        self.offsets.extend(offsets)
        self.lengths.extend(lengths)

    def keep(self, rows: Sequence[int]) -> None:
        """Keep some rows only, in order."""
        for name in ("steps", "images", "seconds", "offsets", "lengths"):
            old: array[float] = getattr(self, name)
            setattr(self, name, array(old.typecode, [old[row] for row in rows]))


class LiveLog:
    """The valid events of a log up to its last complete line. Call :meth:`refresh` to read what was appended.

    `readings`, `turns`: the `sensed` and `turned` lines. `lines`: all others, in order. `version`: grows whenever
    lines were removed, so that what was computed from them must be computed again. `problem`: the first damaged line,
    which is left out; "" if there is none. Methods may be called from several threads.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.RLock()
        self.version = 0
        self._clear_file()

    def _clear_file(self) -> None:
        self._identity: tuple[int, int] | None = None
        self.offset = 0
        self._end = b""
        self._count = self._damaged = 0
        self._clear_events()

    def _clear_events(self) -> None:
        self.readings = Readings()
        self.turns: list[TurnRow] = []
        self.lines: list[EventLine] = []
        self._odd: dict[int, EventLine] = {}
        self.step = self.images = 0
        self.version += 1

    @property
    def problem(self) -> str:
        """The first damaged line, which is left out, and what to do; "" if there is none."""
        return f"{self.path.name}, line {self._damaged}, is not an event; delete that line" if self._damaged else ""

    @property
    def size_in_memory(self) -> int:
        """Rough number of bytes that the events take."""
        return 40 * len(self.readings) + 150 * len(self.turns) + 1200 * (len(self.lines) + len(self._odd))

    def refresh(self) -> bool:
        """Read what was appended; return whether the events have changed. A log that is missing has no events.

        A log that became shorter, is another file or has other content is read again. Raises OSError if it cannot be
        read.
        """
        with self.lock:
            before = (self.version, self.offset)
            try:
                with self.path.open("rb", buffering=CHUNK) as file:
                    self._check_identity(file.fileno())
                    file.seek(self.offset)
                    self._read_from(file)
            except FileNotFoundError:
                if self._identity is not None:
                    self._clear_file()
            return before != (self.version, self.offset)

    def _check_identity(self, descriptor: int) -> None:
        """Forget everything if this is not the file that was read before, or not a continuation of it."""
        status = os.fstat(descriptor)
        identity = (status.st_dev, status.st_ino)
        is_same = identity == self._identity and status.st_size >= self.offset
        if is_same and self._end:
            os.lseek(descriptor, self.offset - len(self._end), os.SEEK_SET)
            is_same = os.read(descriptor, len(self._end)) == self._end
        if not is_same:
            if self._identity is not None:
                self._clear_file()
            self._identity = identity

    def _read_from(self, file: BinaryIO) -> None:
        rest = b""
        while lines := file.readlines(CHUNK):
            lines[0] = rest + lines[0]
            rest = b"" if lines[-1].endswith(b"\n") else lines.pop()
            if lines:
                self._add_lines(lines)
                self._end = b"".join(lines[-2:])[-CHECKED:]

    def _add_lines(self, lines: Sequence[bytes]) -> None:
        """Add complete lines with their line breaks; those of a kind at once, unless their order counts."""
        *offsets, end = accumulate(map(len, lines), initial=self.offset)
        kinds = [line[: len(SENSED)] for line in lines]
        others = [index for index, kind in enumerate(kinds) if kind not in (SENSED, TURNED)]
        if any(ORDERED.search(lines[index]) for index in others):
            groups = [[index] for index in range(len(lines))]
        else:
            groups = [[index for index, kind in enumerate(kinds) if kind == wanted] for wanted in (SENSED, TURNED)]
            groups += [[index] for index in others]
        for group in filter(None, groups):
            self._add_group(group, lines, offsets)
        self._count += len(lines)
        self.offset = end

    def _add_group(self, group: Sequence[int], lines: Sequence[bytes], offsets: Sequence[int]) -> None:
        """Add lines of one kind, by their indices; if one has not the form that the log writes, one by one."""
        chosen, places = [lines[index] for index in group], [offsets[index] for index in group]
        if chosen[0].startswith(SENSED):
            is_added = self._add_readings(chosen, places)
        else:
            is_added = chosen[0].startswith(TURNED) and self._add_turns(chosen, places)
        if not is_added and len(group) > 1:
            for index in group:
                self._add_group([index], lines, offsets)
        elif not is_added:
            self._add(chosen[0], places[0], self._count + group[0] + 1)

    def _add_readings(self, lines: Sequence[bytes], offsets: Sequence[int]) -> bool:
        heads = parse_readings(lines)
        if heads is None:
            return False
        self.readings.extend(heads, offsets, [len(line) - 1 for line in lines])
        self._add_step(max(heads.steps), max(heads.images))
        return True

    def _add_turns(self, lines: Sequence[bytes], offsets: Sequence[int]) -> bool:
        turns = parse_turns(lines, offsets)
        if turns is None:
            return False
        self.turns += turns.rows
        self._add_step(max(row.step for row in turns.rows), max(turns.images))
        return True

    def _add(self, line: bytes, offset: int, number: int) -> None:
        """Add a line of any form. `number`: of the line in the log, from 1."""
        try:
            event = migrate_event(json.loads(line))
            if not isinstance(event["event"], str) or type(event["step"]) is not int:
                raise TypeError("an event has a name and a number of steps")
            self._add_event(event, offset, len(line) - 1)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._damaged = min(number, self._damaged or number)

    def _add_event(self, event: EventLine, offset: int, length: int) -> None:
        kind, step = event["event"], event["step"]
        if kind == "started":
            self._clear_events()
        elif kind == "resumed":
            self._cut(step)
        images = event.get("images")
        if kind == "sensed":
            heads = ReadingHeads([step], [int(event["images"])], array("d", [float(event["seconds"])]))
            self.readings.extend(heads, [offset], [length])
            self._odd[offset] = event
        elif kind == "turned":
            values = (float(event["from"]), float(event["to"]))
            self.turns.append(TurnRow(step, str(event["knob"]), *values, str(event.get("by", "")), offset))
        else:
            self.lines.append(event)
        self._add_step(step, images if type(images) is int else 0)

    def _add_step(self, step: int, images: int) -> None:
        self.step = max(step, self.step)
        self.images = max(images, self.images)

    def _cut(self, step: int) -> None:
        """Remove what a run that was resumed from `step` does again."""
        rows = self.readings
        self.readings.keep([row for row in range(len(rows)) if rows.steps[row] <= step])
        self.turns = [turn for turn in self.turns if turn.step <= step]
        self.lines = [line for line in self.lines if line["step"] <= step and line["event"] != "finished"]
        offsets = set(self.readings.offsets)
        self._odd = {offset: event for offset, event in self._odd.items() if offset in offsets}
        self.step = min(step, self.step)
        self.images = max(
            (*self.readings.images, *(line["images"] for line in self.lines if type(line.get("images")) is int)),
            default=0,
        )
        self.version += 1

    def events(self, kind: str) -> list[EventLine]:
        """Return the lines of one kind, other than `sensed` and `turned`."""
        with self.lock:
            return [line for line in self.lines if line["event"] == kind]

    def read_readings(self, start: int = 0) -> Iterator[list[bytes]]:
        """Yield the lines of the readings from row `start` on, in lists. Raises OSError if the log cannot be read."""
        rows, row = self.readings, start
        if row >= len(rows):
            return
        with self.path.open("rb") as file:
            while row < len(rows):
                begin = rows.offsets[row]
                stop = max(row + 1, bisect_left(rows.offsets, begin + CHUNK, row))
                file.seek(begin)
                content = file.read(rows.offsets[stop - 1] + rows.lengths[stop - 1] - begin)
                places = zip(rows.offsets[row:stop], rows.lengths[row:stop], strict=True)
                lines = [content[offset - begin : offset - begin + length] for offset, length in places]
                yield self._as_written(lines, row) if self._odd else lines
                row = stop

    def _as_written(self, lines: list[bytes], row: int) -> list[bytes]:
        """Return lines with those of another form as the log would write them."""
        odd = (self._odd.get(offset) for offset in self.readings.offsets[row : row + len(lines)])
        return [line if event is None else json.dumps(event).encode() for line, event in zip(lines, odd, strict=True)]

    def reading(self, row: int) -> EventLine:
        """Parse one `sensed` line; `row` -1 is the last. Raises OSError, or ValueError for a damaged line."""
        with self.lock:
            row = row % len(self.readings)
            offset = self.readings.offsets[row]
            if offset in self._odd:
                return self._odd[offset]
            return self._parse_at(offset, self.readings.lengths[row])

    def reasons(self, turns: Sequence[TurnRow]) -> list[str]:
        """Return the reason of each change. Raises OSError if the log cannot be read."""
        result: list[str] = []
        if not turns:
            return result
        with self.path.open("rb") as file:
            for turn in turns:
                file.seek(turn.offset)
                try:
                    result.append(str(json.loads(file.readline()).get("why", "")))
                except ValueError:
                    result.append("")
        return result

    def last_lines(self, count: int) -> list[EventLine]:
        """Parse the last `count` complete lines of the file, whether superseded or not; damaged ones are left out."""
        if not self.offset:
            return []
        with self.path.open("rb") as file:
            end = self.offset
            start, content = end, b""
            while start > 0 and content.count(b"\n") <= count:
                start = max(0, start - 64 * 1024)
                file.seek(start)
                content = file.read(end - start)
        result: list[EventLine] = []
        for line in content.split(b"\n")[:-1][-count:]:
            try:
                result.append(migrate_event(json.loads(line)))
            except (ValueError, TypeError, AttributeError, RecursionError):
                continue
        return result

    def _parse_at(self, offset: int, length: int) -> EventLine:
        with self.path.open("rb") as file:
            file.seek(offset)
            return migrate_event(json.loads(file.read(length)))
