"""How the tables of a folder become windows: the columns that are used, what a row is, and where long files are cut.

All of it is detected from the first tables of a folder, unless an option sets it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Literal

import numpy as np

from equipoise.data._windows.columns import (
    ColumnKind,
    ColumnSelection,
    NumberArray,
    axis_kind,
    calendar_columns,
    column_name,
    describe_left_out,
    id_kind,
    is_label,
    named_positions,
    text_kind,
)
from equipoise.data._windows.table_text import REMEDY
from equipoise.data._windows.tables import MissingRule, NumberTable, TextTable, to_numbers
from equipoise.errors import DataError, SettingError

RowMeaning = Literal["time", "series", "channels"]
"""What a row of a table is: one moment, a series that is a sample of its own, or a channel of the only sample."""
SampleKind = Literal["image", "sequence"]
LAYOUTS: Mapping[RowMeaning, Literal["times", "channels", "samples"]] = {
    "time": "times",
    "series": "samples",
    "channels": "channels",
}

NARROW = 16
"""Windows with fewer columns, and at least twice as many rows, are sequences; other windows are images."""
MAX_LONG_FILES = 20
"""With this number of files or more, each is a window, unless its rows are dated."""
LONG = 256
"""Rows from which a table of few files is cut into windows."""
WINDOWS = (64, 32, 16)
"""Default rows of a window: the first of which there are 20 without overlap."""
MIN_WINDOWS = 20
MAX_WINDOWS = 20_000
"""Number of windows from which consecutive ones overlap less by default."""
ALTERNATING = 3
"""Mean number of consecutive rows of a recording below which the rows of recordings alternate."""
PROBES = 200
"""Number of rows from which the kinds of columns are found."""


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """Options of planning; None and "auto" to decide from the tables. `window`: rows of a window."""

    columns: tuple[str, ...] | None = None
    label: str | None = None
    group: str | None = None
    missing: MissingRule = "refuse"
    rows_are: RowMeaning | Literal["auto"] = "auto"
    window: int | None = None
    stride: int | None = None


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """How tables become windows. `shape`: rows and columns of a window, as in its table.

    `stride`: rows between the starts of consecutive windows of a table, None if each table is a window. `names`: of the
    columns, or empty. `labels`: the classes that the label column names, or empty. `notes`: for the user.
    """

    selection: ColumnSelection
    rows_are: RowMeaning
    shape: tuple[int, int]
    stride: int | None = None
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    missing: MissingRule = "refuse"
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def is_narrow(self) -> bool:
        """Whether windows are sequences by their shape alone."""
        rows, columns = self.shape
        return self.rows_are != "time" or (columns < NARROW and rows >= 2 * columns)

    def describe(self) -> tuple[str, ...]:
        """Return the notes for the user, with those on columns that are left out."""
        return (*describe_left_out(self.selection), *self.notes)


def select_columns(table: TextTable, options: WindowOptions) -> tuple[ColumnSelection, NumberTable]:
    """Find the columns that hold numbers, and read them. Raises DataError for a table without any."""
    rows = [table.fields(row) for row in np.unique(np.linspace(0, len(table.lines) - 1, PROBES).astype(int))]
    count = len(rows[0])
    kinds = [text_kind([row[column] for row in rows if column < len(row)]) for column in range(count)]
    label = None if options.label in (None, "none") else named_positions([options.label or ""], table.names, count)[0]
    if options.columns is not None:
        positions = named_positions(options.columns, table.names, count)
    else:
        positions = tuple(column for column in range(count) if kinds[column] == "numbers" and column != label)
        if not positions:
            raise DataError(f"{table.name} has no column of numbers; {REMEDY}")
        numbers = to_numbers(table, _whole_or(positions, count, None), options.missing).values
        kinds, label = _axes_and_label(table, positions, numbers, kinds, label, options)
        positions = tuple(column for column in positions if kinds[column] == "numbers") or positions[-1:]
    left_out = {
        column_name(column, table.names): "label" if column == label else kinds[column]
        for column in range(count)
        if column not in positions
    }
    group = _group_column(table, kinds, options.group)
    selection = replace(_whole_or(positions, count, label), group=group, left_out=left_out)
    return selection, to_numbers(table, selection, options.missing)


def _group_column(table: TextTable, kinds: Sequence[ColumnKind], chosen: str | None) -> int | None:
    """Return the position of the column that names the recording of each row: the only category, unless chosen."""
    if chosen is not None:
        return None if chosen == "none" else named_positions([chosen], table.names, len(kinds))[0]
    categories = [column for column, kind in enumerate(kinds) if kind == "category"]
    return categories[0] if len(categories) == 1 else None


def recordings(groups: Sequence[str]) -> list[list[int]]:
    """Return the rows of each recording of a table, by the text that names the recording of each row.

    Where the rows of recordings alternate, as those of two stations at each time, a recording is all rows of its text;
    otherwise one ends where the text changes.
    """
    runs = [list(run) for _, run in groupby(range(len(groups)), key=groups.__getitem__)]
    if len(groups) >= ALTERNATING * len(runs):
        return runs
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    return list(rows.values())


def _whole_or(positions: tuple[int, ...], count: int, label: int | None) -> ColumnSelection:
    """Return a selection; of all columns if these are all, which is read faster."""
    return ColumnSelection(None if positions == tuple(range(count)) else positions, label)


def _axes_and_label(
    table: TextTable,
    positions: tuple[int, ...],
    numbers: NumberArray,
    kinds: Sequence[ColumnKind],
    label: int | None,
    options: WindowOptions,
) -> tuple[list[ColumnKind], int | None]:
    """Return the kinds of all columns, among them those of numbers that count or date the rows, and the label."""
    result = list(kinds)
    for index, column in enumerate(positions):
        name = table.names[column] if column < len(table.names) else None
        result[column] = axis_kind(numbers, index, name)
        if result[column] == "numbers":
            result[column] = id_kind(numbers[:, index], name)
    for column in calendar_columns(table.names[: len(kinds)]):
        result[column] = "date or time"
    if label is not None or options.label == "none" or "date or time" in result or len(positions) < NARROW:
        return result, label
    rest = [index for index, column in enumerate(positions) if result[column] == "numbers"]
    values = numbers[:, rest]
    for place, column in enumerate(positions[index] for index in rest):
        name = table.names[column] if column < len(table.names) else None
        if is_label(values, place, name):
            result[column] = "label"
            return result, column
    categories = [column for column, kind in enumerate(kinds) if kind == "category"]
    return result, categories[0] if len(categories) == 1 else None


def make_plan(tables: Sequence[TextTable], count: int, options: WindowOptions) -> WindowPlan:
    """Decide how a folder is read from its first `tables`, of `count` files in all.

    Raises DataError for tables that give no windows, SettingError for options that do not fit them.
    """
    selection, first = select_columns(tables[0], options)
    rows, columns = first.values.shape
    lengths = [len(table.lines) for table in tables]
    kinds = set(selection.left_out.values())
    meaning, notes = _row_meaning(first, count, lengths, kinds, options)
    if meaning != "series" and selection.label is not None:
        # A category of moments is no label of samples.
        name = next(name for name, kind in selection.left_out.items() if kind == "label")
        selection = replace(selection, label=None, left_out={**selection.left_out, name: "category"})
    if meaning == "time" and len(set(first.groups)) > 1:
        selection, lengths, note = _grouped(selection, first.groups, options)
        notes = (*notes, note)
    else:
        selection = replace(selection, group=None)
    plan = WindowPlan(selection, meaning, (rows, columns), names=first.names, missing=options.missing, notes=notes)
    if meaning == "series":
        if options.window not in (None, 1) or options.stride is not None:
            raise SettingError("window and stride cut series along rows of times; omit them, or set rows_are = time")
        labels = tuple(sorted(set(first.labels), key=_label_order))
        return replace(plan, shape=(1, columns), labels=labels if len(labels) > 1 else ())
    if selection.group is not None:
        plan = replace(plan, shape=(max(lengths), columns))
    return _cut(plan, count, lengths if meaning == "time" else [columns], options, "date or time" in kinds)


def _grouped(
    selection: ColumnSelection, groups: Sequence[str], options: WindowOptions
) -> tuple[ColumnSelection, list[int], str]:
    """Return the selection, the rows of each recording, and a note.

    A category of which recordings would be shorter than a window, such as a day of the week, is not used.
    """
    name = next((name for name, kind in selection.left_out.items() if kind == "category"), "the column")
    lengths = sorted(map(len, recordings(groups)))
    if options.group is None and lengths[len(lengths) // 2] < (options.window or WINDOWS[-1]):
        note = f"windows may contain several values of {name}; data.group={name} if it names recordings"
        return replace(selection, group=None), [len(groups)], note
    return selection, lengths, f"{len(lengths):,} recordings by {name}; no window is of two of them (data.group)"


def _label_order(label: str) -> tuple[float, str]:
    try:
        return float(label), ""
    except ValueError:
        return float("inf"), label


def _row_meaning(
    table: NumberTable, count: int, lengths: Sequence[int], kinds: set[ColumnKind], options: WindowOptions
) -> tuple[RowMeaning, tuple[str, ...]]:
    """Return what a row is, and notes."""
    if options.rows_are != "auto":
        return options.rows_are, ()
    rows, columns = table.values.shape
    is_named = bool(table.names) and not _are_numbered(table.names)
    if "date or time" in kinds or options.window is not None or options.stride is not None:
        return "time", ()
    if rows < NARROW and columns >= max(NARROW, 4 * rows) and not is_named and (count > 1 or rows == 1):
        text = (
            f"each of the {rows} rows of a file is read as a channel" if rows > 1 else "each row is read as one series"
        )
        return "channels", (f"{text} (data.rows_are=time otherwise)",)
    is_single = count == 1 or (count <= MAX_LONG_FILES and _vary(lengths))
    if not is_single or columns < NARROW or (is_named and "label" not in kinds):
        return "time", ()
    down, across = (np.abs(np.diff(table.values, axis=axis)).mean() for axis in (0, 1))
    if "label" in kinds or (rows > 1 and across < down):
        text = f"each of the {rows:,} rows is read as one series of {columns:,} values"
        return "series", (f"{text}; if rows are times instead: data.rows_are=time",)
    text = f"each of the {rows:,} rows is read as one moment of {columns:,} series"
    return "time", (f"{text}; if each row is a series: data.rows_are=series",)


def _vary(lengths: Sequence[int]) -> bool:
    """Return whether tables are of different lengths, apart from some that may be damaged."""
    return 2 * len(set(lengths)) > len(lengths) > 1


def _are_numbered(names: Sequence[str]) -> bool:
    """Return whether names of columns only count them: 0, 1, 2 or t0, t1, t2."""
    numbers = ["".join(letter for letter in name if letter.isdigit()) for name in names]
    return all(numbers) and len(set(numbers)) == len(numbers) > 1


def _cut(plan: WindowPlan, count: int, lengths: Sequence[int], options: WindowOptions, is_dated: bool) -> WindowPlan:
    """Return the plan with the window of long tables; unchanged if each table is a window."""
    channels = plan.shape[1] if plan.rows_are == "time" else plan.shape[0]
    is_long = plan.selection.group is not None or _is_long(channels, count, lengths, is_dated)
    if options.window is None and options.stride is None and not is_long:
        return plan
    total = sum(lengths) / len(lengths) * count
    window = options.window or _default_window(channels, total, min(lengths))
    if window is None:
        raise DataError(
            f"the tables have only {min(lengths):,} rows, too few to cut windows from; use --option data.window=ROWS, "
            "or add more data"
        )
    if window > max(lengths):
        raise SettingError(f"window = {window}: it must be at most {max(lengths):,}, the rows of the longest table")
    stride = options.stride or min(window, max(1, window // 4, round(total / MAX_WINDOWS)))
    text = f"cut into windows of {window:,} rows, one every {stride:,} rows (data.window, data.stride)"
    shape = (window, channels) if plan.rows_are == "time" else (channels, window)
    notes = plan.notes if set(lengths) == {window} and count > 1 else (*plan.notes, text)
    return replace(plan, shape=shape, stride=stride, notes=notes)


def _is_long(channels: int, count: int, lengths: Sequence[int], is_dated: bool) -> bool:
    """Return whether tables are recordings to cut, not windows."""
    if count == 1 or (is_dated and min(lengths) >= LONG):
        return True
    is_narrow = channels < NARROW
    if min(lengths) >= 2 * WINDOWS[-1] and _vary(lengths) and (is_narrow or is_dated):
        return True
    is_few = count < MAX_LONG_FILES and min(lengths) >= LONG
    return is_few and (is_narrow or min(lengths) >= 8 * channels)


def _default_window(channels: int, total: float, shortest: int) -> int | None:
    """Return the default rows of a window: those of a square for many columns. None for too few rows."""
    if NARROW <= channels <= 2 * WINDOWS[0] and total >= MIN_WINDOWS * channels and shortest >= channels:
        return channels
    enough = (size for size in WINDOWS if total >= MIN_WINDOWS * size and shortest >= size)
    smallest = WINDOWS[-1] if shortest >= WINDOWS[-1] and total >= 3 * WINDOWS[-1] else None
    return next(enough, smallest)
