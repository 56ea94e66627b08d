"""Decoding of tables to windows of numbers: text, and .npy files."""

import io
import math
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from equipoise.core.files import NPY_START, TABLE_ENDINGS, TEXT_TABLE_ENDINGS
from equipoise.core.printing import printable
from equipoise.core.series_arrays import find_series
from equipoise.data._files.arrays import ArrayStorage
from equipoise.data._files.decoding import Decoded
from equipoise.data._files.listing import File
from equipoise.data._files.sources import Source, open_file, open_folder
from equipoise.data._files.stored_arrays import StoredArray, stored_member
from equipoise.data._windows.columns import ColumnSelection
from equipoise.data._windows.plans import WindowPlan, recordings
from equipoise.data._windows.tables import NumberTable, TextTable, parse_text, to_numbers
from equipoise.errors import DataError

WindowArray = npt.NDArray[np.float32]
"""Windows of numbers: (rows, columns) or (N, rows, columns) float32."""
ENDINGS = (*TABLE_ENDINGS, ".npy")


def open_tables(path: Path) -> Source:
    """Return the tables of a folder, or one file as the only table. Raises DataError if there are none."""
    if not path.is_file():
        try:
            return open_folder(path, ENDINGS)
        except DataError:
            with suppress(DataError):
                return open_folder(path, TEXT_TABLE_ENDINGS)
            raise
    array, left_out = _stored_windows(path)
    if array is None:
        return open_file(path)
    digits = len(str(array.shape[0] - 1))
    size = array.dtype.itemsize * math.prod(array.shape[1:])
    modified = path.stat().st_mtime_ns
    files = tuple(File(f"{row:0{digits}d}", size, modified) for row in range(array.shape[0]))
    return Source(path, files, ArrayStorage({"": array}), left_out)


def _stored_windows(path: Path) -> tuple[StoredArray | None, dict[str, str]]:
    """Return the array of a file if it holds several windows: (N, rows, columns), and others: name -> reason.

    Raises DataError for a .npz file without one.
    """
    if path.suffix.lower() == ".npz":
        names = list(find_series(path))
        if not names:
            raise DataError(f"{path} holds no array of series (N, length, channels); save one with numpy.savez")
        with zipfile.ZipFile(path) as archive:
            others = [name.removesuffix(".npy") for name in archive.namelist() if name != f"{names[0]}.npy"]
            array = stored_member(path, archive, f"{names[0]}.npy")
        return array, dict.fromkeys(others, f"only the array {names[0]} is used")
    if path.suffix.lower() != ".npy":
        return None, {}
    load = partial(np.load, path, mmap_mode="r", allow_pickle=False)
    try:
        array = load()
    except (OSError, ValueError, EOFError):  # Reading the file as a table reports it.
        return None, {}
    return (StoredArray(array.shape, array.dtype, load) if array.ndim == 3 and array.size else None), {}


def read_text_table(source: Source, file: File) -> TextTable:
    """Read the rows of a file, as text. Raises DataError if it cannot be read, or is no table."""
    name = printable(file.path)
    try:
        content = source.read(file.path)
    except OSError as error:
        raise DataError(f"cannot read {source.location}/{name}: {error.strerror or error}") from error
    return parse_file(content, f"{source.location}/{name}")


def parse_file(content: bytes, name: str) -> TextTable:
    """Parse the rows of a text file, or of a .npy file with one or two dimensions. Raises DataError for others."""
    if not content.startswith(NPY_START):
        return parse_text(content, name)
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{name} is no array of numbers; repair the file, or remove it") from error
    if array.dtype.kind not in "biuf" or not 1 <= array.ndim <= 2 or not array.size:
        shape = " x ".join(map(str, array.shape))
        raise DataError(
            f"{name} is an array of {array.dtype.name} and {shape}; a window has rows and columns of numbers"
        )
    rows = array.reshape(len(array), -1).astype(np.float64)
    return TextTable(name, None, (), False, False, list(range(1, len(rows) + 1)), [], rows)


@dataclass(frozen=True, slots=True)
class WindowDecoder:
    """Decoder of tables to windows, as planned. `first`: path of the first file. `size`: side to resample to, or None.

    Decoded windows are (N, rows, columns) float32; with labels, each has one more column, which holds its class.
    """

    folder: Path
    first: str
    plan: WindowPlan
    size: int | None

    @property
    def target(self) -> tuple[int, int]:
        """Rows and columns of the decoded windows."""
        rows, columns = self.plan.shape if self.size is None else (self.size, self.size)
        return rows, columns + bool(self.plan.labels)

    def __call__(self, content: bytes, path: str) -> Decoded:
        """Decode the content of a file. Raises DataError, with file and line, if it is no table as planned."""
        name = f"{self.folder}/{printable(path)}"
        table = self._parse(content, name)
        windows, unused = self._windows(table, name)
        constant = (windows == windows[:, :1, :1]).all(axis=(1, 2))
        if self.size is not None:
            # Resampling rounds: a constant window would not remain constant.
            target = (self.size, self.size)
            windows = np.stack(
                [
                    np.full(target, window[0, 0]) if flat else resample(window, target)
                    for window, flat in zip(windows, constant, strict=True)
                ]
                or [np.empty((0, *target), np.float32)]
            ).reshape(-1, *target)
        if self.plan.labels:
            windows = np.concatenate([windows, self._classes(table, name)], axis=2)
        facts = {
            "header": table.header,
            "row_names": table.row_names,
            "constant": int(constant.sum()),
            "stretched": self.size is not None and self.plan.shape[0] != self.plan.shape[1],
            "interpolated": table.interpolated,
            "unused": unused,
            "more": table.more,
            "short": not len(windows),
        }
        return Decoded(windows, {fact: int(value) for fact, value in facts.items()})

    def _parse(self, content: bytes, name: str) -> NumberTable:
        plan = self.plan
        table = parse_file(content, name)
        if plan.names and table.names and plan.selection.positions is None and table.names != plan.names:
            if sorted(table.names) != sorted(plan.names):
                raise DataError(
                    f"{name}, line 1: the columns are {', '.join(table.names[:5])}, not "
                    f"{', '.join(plan.names[:5])} as in {self.first}; all files must have the same columns"
                )
            order = tuple(table.names.index(column) for column in plan.names)
            return to_numbers(table, ColumnSelection(order), plan.missing)
        if plan.selection.positions is not None and len(table.fields(0)) <= max(plan.selection.positions):
            raise DataError(
                f"{name}, line {table.lines[0]}: {len(table.fields(0))} values, but {self.first} has more columns; all "
                "files must have the same columns"
            )
        return to_numbers(table, plan.selection, plan.missing)

    def _windows(self, table: NumberTable, name: str) -> tuple[WindowArray, int]:
        """Return the windows (N, rows, columns) of a table, and the number of rows that are in none."""
        (rows, columns), plan = self.plan.shape, self.plan
        if plan.rows_are == "series" and table.values.shape[1] == columns:
            return table.values[:, None, :].astype(np.float32), 0
        if plan.stride is None:
            if table.values.shape != plan.shape:
                raise DataError(f"{name}, {_shape_error(table, self.first, plan.shape)}")
            return table.values[None].astype(np.float32), 0
        values = table.values if plan.rows_are == "time" else table.values.T
        if values.shape[1] != (columns if plan.rows_are == "time" else rows):
            raise DataError(f"{name}, {_shape_error(table, self.first, plan.shape)}")
        parts = [values[rows] for rows in recordings(table.groups)] if table.groups else [values]
        window = rows if plan.rows_are == "time" else columns
        cut = [_cut(part.astype(np.float32), window, plan.stride) for part in parts]
        windows = np.concatenate([each for each, _ in cut])
        return windows if plan.rows_are == "time" else windows.transpose(0, 2, 1), sum(unused for _, unused in cut)

    def _classes(self, table: NumberTable, name: str) -> WindowArray:
        """Return the class of each row of a table, (rows, 1, 1)."""
        labels = self.plan.labels
        for line, label in zip(table.lines, table.labels, strict=True):
            if label not in labels:
                raise DataError(
                    f"{name}, line {line}: the label '{label[:20]}' does not occur in {self.first}; use --option "
                    "data.label=none, or repair the file"
                )
        classes: WindowArray = np.array([labels.index(label) for label in table.labels], np.float32)[:, None, None]
        return classes


def _cut(values: WindowArray, window: int, stride: int) -> tuple[WindowArray, int]:
    """Return the windows (N, window, columns) of rows, one every `stride`, and the number of rows that are in none."""
    starts = range(0, len(values) - window + 1, stride)
    windows = np.empty((len(starts), window, values.shape[1]), np.float32)
    for index, start in enumerate(starts):
        windows[index] = values[start : start + window]
    return windows, len(values) - (starts[-1] + window if starts else 0)


def _shape_error(table: NumberTable, first: str, shape: tuple[int, ...]) -> str:
    """Describe where a table differs from the expected shape."""
    (rows, columns), remedy = table.values.shape, "all windows must have the same shape"
    if columns != shape[1]:
        return f"line {table.lines[0]}: {columns} values instead of {shape[1]} as in {first}; {remedy}"
    if rows > shape[0]:
        return f"line {table.lines[shape[0]]}: row {shape[0] + 1} of {rows} rows, but {first} has {shape[0]}; {remedy}"
    return f"line {table.lines[-1]}: the last of {rows} rows, but {first} has {shape[0]}; {remedy}"


def resample(window: WindowArray, shape: tuple[int, int]) -> WindowArray:
    """Resample a window to `shape`: bilinear with antialiasing."""
    if window.shape == shape:
        return window
    batch = torch.from_numpy(window)[None, None]
    result: WindowArray = F.interpolate(batch, size=shape, mode="bilinear", antialias=True)[0, 0].numpy()
    return result
