"""Columns of numbers from the readings of a log: signals and losses, read when they are needed and then kept."""

import json
import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from equipoise.runs.live_log import LiveLog

LOSSES, SIGNALS, HEALTH = b', "loss": {', b', "signals": {', b', "health": '
"""Where the parts of the line of a reading begin. The evidence of findings repeats names of signals after them."""
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
                    self._extend(group, lines)
            return {name: self._columns[name] for name in names}

    def _extend(self, names: Sequence[str], lines: Sequence[bytes]) -> None:
        """Append the numbers of some lines to some columns of the same length."""
        signals = _split(lines, SIGNALS, HEALTH)
        losses = _split(lines, LOSSES, SIGNALS) if any("." in name for name in names) else []
        for name in names:
            column, key = self._columns[name], json.dumps(name).encode() + b": "
            if name == "reward":  # after the health, at the end of the line
                column.values.extend(_reward(line, key) for line in lines)
            elif "." in name:
                _extend_loss(column, key, losses)
            else:
                _extend_signal(column.values, key, signals)

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


def _split(lines: Sequence[bytes], begin: bytes, end: bytes) -> list[list[bytes]]:
    """Return the items of one object of each line: those between `begin` and `end`, at their commas."""
    result, hint = [], 0
    for line in lines:
        start = line.find(begin, hint)
        if start < 0:
            start = line.find(begin)
        stop = line.find(end, start)
        hint = max(0, start - MARGIN)
        result.append(line[start + len(begin) : stop if stop >= 0 else None].split(b", ") if start >= 0 else [])
    return result


def _extend_signal(values: "array[float]", key: bytes, rows: Sequence[Sequence[bytes]]) -> None:
    """Append the number after `key` of each row. It is mostly where it was in the row before."""
    size, place, append = len(key), 0, values.append
    for items in rows:
        if place >= len(items) or not items[place].startswith(key):
            place = _place(items, key)
            if place >= len(items):
                append(NOWHERE)
                continue
        try:
            append(float(items[place][size:]))
        except ValueError:
            append(_number(items[place], size))


def _extend_loss(column: SignalColumn, key: bytes, rows: Sequence[Sequence[bytes]]) -> None:
    """Append mean, minimum and maximum of a term: the items `"G.total": {"mean": 0.5`, `"min": 0.4`, `"max": 0.6`."""
    key += b'{"mean": '
    size, place = len(key), 0
    for items in rows:
        if place >= len(items) or not items[place].startswith(key):
            place = _place(items, key)
        numbers = (NOWHERE, NOWHERE, NOWHERE)
        if place < len(items):
            try:
                low, high = items[place + 1 : place + 3]
                numbers = float(items[place][size:]), float(low[7:]), float(high[7:])
            except ValueError:
                mean = _number(items[place], size)
                numbers = mean, mean, mean
        column.values.append(numbers[0])
        column.low.append(numbers[1])
        column.high.append(numbers[2])


def _place(items: Sequence[bytes], key: bytes) -> int:
    """Return the index of the item that begins with a key; the number of items if there is none."""
    return next((index for index, item in enumerate(items) if item.startswith(key)), len(items))


def _reward(line: bytes, key: bytes) -> float:
    place = line.rfind(key)
    return NOWHERE if place < 0 else _number(line, place + len(key))


def _number(line: bytes, begin: int) -> float:
    """Parse the number at a place, also one at the end of an object or in quotes, such as "nan"; NaN for others."""
    text = line[begin : begin + 40].split(b",")[0].split(b"}")[0].strip(b'" ')
    try:
        return float(text)
    except ValueError:
        return NOWHERE
