"""Columns of numbers from the readings of a log: signals and losses, read when they are needed and then kept."""

import json
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic_core import from_json

from equipoise.runs.live_log import LiveLog

LOSSES, SIGNALS, HEALTH = b', "loss": {', b', "signals": {', b', "health": '
PARTS: Mapping[str, tuple[bytes, bytes]] = {"loss": (LOSSES, SIGNALS), "signals": (SIGNALS, HEALTH)}
"""Where parts of the line of a reading begin and end. The evidence of findings repeats names of signals after them."""
MARGIN = 64
"""Bytes by which the place of a part may move from line to line before the whole line is searched."""
NOWHERE = math.nan
BOUNDS = ("mean", "min", "max")
"""Values of a term of the loss over the steps since the reading before, of those that the log has."""

Item = Mapping[str, object]
"""An object of a line of the log."""


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
        signals = _parse_part(lines, "signals") if any("." not in name for name in names) else []
        losses = _parse_part(lines, "loss") if any("." in name for name in names) else []
        for name in names:
            column = self._columns[name]
            if name == "reward":  # after the health, at the end of the line
                column.values.extend(_reward(line) for line in lines)
            elif "." in name:
                terms = [item.get(name) for item in losses]
                for bound, numbers in zip(BOUNDS, (column.values, column.low, column.high), strict=True):
                    numbers.extend(_numbers([term if isinstance(term, dict) else {} for term in terms], bound))
            else:
                column.values.extend(_numbers(signals, name))

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


def _parse_part(lines: Sequence[bytes], name: str) -> list[Item]:
    """Parse one object of each line, such as its signals; empty where a line has none, or is damaged.

    Only its text is parsed, if all lines have the form that the log writes, else all lines are.
    """
    begin, end = PARTS[name]
    parts, hint, size = [], 0, len(begin) - 1
    for line in lines:
        start = line.find(begin, hint)
        if start < 0:
            start = line.find(begin)
        hint = max(0, start - MARGIN)
        parts.append(line[start + size : line.find(end, start)] if start >= 0 else b"")
    try:
        items: list[Item] = from_json(b"[" + b",".join(parts) + b"]", cache_strings="keys")
        if len(items) == len(lines):
            return items
    except ValueError:
        pass
    return [_parse_whole(line, name) for line in lines]


def _parse_whole(line: bytes, name: str) -> Item:
    try:
        item = json.loads(line)[name]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return item if isinstance(item, dict) else {}


def _numbers(items: Sequence[Item], name: str) -> "array[float]":
    """Return one value of each object; NaN where it is missing or no number."""
    values = [item.get(name) for item in items]
    if {float, int}.issuperset(map(type, values)):
        try:
            return array("d", values)  # type: ignore[arg-type]
        except OverflowError:
            pass
    return array("d", map(_number, values))


def _reward(line: bytes) -> float:
    key = b'"reward": '
    place = line.rfind(key)
    return NOWHERE if place < 0 else _number(line[place + len(key) :].split(b",")[0].split(b"}")[0].strip(b'" '))


def _number(value: object) -> float:
    """Return a number of the log, where one that is not finite is a text such as "nan"; NaN for others."""
    try:
        return float(value) if isinstance(value, int | float | str | bytes) and not isinstance(value, bool) else NOWHERE
    except (ValueError, OverflowError):
        return NOWHERE
