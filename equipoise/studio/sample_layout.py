"""How the images of a sheet of samples are arranged: the size of one, the columns, and how many there are."""

import functools
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from equipoise.errors import RunError
from equipoise.runs.run import DATA_FILE, EventLine

GAP, GREY = 2, 128
"""Pixels between two images of a sheet, and their value."""
SMALLEST = 4


@dataclass(frozen=True, slots=True)
class SheetLayout:
    """Images of `cell` (width, height) pixels in columns and rows; the last row may not be full."""

    columns: int
    rows: int
    count: int
    cell: tuple[int, int]

    def box(self, index: int) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom of an image on the sheet."""
        left = index % self.columns * (self.cell[0] + GAP)
        top = index // self.columns * (self.cell[1] + GAP)
        return left, top, left + self.cell[0], top + self.cell[1]


def as_path(folder: Path, line: EventLine) -> Path:
    """Return the file of samples that a line names. Raises RunError for one outside the run folder."""
    path = (folder / str(line.get("samples"))).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise RunError(f"the samples of step {line['step']} are outside the run folder; they are not shown")
    return path


def load_layout(folder: Path, path: Path) -> SheetLayout:
    """Return the layout of a sheet. Raises RunError or OSError if it cannot be read.

    Sheets of the same size in one folder have the same layout, so that one of them is examined.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(path, formats=("PNG",)) as image:
                size = image.size
    except (ValueError, SyntaxError, Warning, Image.DecompressionBombError) as error:
        raise RunError(f"{path.name} is damaged: {error}") from error
    return _layout_of(path.parent, size, _recorded_cell(folder))(path)


class _LazyLayout:
    """The layout of the sheets of one size, examined once."""

    def __init__(self, size: tuple[int, int], cell: tuple[int, int] | None) -> None:
        self._size = size
        self._cell = cell
        self._layout: SheetLayout | None = None

    def __call__(self, path: Path) -> SheetLayout:
        if self._layout is None:
            try:
                with Image.open(path, formats=("PNG",)) as image:
                    pixels = np.asarray(image.convert("RGB"))
            except (ValueError, SyntaxError) as error:
                raise RunError(f"{path.name} is damaged: {error}") from error
            grey: npt.NDArray[np.bool_] = np.asarray((pixels == GREY).all(axis=2))
            cell = self._cell if self._cell and _fits(self._size, self._cell) else _find_cell(grey)
            self._layout = _count_images(grey, cell)
        return self._layout


@functools.lru_cache(maxsize=512)
def _layout_of(folder: Path, size: tuple[int, int], cell: tuple[int, int] | None) -> _LazyLayout:
    return _LazyLayout(size, cell)


def _recorded_cell(folder: Path) -> tuple[int, int] | None:
    """Return width and height of an image of the data, if the run records them."""
    try:
        values = json.loads((folder / DATA_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    shape = values.get("shape") if isinstance(values, Mapping) else None
    if not isinstance(shape, list) or len(shape) != 3 or not all(type(side) is int and side > 0 for side in shape):
        return None
    return shape[2], shape[1]


def _fits(size: tuple[int, int], cell: tuple[int, int]) -> bool:
    return all((length + GAP) % (side + GAP) == 0 for length, side in zip(size, cell, strict=True))


def _find_cell(grey: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return the size of an image from the grey gaps; the size of the sheet if there are none."""
    widths, heights = (_candidate_sizes(np.asarray(grey.all(axis=axis))) for axis in (0, 1))
    square = next((size for size in widths if size in heights), None)
    return (square, square) if square else (widths[0], heights[0])


def _candidate_sizes(grey: npt.NDArray[np.bool_]) -> list[int]:
    """Return the sizes, ascending, whose gaps are all grey."""
    length = len(grey)
    sizes = [size for size in range(SMALLEST, length + 1) if (length + GAP) % (size + GAP) == 0]
    return [size for size in sizes if all(grey[size + line :: size + GAP].all() for line in range(GAP))] or [length]


def _count_images(grey: npt.NDArray[np.bool_], cell: tuple[int, int]) -> SheetLayout:
    """Count the images: grey cells at the end of the sheet are none."""
    height, width = grey.shape
    columns, rows = (width + GAP) // (cell[0] + GAP), (height + GAP) // (cell[1] + GAP)
    layout = SheetLayout(columns, rows, columns * rows, cell)
    count = layout.count
    while count > 1:
        left, top, right, bottom = layout.box(count - 1)
        if not grey[top:bottom, left:right].all():
            break
        count -= 1
    return SheetLayout(columns, rows, count, cell)
