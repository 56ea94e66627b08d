"""Images stored as rows of numbers, as CIFAR-10 and many tables of small images are: how to tell, and their shape."""

import math

import numpy as np
import numpy.typing as npt

MIN_SIDE = 8
"""Smallest side of images in rows: there are tables with any smaller number of columns."""
MAX_ROWS = 64
"""Number of rows that are compared."""


def flat_image_shape(rows: npt.NDArray[np.generic], *, is_named: bool = False) -> tuple[int, ...] | None:
    """Return the shape of the square images whose values are the rows (N, D): (S, S), (3, S, S) or (S, S, 3).

    None if the rows are no images. `is_named`: whether a name says that they are. Without it, rows must be bytes, and
    the lines within a row more alike than successive rows; else the rows are lines of one large picture or a table.
    Colours are stored channel by channel, as in CIFAR-10, or pixel by pixel: whichever makes the lines more alike.
    """
    if rows.ndim != 2 or rows.dtype.kind not in "uif" or not (is_named or (rows.dtype == np.uint8 and len(rows) > 1)):
        return None
    first = np.nan_to_num(rows[:MAX_ROWS].astype(np.float64))
    candidates = [(shape, axis) for shape, axis in _shapes(rows.shape[1])]
    if not candidates or not len(first):
        return None
    changes = [np.abs(np.diff(first.reshape(-1, *shape), axis=axis)).mean() for shape, axis in candidates]
    best = int(np.argmin(changes))
    if not is_named and changes[best] >= np.abs(np.diff(first, axis=0)).mean():
        return None
    return candidates[best][0]


def _shapes(width: int) -> list[tuple[tuple[int, ...], int]]:
    """Return the possible shapes of images of this number of values, each with the axis of its lines."""
    for channels in (1, 3):
        side = math.isqrt(width // channels)
        if side >= MIN_SIDE and channels * side * side == width:
            return [((side, side), 1)] if channels == 1 else [((3, side, side), 2), ((side, side, 3), 1)]
    return []
