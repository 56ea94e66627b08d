"""Values of JSON as numbers: nested records become columns with names such as train/loss_d."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from equipoise.diagnosis.logs.column_builder import ColumnBuilder, ColumnPart

MAX_DEPTH = 5
"""Depth of nested objects up to which numbers are read."""
MEAN_KEYS = ("mean", "avg", "value")
"""Keys of the value of a statistic such as {"num": 32, "mean": 0.7, "std": 0.1}."""
STATISTIC_KEYS = {
    *MEAN_KEYS,
    "num",
    "count",
    "n",
    "std",
    "min",
    "max",
    "last",
    "var",
    "median",
    "sum",
    "step",
    "timestamp",
}
LONG_NAMES = ("tag", "metric", "name", "key", "variable", "metricName")
VALUE_KEYS = ("value", "metricValue")
"""Keys of the name in records of one value each: {"step": 100, "tag": "loss_d", "value": 0.5}."""
_INTEGERS_AND_FLOATS = frozenset((int, float))
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*|\s*[-+]?(nan|inf|infinity)\s*", re.IGNORECASE)

JSONRecord = Mapping[str, object]


def parse_json(text: str) -> object:
    """Parse JSON; integers of thousands of digits, which Python refuses, are infinite."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return json.loads(text, parse_int=float)


def flatten_record(record: Mapping[str, object], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a record by their names, with "/" between the names of nested objects.

    A statistic such as {"num": …, "mean": …, "std": …} is its mean. A record of a name and a value has that name.
    """
    long_name = next((record[key] for key in LONG_NAMES if isinstance(record.get(key), str)), None)
    for key, value in record.items():
        name = f"{prefix}/{key}" if prefix else key
        if key in VALUE_KEYS and isinstance(long_name, str) and not prefix:
            name = long_name
        if isinstance(value, dict):
            if depth < MAX_DEPTH:
                yield from _flatten_object(value, name, depth)
        elif isinstance(value, list):
            if len(value) == 1 and (number := parse_value(value[0])) is not None:
                yield name, number
        elif (number := parse_value(value)) is not None:
            yield name, number


def _flatten_object(value: Mapping[str, object], name: str, depth: int) -> Iterator[tuple[str, float]]:
    mean = next((value[key] for key in MEAN_KEYS if key in value), None)
    if mean is not None and value.keys() <= STATISTIC_KEYS:
        if (number := parse_value(mean)) is not None:
            yield name, number
    else:
        yield from flatten_record(value, name, depth + 1)


def parse_value(value: object) -> float | None:
    """Return the number in a JSON value, also one in quotes, inf beyond the range of float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if int(value) > 0 else -math.inf


class RecordColumns:
    """The numbers of a block of `count` records by name."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._values: dict[str, npt.NDArray[np.float64]] = {}
        self._masks: dict[str, npt.NDArray[np.bool_]] = {}

    def put(self, name: str, rows: npt.NDArray[np.int64] | int, values: npt.NDArray[np.float64] | float) -> None:
        """Set the values of a column in some rows."""
        if name not in self._values:
            self._values[name] = np.full(self.count, np.nan)
            self._masks[name] = np.zeros(self.count, bool)
        self._values[name][rows] = values
        self._masks[name][rows] = True

    def parts(self) -> list[ColumnPart]:
        """Return the columns."""
        return [ColumnPart(name, values, self._masks[name]) for name, values in self._values.items()]


def add_records(builder: ColumnBuilder, records: Sequence[JSONRecord]) -> None:
    """Add records as rows. Those with the same names are taken column by column, which is faster."""
    block, kinds = RecordColumns(len(records)), dict[tuple[str, ...], list[int]]()
    for row, record in enumerate(records):
        kinds.setdefault(tuple(record), []).append(row)
    for names, rows in kinds.items():
        if any(name in LONG_NAMES for name in names):
            for row in rows:
                for name, value in flatten_record(records[row]):
                    block.put(name, row, value)
            continue
        where = np.array(rows)
        columns = zip(*(records[row].values() for row in rows), strict=True)
        for name, column in zip(names, columns, strict=True):
            if (numbers := _to_array(column)) is not None:
                block.put(name, where, numbers)
                continue
            if all(type(entry) is str for entry in column) and not any(map(_NUMBER.fullmatch, set(column))):
                continue  # words, such as "train"
            for row, entry in zip(rows, column, strict=True):
                for part, value in flatten_record({name: entry}):
                    block.put(part, row, value)
    builder.add_rows(len(records), block.parts())


def _to_array(column: Sequence[object]) -> npt.NDArray[np.float64] | None:
    """Return the numbers of a column that has no other values."""
    if not _INTEGERS_AND_FLOATS.issuperset(map(type, column)):
        return None
    try:
        return np.array(column, np.float64)
    except OverflowError:
        return None
