"""Windows of numbers from text files, and streams over them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.core.data import Batch, Split
from equipoise.data._arrays import batch_indices, check_split_size
from equipoise.data._cache import Decoded, File, printable
from equipoise.data._sources import Source
from equipoise.data._tables import NumberTable, parse_table
from equipoise.errors import DataError

CHUNK = 256
"""Number of windows processed at once, to bound memory."""

WindowArray = npt.NDArray[np.float32]
"""A window of numbers: (rows, columns) float32."""


@dataclass(frozen=True, slots=True)
class WindowDecoder:
    """Decoder of files to windows of `shape`, the shape of the file `first`. `size`: side after resampling, or None."""

    folder: Path
    first: str
    shape: tuple[int, int]
    size: int | None

    @classmethod
    def from_first_file(cls, source: Source, first: File, size: int | None) -> Self:
        """Create a decoder with the shape of the first file. Raises DataError if that is not a window."""
        folder, name = source.location, printable(first.path)
        try:
            content = source.read(first.path)
        except OSError as error:
            raise DataError(f"cannot read {folder}/{name}: {error.strerror or error}") from error
        rows, columns = parse_table(content, f"{folder}/{name}").values.shape
        return cls(folder, name, (rows, columns), size)

    @property
    def target(self) -> tuple[int, int]:
        """Rows and columns of the decoded windows."""
        return self.shape if self.size is None else (self.size, self.size)

    def __call__(self, content: bytes, path: str) -> Decoded:
        """Decode the content of a file. Raises DataError, with file and line, if it is not a window of that shape."""
        name = f"{self.folder}/{printable(path)}"
        table = parse_table(content, name)
        if table.values.shape != self.shape:
            raise DataError(f"{name}, {_shape_error(table, self.first, self.shape)}")
        constant_windows = bool(table.values.min() == table.values.max())
        facts = {
            "header": table.header,
            "row_names": table.row_names,
            "constant": constant_windows,
            "stretched": self.size is not None and self.shape[0] != self.shape[1],
        }
        # Resampling rounds: a constant window would not remain constant.
        window = np.full(self.target, table.values[0, 0]) if constant_windows else resample(table.values, self.target)
        return Decoded(window, {fact: int(value) for fact, value in facts.items()})


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


def value_range(windows: Tensor, rows: Sequence[int]) -> tuple[float, float]:
    """Return the smallest and the largest number in `rows` of windows (N, rows, columns)."""
    bounds = [windows[part].aminmax() for part in _chunks(rows)]
    return min(float(part.min) for part in bounds), max(float(part.max) for part in bounds)


def share_outside(windows: Tensor, rows: Sequence[int], low: float, high: float) -> float:
    """Return the share of numbers in `rows` of windows that are below `low` or above `high`."""
    parts = (windows[part] for part in _chunks(rows))
    return sum(int(((part < low) | (part > high)).sum()) for part in parts) / (len(rows) * windows[0].numel())


def _chunks(rows: Sequence[int]) -> list[Tensor]:
    return [torch.tensor(rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK)]


def constant_windows(windows: Tensor) -> list[int]:
    """Return the indices of windows (N, rows, columns) whose numbers are all equal."""
    bounds = [windows[part].flatten(1).aminmax(dim=1) for part in _chunks(range(len(windows)))]
    result: list[int] = torch.cat([part.min == part.max for part in bounds]).nonzero().flatten().tolist()
    return result


@dataclass(frozen=True, slots=True, eq=False)
class WindowStream:
    """Endless epochs over windows, each in a new random order, split into batches.

    `windows`: (N, rows, columns) float32 in the unit of the data. `rows`: (M,) int64, the windows to use. `labels`:
    (N,) int64, or None. `unit`: the values that -1 and 1 represent; values beyond are clipped.
    """

    windows: Tensor
    rows: Tensor
    labels: Tensor | None
    unit: tuple[float, float]
    batch_size: int
    seed: int
    split: Split

    def __post_init__(self) -> None:
        check_split_size(len(self.rows), self.batch_size, self.split, "windows")

    def batch(self, index: int) -> Batch:
        """Return batch number `index`: real (B, 1, rows, columns) float32 in [-1, 1], condition (B,) int64 or None."""
        indices = self.rows[batch_indices(len(self.rows), self.batch_size, self.seed, self.split, index)]
        real = scale_to_range(self.windows[indices].unsqueeze(1), self.unit)
        return Batch(real, None if self.labels is None else self.labels[indices])


def scale_to_range(numbers: Tensor, unit: tuple[float, float]) -> Tensor:
    """Return 2 (x - low) / (high - low) - 1, clipped to [-1, 1], float32: the values used in training."""
    low, high = unit
    return ((numbers.double() - low) * (2 / (high - low)) - 1).clamp_(-1, 1).float()
