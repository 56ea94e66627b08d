"""Columns of a table: which of them hold numbers to learn from, and which hold dates, an index, labels or text."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from equipoise.core.printing import format_names
from equipoise.errors import UnknownNameError

ColumnKind = Literal["numbers", "date or time", "index", "category", "text", "empty", "label"]
NumberArray = npt.NDArray[np.float64]

MIN_ROWS = 8
"""Rows from which a column of numbers can be recognised as an index or a time."""
MAX_CATEGORIES = 50
"""Largest number of different values of a category, or of a label."""
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "nil", "-", "--", "?", "#n/a", "missing"})
"""Texts that mark a missing value, in lower case."""
AXIS_NAMES = frozenset(
    {"", "#", "t", "time", "times", "timestamp", "date", "datetime", "epoch", "index", "idx", "id", "no", "nr", "n"}
    | {"step", "frame", "sample", "row", "second", "seconds", "unnamed: 0", "utc", "unix", "zeit", "datum"}
)
"""Names of columns that count or date the rows, in lower case."""
ID_NAMES = frozenset({"id", "uuid", "uid", "guid", "key", "pid", "pk", "rowid", "objectid"})
"""Names of columns that identify rows or recordings, in lower case; others end in _id."""
CALENDAR_NAMES = frozenset(
    {"year", "month", "day", "hour", "minute", "second", "yr", "mo", "mon", "dy", "hr", "mnth", "weekday", "doy"}
    | {
        "yyyy",
        "mm",
        "dd",
        "hh",
        "dayofweek",
        "day_of_week",
        "dayofyear",
        "day_of_year",
        "jahr",
        "monat",
        "tag",
        "stunde",
    }
)
"""Names of columns that hold parts of a date, in lower case, if there are at least two of them."""
LABEL_NAMES = frozenset({"label", "labels", "class", "target", "category", "type", "y"})
EPOCHS = ((3e8, 5e9), (3e11, 5e12), (3e14, 5e15), (3e17, 5e18))
"""Ranges of seconds, milliseconds, microseconds and nanoseconds since 1970, from 1979 to 2128."""

_TIME = r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[AaPp]\.?[Mm]\.?)?"
_ZONE = r"( ?(Z|UTC|[+-]\d{2}:?\d{2}))?"
_DATE = r"(\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{4}-?[QW]\d{1,2}|\d{8}T\d{4,6})"
_MONTH = r"(?i:.*\b(jan|feb|mar|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)[a-z]*\b.*)"
DATE_OR_TIME = re.compile(rf"({_DATE}([T ,]+{_TIME})?|{_TIME}|\d+ days? {_TIME}){_ZONE}|(?=.*\d){_MONTH}")


@dataclass(frozen=True, slots=True)
class ColumnSelection:
    """The columns of a table that are used. `positions`: from 0, in order; None for all.

    `label`: position of the column that holds the label of each row, or None. `group`: position of the column that
    names the recording of each row, such as a station, or None. `left_out`: name -> kind of the others.
    """

    positions: tuple[int, ...] | None = None
    label: int | None = None
    group: int | None = None
    left_out: Mapping[str, ColumnKind] = field(default_factory=dict)


def is_missing(text: str) -> bool:
    """Return whether a field is one of MISSING."""
    return text.strip().lower() in MISSING


def is_number(text: str) -> bool:
    """Return whether a field is a number, finite or not; nan is none."""
    try:
        value = float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text and value == value


def text_kind(fields: Sequence[str]) -> ColumnKind:
    """Return what the fields of a column are. A column of numbers may have fields that are none, if they are few."""
    present = [text for text in fields if not is_missing(text)]
    if not present:
        return "empty"
    if 2 * sum(map(is_number, present)) >= len(present):
        return "numbers"
    if 2 * sum(DATE_OR_TIME.fullmatch(text) is not None for text in present) >= len(present):
        return "date or time"
    different = len(set(present))
    return "category" if different <= min(MAX_CATEGORIES, max(1, len(present) // 4)) else "text"


def axis_kind(values: NumberArray, column: int, name: str | None) -> ColumnKind:
    """Return whether a column of numbers (rows, columns) counts or dates the rows: "index", "date or time", "numbers".

    `name`: of the column, or None without a header. An index is 0, 1, 2, … or 1, 2, 3, …, once or several times; a time
    increases in constant steps, which no other column does, or has a usual name; dates are seconds since 1970 or
    20200131.
    """
    numbers = values[:, column]
    steps = np.diff(numbers)
    if len(numbers) < MIN_ROWS or values.shape[1] < 2 or not np.isfinite(numbers).all():
        return "numbers"
    if _counts_again(numbers) and (name is None or name.strip().lower() not in LABEL_NAMES):
        return "index"
    if (steps < 0).any():
        return "numbers"
    if numbers[0] in (0, 1) and bool((steps == 1).all()):
        return "index"
    is_increasing = numbers[-1] > numbers[0]
    is_whole = bool((numbers == np.round(numbers)).all())
    if is_increasing and is_whole and _is_calendar(numbers):
        return "date or time"
    if is_increasing and any(low <= numbers[0] and numbers[-1] < high for low, high in EPOCHS):
        return "date or time"
    if name is not None and name.strip().lower() in AXIS_NAMES and is_increasing:
        return "index" if is_whole else "date or time"
    if column == 0 and _has_constant_steps(numbers):
        others = (values[:, other] for other in range(1, values.shape[1]))
        return "numbers" if any(_has_constant_steps(other) for other in others) else "date or time"
    return "numbers"


def _counts_again(numbers: NumberArray) -> bool:
    """Return whether numbers count from 0 or 1 several times, as the rows of recordings one below the other."""
    starts = np.flatnonzero(np.diff(numbers) != 1) + 1
    is_start = (numbers[starts] == numbers[0]).all() and numbers[0] in (0, 1)
    return bool(is_start) and 0 < len(starts) <= len(numbers) // MIN_ROWS


def calendar_columns(names: Sequence[str]) -> tuple[int, ...]:
    """Return the positions of columns that are parts of a date by their names: year, month, day, hour."""
    positions = tuple(index for index, name in enumerate(names) if name.strip().lower() in CALENDAR_NAMES)
    return positions if len(positions) > 1 else ()


def id_kind(numbers: NumberArray, name: str | None) -> ColumnKind:
    """Return whether whole numbers (rows,) identify rows ("index") or recordings ("category"), by the column's name.

    Otherwise "numbers".
    """
    text = "" if name is None else name.strip()
    is_named = text.lower() in ID_NAMES or text.lower().endswith(("_id", " id", "-id"))
    if not is_named or len(numbers) < MIN_ROWS or not bool((numbers == np.round(numbers)).all()):
        return "numbers"
    different = len(np.unique(numbers))
    if different == len(numbers):
        return "index"
    return "category" if different <= min(MAX_CATEGORIES, len(numbers) // 4) else "numbers"


def _is_calendar(numbers: NumberArray) -> bool:
    """Return whether whole numbers are dates such as 20200131."""
    month, day = numbers // 100 % 100, numbers % 100
    is_date = (numbers >= 1.8e7) & (numbers < 2.2e7) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    return bool(is_date.all())


def _has_constant_steps(numbers: NumberArray) -> bool:
    """Return whether numbers increase in constant steps, up to rounding."""
    steps = np.diff(numbers)
    return bool(steps.min() > 0 and np.ptp(steps) <= 0.01 * steps.mean() and len(np.unique(numbers)) == len(numbers))


def is_label(values: NumberArray, column: int, name: str | None) -> bool:
    """Return whether a column of numbers (rows, columns) holds a class of each row.

    It is the first or the last column or has a usual name; few different whole numbers, next to others that are none.
    """
    numbers = values[:, column]
    is_named = name is not None and name.strip().lower() in LABEL_NAMES
    if not (is_named or column in (0, values.shape[1] - 1)) or not bool((numbers == np.round(numbers)).all()):
        return False
    different = len(np.unique(numbers))
    if not 2 <= different <= min(MAX_CATEGORIES, len(numbers) // 2):
        return False
    others = np.delete(values, column, axis=1)
    return is_named or bool((others != np.round(others)).mean() > 0.1)


def named_positions(columns: Sequence[str], names: Sequence[str], count: int) -> tuple[int, ...]:
    """Return the positions of columns given by name, or by number from 1.

    Raises UnknownNameError for a column that does not exist.
    """
    return tuple(_position(column, names, count) for column in columns)


def _position(column: str, names: Sequence[str], count: int) -> int:
    if column in names:
        return list(names).index(column)
    if column.isascii() and column.isdigit() and 1 <= int(column) <= count:
        return int(column) - 1
    available = [*filter(None, names)] or [f"1 to {count}"]
    raise UnknownNameError("column", column, available)


def column_name(position: int, names: Sequence[str]) -> str:
    """Return the name of a column, or its number from 1."""
    return names[position] if position < len(names) and names[position] else f"column {position + 1}"


def describe_left_out(selection: ColumnSelection) -> Iterator[str]:
    """Yield a note for each kind of column that is left out."""
    kinds: dict[ColumnKind, list[str]] = {}
    for name, kind in selection.left_out.items():
        kinds.setdefault(kind, []).append(name)
    phrases: Mapping[ColumnKind, Callable[[str], str]] = {
        "label": lambda names: f"{names} holds the label of each row (data.label)",
        "numbers": lambda names: f"not used: {names} (data.columns)",
    }
    for kind, names in kinds.items():
        first = format_names(names, 5)
        yield phrases.get(kind, lambda text, kind=kind: f"left out: {text} ({kind})")(first)
