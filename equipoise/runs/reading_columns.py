"""Columns of numbers from the readings of a log: signals and losses, read when they are needed and then kept."""

import json
import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from equipoise.runs.live_log import LiveLog

HEALTH = b', "health": '
"""What follows the signals in the line of a reading; the evidence of findings after it repeats names of signals."""
MARGIN = 64
"""Bytes by which the place of a number may move from line to line before the whole line is searched."""
NOWHERE = math.nan


@dataclass
class SignalColumn:
    """A signal, or a term of the loss, at each reading; NaN where it is missing.

    `low`, `high`: of a loss, its lowest and highest value over the steps since the reading before; empty for signals.
    """

    values: "array[float]" = field(default_factory=lambda: array("d"))
    low: "array[float]" = field(default_factory=lambda: array("d"))
    high: "array[float]" = field(default_factory=lambda: array("d"))


class ReadingColumns:
    """The columns of one log. Names with a dot, such as discriminator.total, are terms of the loss; others signals."""

    def __init__(self, log: LiveLog) -> None:
        self._log = log
        self._version = log.version
        self._columns: dict[str, SignalColumn] = {}
        self._names: dict[str, None] = {}
        self._named = 0

    @property
    def size_in_memory(self) -> int:
        """Number of bytes of the columns."""
        columns = self._columns.values()
        return 8 * sum(len(column.values) + len(column.low) + len(column.high) for column in columns)

    def read(self, names: Iterable[str]) -> dict[str, SignalColumn]:
        """Return the columns of some names, as long as the readings. Raises OSError if the log cannot be read."""
        with self._log.lock:
            self._forget_if_cut()
            names = list(dict.fromkeys(names))
            by_length: dict[int, list[str]] = {}
            for name in names:
                column = self._columns.setdefault(name, SignalColumn())
                by_length.setdefault(len(column.values), []).append(name)
            for start, group in by_length.items():
                for lines in self._log.read_readings(start):
                    ends = _signal_ends(lines)
                    for name in group:
                        _extend(self._columns[name], name, lines, ends)
            return {name: self._columns[name] for name in names}

    def names(self) -> list[str]:
        """Return the names of the losses and signals that some readings have: of the first, the latest, and a sample.

        A name that few readings have is known once one of those is among them.
        """
        with self._log.lock:
            self._forget_if_cut()
            count = len(self._log.readings)
            if count != self._named:
                stride = max(1, count // 40)
                rows = {0, *range(0, count, stride), *range(max(0, count - 10), count)} if count else set()
                for row in sorted(row for row in rows if row >= self._named - 10):
                    self._add_names(row)
                self._named = count
            return list(self._names)

    def _add_names(self, row: int) -> None:
        try:
            line = self._log.reading(row)
        except ValueError:
            return
        for key in ("loss", "signals"):
            values = line.get(key)
            if isinstance(values, dict):
                names = (name for name, value in values.items() if name != "metrics" and value is not None)
                self._names.update(dict.fromkeys(names))
        if line.get("reward") is not None:
            self._names["reward"] = None

    def _forget_if_cut(self) -> None:
        if self._version != self._log.version:
            self._version = self._log.version
            self._columns.clear()
            self._named = 0


def _signal_ends(lines: Sequence[bytes]) -> list[int]:
    """Return where the signals of each line end."""
    result, hint = [], 0
    for line in lines:
        end = line.find(HEALTH, hint)
        if end < 0:
            end = line.find(HEALTH)
        result.append(end if end >= 0 else len(line))
        hint = max(0, end - 4 * MARGIN)
    return result


def _extend(column: SignalColumn, name: str, lines: Sequence[bytes], ends: Sequence[int]) -> None:
    """Append the numbers of some lines."""
    key = json.dumps(name).encode() + b": "
    if name == "reward":  # after the health, at the end of the line
        column.values.extend(_number(line, line.rfind(key) + len(key)) if key in line else NOWHERE for line in lines)
    elif "." in name:
        _extend_loss(column, key + b'{"mean": ', lines, ends)
    else:
        _extend_signal(column.values, key, lines, ends)


def _extend_signal(values: "array[float]", key: bytes, lines: Sequence[bytes], ends: Sequence[int]) -> None:
    size, hint, append = len(key), 0, values.append
    for line, end in zip(lines, ends, strict=True):
        place = line.find(key, hint, end)
        if place < 0:
            place = line.find(key, 0, end)
            if place < 0:
                append(NOWHERE)
                continue
        hint = place - MARGIN if place > MARGIN else 0
        begin = place + size
        try:
            append(float(line[begin : line.find(b",", begin)]))
        except ValueError:
            append(_number(line, begin))


def _extend_loss(column: SignalColumn, key: bytes, lines: Sequence[bytes], ends: Sequence[int]) -> None:
    size, hint = len(key), 0
    for line, end in zip(lines, ends, strict=True):
        place = line.find(key, hint, end)
        if place < 0:
            place = line.find(key, 0, end)
        numbers = (NOWHERE, NOWHERE, NOWHERE)
        if place >= 0:
            hint = max(0, place - MARGIN)
            begin = place + size
            numbers = _statistics(line[begin : line.find(b"}", begin)])
        column.values.append(numbers[0])
        column.low.append(numbers[1])
        column.high.append(numbers[2])


def _statistics(text: bytes) -> tuple[float, float, float]:
    """Parse mean, minimum and maximum of a loss: `0.5, "min": 0.4, "max": 0.6, "last": 0.5`."""
    parts = text.split(b", ")
    try:
        return float(parts[0]), float(parts[1][7:]), float(parts[2][7:])
    except (ValueError, IndexError):
        mean = _number(text, 0)
        return mean, mean, mean


def _number(line: bytes, begin: int) -> float:
    """Parse the number at a place, also one at the end of an object or in quotes, such as "nan"; NaN for others."""
    text = line[begin : begin + 40].split(b",")[0].split(b"}")[0].strip(b'" ')
    try:
        return float(text)
    except ValueError:
        return NOWHERE
