"""Tables of numbers: windows such as pieces of spectrograms, or long time series that are cut into windows.

CSV and TSV files, and .npy arrays; subfolders are types. Numbers are stored unchanged and scaled to [-1, 1] batch by
batch; the values that -1 and 1 represent are recorded with the run, so that samples can be written in the original
unit. Narrow windows are sequences, (columns, rows); others are images, whose top row is the first line of a file.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from equipoise.core.data import DataSpec, Preparation, Split, Suggestion, TableLayout, exhaust
from equipoise.core.printing import printable
from equipoise.data._arrays import group_by_class
from equipoise.data._files.cache import (
    CachedFolder,
    changed_cache,
    check_unchanged,
    decode_source,
    open_cached,
)
from equipoise.data._files.decoding import Decoding
from equipoise.data._files.listing import top_folder
from equipoise.data._files.sources import Source
from equipoise.data._splits import MIN_HELD_OUT, check_held_out
from equipoise.data._windows.columns import ColumnSelection
from equipoise.data._windows.decoder import WindowDecoder, open_tables, read_text_table
from equipoise.data._windows.notes import (
    describe_blocks,
    describe_clipping,
    describe_omitted,
    describe_outliers,
    describe_windows,
)
from equipoise.data._windows.plans import LAYOUTS, RowMeaning, SampleKind, WindowOptions, WindowPlan, make_plan
from equipoise.data._windows.scales import RangeRule, choose_bounds, single_bound
from equipoise.data._windows.selection import select_files, type_of
from equipoise.data._windows.streams import WindowStream, split_windows, value_ranges
from equipoise.data._windows.tables import MissingRule
from equipoise.errors import DataError, SettingError

__all__ = ["CsvWindows"]

DECODING = 1
"""Version of the decoder; incremented when its output changes."""
TASK = "reading windows"
PEEKED_FILES = 5
"""Number of files from which it is decided how a folder is read."""


@dataclass(frozen=True, slots=True)
class CsvWindows:
    """Windows of numbers: float32 in [-1, 1], labelled by type if there are several.

    Images (1, rows, columns), or sequences (columns, rows) if windows are narrow or their columns are of different
    kinds. Raises SettingError for an option out of range.
    """

    folder: str
    """folder of the files, FOLDER/type/name.csv or FOLDER/name.csv, or one file"""
    types: tuple[str, ...] | None = None
    """subfolders to use; default: all"""
    image_size: int | None = None
    """rows and columns after resampling; default: those of the windows"""
    low: float | tuple[float, ...] | None = None
    """value that -1 represents, in the unit of the data, or one per column; default: the smallest training value"""
    high: float | tuple[float, ...] | None = None
    """value that 1 represents, or one per column; default: the largest training value"""
    scale: RangeRule = "auto"
    """one range for all columns, or one per column; auto: per column if their ranges differ in kind"""
    columns: tuple[str | int, ...] | None = None
    """columns to use, by name or by number from 1; default: all columns of numbers but dates and an index"""
    label: str | None = None
    """column that holds the label of each series, by name or number; none: no column; default: found by its values"""
    group: str | None = None
    """column that names the recording of each row, such as a station; windows are of one; none; default: found"""
    missing: MissingRule = "refuse"
    """missing values: refuse the file, or interpolate linearly between the values before and after in the column"""
    rows_are: RowMeaning | Literal["auto"] = "auto"
    """what a row is: a moment (time), a series that is a sample (series), or a channel of a sample (channels)"""
    window: int | tuple[int, ...] | None = None
    """rows of a window, into which longer tables are cut; set automatically, together with its columns"""
    stride: int | None = None
    """rows between the starts of consecutive windows; default: a quarter of a window. None if tables are windows"""
    kind: SampleKind | Literal["auto"] = "auto"
    """image or sequence; auto: sequences if windows are narrow, or their columns have different ranges"""
    balance: bool = False
    """whether all classes are drawn equally often in training, also rare ones"""
    held_out: float = 0.1
    """share of the windows that is held out: by a hash of the content, or whole blocks of time of long tables"""
    cache: str = "runs/.cache"
    """folder of decoded windows"""
    names: tuple[str, ...] = ()
    """names of the columns; set automatically"""
    label_names: tuple[str, ...] = ()
    """labels of the series; set automatically"""
    digest: str | None = None
    """digest of all files; set automatically, so that a resumed run uses the same windows"""

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, single_bound(name, getattr(self, name)))
        if isinstance(self.window, int):
            object.__setattr__(self, "window", (self.window,))
        for name, value in (("image_size", self.image_size), ("window", self._rows), ("stride", self.stride)):
            if value is not None and value < 1:
                raise SettingError(f"{name} = {value}: it must be at least 1")
        check_held_out(self.held_out)
        if isinstance(self.low, float) and isinstance(self.high, float) and self.low >= self.high:
            raise SettingError(f"low = {self.low:g} must be below high = {self.high:g}")

    def prepare(self) -> Iterator[Preparation]:
        """Read every file once; yields progress and notes.

        Raises DataError, naming file and line, for the first file that is not a window, and if the folder changed
        since `digest` was computed; UnknownNameError for an unknown type.
        """
        yield from self._scan()

    def resolve(self) -> Self:
        """Return the data set with full paths, and with types, columns, range, size and digest as read.

        Raises as `prepare` does, and DataError if every window is constant.
        """
        resolved: Self = exhaust(self._scan())
        return resolved

    @property
    def spec(self) -> DataSpec:
        """Grey images or sequences; mirror images are not valid: time would run backwards.

        Reads the folder unless resolved.
        """
        if not self._is_resolved or self.types is None or self.low is None or self.high is None:
            return self.resolve().spec
        plan = self._resolved_plan()
        names = self.label_names or (self.types if len(self.types) > 1 else ())
        shape = plan.shape if self.image_size is None else (self.image_size, self.image_size)
        return DataSpec(
            (1, *shape) if self.kind != "sequence" else shape[::-1] if plan.rows_are == "time" else shape,
            classes=len(names),
            class_names=names,
            unit=(self.low, self.high),
            table=TableLayout(LAYOUTS[plan.rows_are], self.names),
        )

    @property
    def suggestion(self) -> Suggestion:
        """Settings for hundreds of windows: small batches, several per epoch."""
        features = "kd_sequences" if self.spec.is_sequence else "kd_efficientnet_lite0"
        metric = features if self.count("held_out") >= MIN_HELD_OUT else None
        batch_size = min(16, self.count("train"))
        return Suggestion("dcgan", steps=3000, batch_size=batch_size, metric=metric, controller="learnable:suite")

    def count(self, split: Split) -> int:
        """Return the number of windows of a split."""
        data, result = self._open()
        return len(data._split(result)[split != "train"])

    def stream(self, split: Split, batch_size: int, seed: int) -> WindowStream:
        """Return shuffled batches, with labels if there are any. Raises DataError for a split smaller than a batch."""
        data, result = self._open()
        spec, rows = data.spec, torch.tensor(data._split(result)[split != "train"], dtype=torch.int64)
        labels = None
        if data.label_names:
            labels = result.array[:, 0, -1].long()
        elif spec.class_names:
            labels = torch.tensor([spec.class_names.index(type_of(path, spec.class_names)) for path in result.paths])
        is_transposed = spec.is_sequence and data.rows_are in ("time", "auto")
        classes = group_by_class(None if labels is None else labels[rows], data.balance)
        return WindowStream(data._numbers(result), rows, labels, spec, is_transposed, batch_size, seed, split, classes)

    def _scan(self) -> Generator[Preparation, None, Self]:
        """Decode new files, yield notes, and return the resolved data set."""
        folder, cache = Path(self.folder).expanduser().resolve(), Path(self.cache).expanduser().resolve()
        listed = open_tables(folder)
        types, files, splits = select_files(listed.files, self.types, is_new=self.digest is None)
        source = listed.select(files)
        check_unchanged(source, cache, self.digest, folder)
        plan = self._resolved_plan() if self._is_resolved else self._plan(source)
        located = replace(self, folder=str(folder), cache=str(cache), types=types)._with_plan(plan)
        decode = WindowDecoder(listed.location, printable(files[0].path), plan, self.image_size)
        decoding = Decoding(located._key(), decode, decode.target, np.float32, TASK, tolerance=0)
        result = yield from decode_source(source, cache, decoding)
        resolved, note = located._with_range(result, plan)
        untyped = [file.path for file in listed.files if types and not top_folder(file.path)]
        notes = (
            *splits,
            *describe_omitted(listed.left_out),
            *result.notes,
            *plan.describe(),
            *resolved._notes(result, plan, untyped),
            *filter(None, [note]),
        )
        for text in (*notes, *self._notes_on_range(resolved, result)):
            yield Preparation(TASK, len(files), len(files), text)
        return replace(resolved, digest=result.digest)

    @property
    def _is_resolved(self) -> bool:
        return self.digest is not None and isinstance(self.window, tuple) and len(self.window) == 2

    @property
    def _rows(self) -> int | None:
        """Length of a window along time, None if it is not known."""
        if not isinstance(self.window, tuple) or not self.window:
            return None
        return self.window[-1 if self.rows_are == "channels" else 0]

    def _plan(self, source: Source) -> WindowPlan:
        """Decide from the first files how the folder is read."""
        step = max(1, len(source.files) // PEEKED_FILES)
        tables = [read_text_table(source, file) for file in source.files[::step][:PEEKED_FILES]]
        columns = None if self.columns is None else tuple(map(str, self.columns))
        given = (columns, self.label, self.group, self.missing, self.rows_are)
        options = WindowOptions(*given, self._rows, self.stride)
        return make_plan(tables, len(source.files), options)

    def _resolved_plan(self) -> WindowPlan:
        """Return the plan of a data set whose options are filled in."""
        assert isinstance(self.window, tuple)
        rows, columns = self.window
        positions = None if self.columns is None else tuple(int(column) - 1 for column in self.columns)
        label, group = (int(name) - 1 if name and name.isdigit() else None for name in (self.label, self.group))
        rows_are: RowMeaning = "time" if self.rows_are == "auto" else self.rows_are
        selection = ColumnSelection(positions, label, group)
        return WindowPlan(selection, rows_are, (rows, columns), self.stride, self.names, self.label_names, self.missing)

    def _with_plan(self, plan: WindowPlan) -> Self:
        """Fill in the options that the plan decides."""
        selection = plan.selection
        return replace(
            self,
            columns=None if selection.positions is None else tuple(str(index + 1) for index in selection.positions),
            label="none" if selection.label is None else str(selection.label + 1),
            group="none" if selection.group is None else str(selection.group + 1),
            rows_are=plan.rows_are,
            window=plan.shape,
            stride=plan.stride,
            names=plan.names,
            label_names=plan.labels,
        )

    def _with_range(self, result: CachedFolder, plan: WindowPlan) -> tuple[Self, str | None]:
        """Fill in range and kind, and return a note. Raises DataError for windows that have no range."""
        if result.facts["constant"] == len(result.array):
            raise DataError(f"every window in {self.folder} is constant: there is nothing to learn; use other files")
        train = self._split(result)[0]
        axis = 2 if plan.rows_are == "time" else 1
        lowest, highest = value_ranges(self._numbers(result), train, axis)
        rule: RangeRule = "all" if self.kind == "image" and axis == 1 else self.scale
        if self.image_size not in (None, plan.shape[1]) and rule != "column":
            rule = "all"  # Resampling mixes columns.
        bounds = choose_bounds(lowest, highest, (self.low, self.high), rule, plan.names, plan.is_narrow)
        low, high = bounds.low, bounds.high
        if isinstance(low, float) and isinstance(high, float) and low >= high:
            raise DataError(
                f"the training windows in {self.folder} range from {lowest.min():g} to {highest.max():g}, outside of "
                f"low = {low:g} to high = {high:g}; remove or change these options"
            )
        is_sequence = self.image_size is None and (plan.is_narrow or isinstance(low, tuple))
        kind: SampleKind = ("sequence" if is_sequence else "image") if self.kind == "auto" else self.kind
        kind = "image" if self._is_resolved and self.kind == "auto" else kind  # A run of an earlier version.
        return replace(self, low=low, high=high, kind=kind), bounds.note

    def _numbers(self, result: CachedFolder) -> Tensor:
        """Return the windows (N, rows, columns), without their labels."""
        return result.array[..., :-1] if self.label_names else result.array

    def _split(self, result: CachedFolder) -> tuple[list[int], list[int]]:
        return split_windows(result, self._resolved_plan(), self.held_out)

    def _open(self) -> tuple[Self, CachedFolder]:
        """Return the resolved data set and its windows; reads the folder only if necessary."""
        if self._is_resolved and None not in (self.types, self.low, self.high) and (result := self._cached()):
            return self, result
        data = self.resolve()
        if (result := data._cached()) is None:
            raise changed_cache(data.cache)
        return data, result

    def _cached(self) -> CachedFolder | None:
        return None if self.digest is None else open_cached(Path(self.cache), self.digest, self._key())

    def _key(self) -> dict[str, object]:
        """Return the options that determine how files are decoded."""
        key: dict[str, object] = {"data": "csv_windows", "decoding": DECODING, "image_size": self.image_size}
        others: dict[str, object] = {
            "columns": self.columns,
            "labels": self.label_names,
            "group": self.group if self.stride and self.group != "none" else None,
            "window": self.stride and self.window,
            "stride": self.stride,
            "missing": self.missing if self.missing != "refuse" else None,
            "rows_are": self.rows_are if self.rows_are not in ("auto", "time") else None,
        }
        return key | {name: value for name, value in others.items() if value}

    def _notes(self, result: CachedFolder, plan: WindowPlan, untyped: Sequence[str]) -> Iterator[str]:
        """Yield notes on the windows of the resolved data set."""
        yield from describe_windows(result, plan, self.types or (), untyped)
        if plan.stride is not None and self.held_out:
            yield describe_blocks(self._split(result), result.paths)

    def _notes_on_range(self, resolved: Self, result: CachedFolder) -> Iterator[str]:
        """Yield a note on numbers that are clipped, if the user set the range, otherwise on outliers that set it."""
        if (self.low, self.high) == (None, None):
            numbers, rows = self._numbers(result), resolved._split(result)[0]
            is_each = isinstance(resolved.low, tuple)
            yield from describe_outliers(numbers, rows, resolved.rows_are, resolved.names, per_column=is_each)
        if (self.low, self.high) != (None, None) and resolved.low is not None and resolved.high is not None:
            numbers, rows = self._numbers(result), resolved._split(result)[0]
            yield from describe_clipping(numbers, rows, (resolved.low, resolved.high), resolved.rows_are)
