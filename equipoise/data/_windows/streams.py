"""Windows of numbers in [-1, 1]: splits, scales, and streams."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from equipoise.core.data import Batch, DataSpec, Split
from equipoise.data._arrays import batch_indices, check_split_size
from equipoise.data._files.cache import CachedFolder
from equipoise.data._files.listing import content_digest
from equipoise.data._splits import split_by_digest
from equipoise.data._windows.plans import WindowPlan

CHUNK = 256
"""Number of windows processed at once, to bound memory."""
MAX_BLOCKS = 5
"""Largest number of blocks of time that are held out of one table."""
MIN_FILES = 10
"""Number of long tables from which whole tables are held out."""


def value_ranges(windows: Tensor, rows: Sequence[int], axis: int) -> tuple[Tensor, Tensor]:
    """Return the smallest and the largest number of each column (axis 2) or row (axis 1) of windows (N, rows, columns).

    `rows`: the windows that count.
    """
    over = (0, 3 - axis)
    parts = [windows[part] for part in _chunks(rows)]
    low = torch.stack([part.amin(over) for part in parts]).amin(0)
    return low, torch.stack([part.amax(over) for part in parts]).amax(0)


def share_outside(windows: Tensor, rows: Sequence[int], low: Tensor, high: Tensor) -> float:
    """Return the share of numbers in `rows` of windows (N, rows, columns) that are below `low` or above `high`."""
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
    (N,) int64, or None. `spec`: of the samples; values beyond its unit are clipped. `is_transposed`: whether the rows
    of a window are the positions of a sequence. `classes`: as in :func:`batch_indices`, indices into `rows`.
    """

    windows: Tensor
    rows: Tensor
    labels: Tensor | None
    spec: DataSpec
    is_transposed: bool
    batch_size: int
    seed: int
    split: Split
    classes: tuple[Tensor, ...] | None = None

    def __post_init__(self) -> None:
        check_split_size(len(self.rows), self.batch_size, self.split, "windows")

    def batch(self, index: int) -> Batch:
        """Return batch number `index`: real (B, ...) float32 in [-1, 1], condition (B,) int64 or None."""
        order = batch_indices(len(self.rows), self.batch_size, self.seed, self.split, index, self.classes)
        indices = self.rows[order]
        windows = self.windows[indices]
        samples = windows.unsqueeze(1) if self.spec.is_image else windows
        real = scale_to_range(samples.transpose(1, 2) if self.is_transposed else samples, self.spec)
        return Batch(real, None if self.labels is None else self.labels[indices])


def scale_to_range(numbers: Tensor, spec: DataSpec) -> Tensor:
    """Return 2 (x - low) / (high - low) - 1, clipped to [-1, 1], float32: the values used in training.

    0 where low equals high, as in a column that is constant.
    """
    low, high = spec.bounds
    span = high - low
    factor = torch.where(span > 0, 2 / span.where(span > 0, torch.ones_like(span)), torch.zeros_like(span))
    offset = torch.where(span > 0, torch.ones_like(span), torch.zeros_like(span))
    return ((numbers.double() - low) * factor - offset).clamp_(-1, 1).float().contiguous()


def split_windows(result: CachedFolder, plan: WindowPlan, share: float) -> tuple[list[int], list[int]]:
    """Split windows into training and held-out windows, about `share` of all.

    Tables that are one window each are selected by their digests, and so are series.
    """
    if plan.rows_are == "series":
        return split_by_digest([content_digest(window.numpy().tobytes()) for window in result.array], share)
    if plan.stride is None:
        return split_by_digest(result.digests, share)
    return split_recordings(result, plan.shape[0] if plan.rows_are == "time" else plan.shape[1], plan.stride, share)


def split_recordings(result: CachedFolder, length: int, stride: int, share: float) -> tuple[list[int], list[int]]:
    """Split the windows of recordings, of `length` and one every `stride`.

    Whole recordings are held out if there are at least ten, or if they are so short that one window of each would be
    twice the share. Otherwise blocks of time of each are; training windows that overlap them are not used.
    """
    counts = Counter(result.paths).values()
    smallest = sum(max(1, round(share * count)) for count in counts)
    if len(counts) >= MIN_FILES or (len(counts) > 1 and smallest >= 2 * max(1, share * len(result.paths))):
        return split_by_digest(result.digests, share)
    gap = math.ceil(length / stride) - 1
    train: list[int] = []
    held_out: list[int] = []
    for _, group in groupby(range(len(result.paths)), key=result.paths.__getitem__):
        rows = list(group)
        blocks = time_blocks(len(rows), share, gap)
        held_out += [rows[position] for block in blocks for position in block]
        train += [rows[position] for position in _outside(len(rows), blocks, gap)]
    return train, held_out


def time_blocks(count: int, share: float, gap: int) -> list[range]:
    """Return the blocks of `count` consecutive windows that are held out, about `share` of all.

    `gap`: number of following windows that overlap one. One block is at the end; more of them, up to five, are spread
    evenly, so that the held-out windows are of all times. Empty if too few windows would remain.
    """
    total = max(1, round(share * count)) if share > 0 else 0
    if not total or count - total - gap < 1:
        return []
    number = max(1, min(MAX_BLOCKS, total // max(1, 2 * gap)))
    if number == 1:
        return [range(count - total, count)]
    sizes = [total // number + (index < total % number) for index in range(number)]
    starts = [round((index + 0.5) * count / number - size / 2) for index, size in enumerate(sizes)]
    return [range(start, start + size) for start, size in zip(starts, sizes, strict=True)]


def _outside(count: int, blocks: Sequence[range], gap: int) -> list[int]:
    """Return the positions that are at least `gap` away from all blocks."""
    near = {position for block in blocks for position in range(block.start - gap, block.stop + gap)}
    return [position for position in range(count) if position not in near]
