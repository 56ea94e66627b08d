"""Windows of numbers out of text files, and their batches."""

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
from equipoise.data._arrays import check_enough, places_of
from equipoise.data._cache import Decoded, File, shown
from equipoise.data._tables import Table, parsed
from equipoise.errors import DataError

AT_ONCE = 256
"""Windows that are looked at together, so that not all of them are in memory."""

Window = npt.NDArray[np.float32]
"""(rows, columns)."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a file becomes a window: of `shape`, which `first` has, resampled to a square of `size` if that is given."""

    folder: Path
    first: str
    shape: tuple[int, int]
    size: int | None

    @classmethod
    def after(cls, folder: Path, first: File, size: int | None) -> Self:
        """With the shape of the first file. Raises DataError if that is no window."""
        name = shown(first.path)
        try:
            content = (folder / first.path).read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {folder}/{name}: {error.strerror or error}") from error
        rows, columns = parsed(content, f"{folder}/{name}").values.shape
        return cls(folder, name, (rows, columns), size)

    @property
    def target(self) -> tuple[int, int]:
        """Rows and columns of the windows made."""
        return self.shape if self.size is None else (self.size, self.size)

    def __call__(self, content: bytes, path: str) -> Decoded:
        """The window in the content of a file. Raises DataError, with file and line, if it is none of that shape."""
        name = f"{self.folder}/{shown(path)}"
        table = parsed(content, name)
        if table.values.shape != self.shape:
            raise DataError(f"{name}, {_misshapen(table, self.first, self.shape)}")
        constant = bool(table.values.min() == table.values.max())
        facts = {
            "header": table.header,
            "row_names": table.row_names,
            "constant": constant,
            "stretched": self.size is not None and self.shape[0] != self.shape[1],
        }
        # Resampling rounds, and a constant would not be one any more.
        window = np.full(self.target, table.values[0, 0]) if constant else resampled(table.values, self.target)
        return Decoded(window, {fact: int(holds) for fact, holds in facts.items()})


def _misshapen(table: Table, first: str, shape: tuple[int, ...]) -> str:
    """Where a table leaves the shape that it should have."""
    (rows, columns), way_out = table.values.shape, "all windows of a run must have one shape"
    if columns != shape[1]:
        return f"line {table.lines[0]}: {columns} numbers, where {first} has {shape[1]}; {way_out}"
    if rows > shape[0]:
        return f"line {table.lines[shape[0]]}: row {shape[0] + 1} of {rows}, where {first} has {shape[0]}; {way_out}"
    return f"line {table.lines[-1]}: the last of {rows} rows, where {first} has {shape[0]}; {way_out}"


def resampled(window: Window, shape: tuple[int, int]) -> Window:
    """The window with so many rows and columns: bilinear, smoothed before it is made smaller."""
    if window.shape == shape:
        return window
    whole = torch.from_numpy(window)[None, None]
    made: Window = F.interpolate(whole, size=shape, mode="bilinear", antialias=True)[0, 0].numpy()
    return made


def extremes(windows: Tensor, rows: Sequence[int]) -> tuple[float, float]:
    """The least and the greatest number of some of the windows (N, rows, columns)."""
    bounds = [windows[part].aminmax() for part in _parts(rows)]
    return min(float(each.min) for each in bounds), max(float(each.max) for each in bounds)


def share_outside(windows: Tensor, rows: Sequence[int], low: float, high: float) -> float:
    """The share of the numbers of some of the windows that lie below `low` or above `high`."""
    parts = (windows[part] for part in _parts(rows))
    return sum(int(((part < low) | (part > high)).sum()) for part in parts) / (len(rows) * windows[0].numel())


def _parts(rows: Sequence[int]) -> list[Tensor]:
    return [torch.tensor(rows[start : start + AT_ONCE]) for start in range(0, len(rows), AT_ONCE)]


def constant(windows: Tensor) -> list[int]:
    """Which windows (N, rows, columns) hold one number only."""
    bounds = [windows[part].flatten(1).aminmax(dim=1) for part in _parts(range(len(windows)))]
    result: list[int] = torch.cat([each.min == each.max for each in bounds]).nonzero().flatten().tolist()
    return result


@dataclass(frozen=True, slots=True, eq=False)
class WindowStream:
    """Endless epochs over windows, each in a fresh order, cut into batches.

    `windows`: (N, rows, columns) float32 in the data's own unit. `rows`: (M,) int64, which of them. `labels`: (N,)
    int64, or None. `unit`: what -1 and 1 stand for; numbers beyond are cut off there.
    """

    windows: Tensor
    rows: Tensor
    labels: Tensor | None
    unit: tuple[float, float]
    batch_size: int
    seed: int
    split: Split

    def __post_init__(self) -> None:
        check_enough(len(self.rows), self.batch_size, self.split, "windows")

    def batch(self, index: int) -> Batch:
        """Batch number `index`: real (B, 1, rows, columns) float32 in [-1, 1], condition (B,) int64 or None."""
        chosen = self.rows[places_of(len(self.rows), self.batch_size, self.seed, self.split, index)]
        real = scaled(self.windows[chosen].unsqueeze(1), self.unit)
        return Batch(real, None if self.labels is None else self.labels[chosen])


def scaled(numbers: Tensor, unit: tuple[float, float]) -> Tensor:
    """2 (x - low) / (high - low) - 1, cut off at -1 and 1, float32: what stands for `numbers` in training."""
    low, high = unit
    return ((numbers.double() - low) * (2 / (high - low)) - 1).clamp_(-1, 1).float()
