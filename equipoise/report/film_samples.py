"""Where a film shows the samples: images as large as whole pixels allow, points and numbers on axes, texts as lines."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from equipoise.report import text_rendering
from equipoise.report.plot_style import BLUE
from equipoise.report.text_rendering import MUTED, TextSpan
from equipoise.report.sample_plots import MOST_POINTS
from equipoise.report.samples import Samples, value_limits
from equipoise.report.formatting import format_count, one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEFT, TOP, WIDTH, HEIGHT = 16, 72, 676, 608
"""The place within a frame, in pixels: ten columns of 32-pixel images at twice their size are 676 wide."""
ROOM = 60
"""Pixels for ticks, at the left of axes and below them."""
READABLE = 48
"""Pixels of an image on the screen; where a whole sheet would come out smaller, part of it is shown."""
GAP, GAP_VALUE = 2, 128
"""Between two images of a sheet, as runs.grid leaves it."""
LINES, LINE = 22, 27
"""Texts that a frame has room for, and pixels from one to the next."""
DOT, COVER, BINS = 3, 0.6, 40
"""Radius of a point in pixels, how much of what is below it a point covers, bars of a histogram."""


@dataclass(frozen=True)
class SampleArea:
    """What stays the same through a film: `cell` is one image (width, height) of a sheet, None if there are none.

    Points, and numbers, stand within `bounds`; `tallest` is the highest bar of all, in samples.
    """

    cell: tuple[int, int] | None = None
    points: bool = False
    bounds: tuple[float, float] = (-1.0, 1.0)
    tallest: int = 0

    @property
    def square(self) -> tuple[int, int, int, int]:
        """Left, top, width and height of the axes of points or numbers."""
        width = HEIGHT - ROOM if self.points else WIDTH - ROOM
        return LEFT + ROOM, TOP, width, HEIGHT - ROOM

    def set_up(self, figure: "Figure") -> None:
        """Draw the axes of points or numbers; images need none."""
        if self.cell or not (self.points or self.tallest):
            return
        left, top, width, height = self.square
        wide, high = figure.get_size_inches() * figure.dpi
        axes = figure.add_axes((left / wide, 1 - (top + height) / high, width / wide, height / high))
        axes.set_xlim(self.bounds)
        axes.set_ylim(self.bounds if self.points else (0, 1.05 * self.tallest))
        axes.set_xlabel("first coordinate; the second upwards" if self.points else "value")

    def paint(self, frame: Image.Image, samples: Samples) -> None:
        """Put samples in their place on a frame."""
        values = samples.values
        if samples.sheet is not None:
            _paste(frame, *_arranged(samples.sheet, self.cell or samples.sheet.size))
        elif values is not None and self.points and values.ndim == 2 and values.shape[1] == 2:
            self._dots(frame, values[:MOST_POINTS])
        elif values is not None and self.tallest and values.size == len(values):
            self._bars(frame, _heights(values.ravel(), self.bounds))
        elif samples.texts:
            _lines(frame, samples.texts)
        else:
            shape = "" if values is None else f"numbers of shape {values.shape} have no picture"
            _note(frame, samples.note or shape)

    def caption(self, samples: Samples) -> str:
        """What is seen, and how much of it."""
        kept = (
            f"The same inputs all along ({', '.join(samples.shows)})" if samples.shows else "The same latents all along"
        )
        said = f"{kept}, here after step {format_count(samples.step)}"
        if samples.sheet is not None and self.cell:
            (columns, rows), whole = _fitting(samples.sheet, self.cell)[1:], _cells(samples.sheet, self.cell)
            part = columns * rows < whole[0] * whole[1]
            return f"{said}: {columns * rows} of {whole[0] * whole[1]}" if part else said
        if len(samples.texts) > LINES:
            return f"{said}: {LINES} of {len(samples.texts)}"
        return said

    def _dots(self, frame: Image.Image, values: npt.NDArray[np.float64]) -> None:
        """Points that cover one another by parts; added up in logarithms, as covers multiply."""
        left, top, width, height = self.square
        low, high = self.bounds
        scale = np.array([width, height]) / (high - low)
        places = np.round((values[np.isfinite(values).all(axis=1)] - low) * scale).astype(int)
        reach = np.arange(-DOT - 1, DOT + 2)
        across, down = np.meshgrid(reach, reach)
        cover = COVER * np.clip(DOT + 0.5 - np.hypot(across, down), 0, 1)
        x = places[:, :1] + across.ravel()
        y = height - 1 - places[:, 1:] + down.ravel()
        within = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        parts = np.broadcast_to(np.log1p(-cover).ravel(), x.shape)[within]
        seen = np.exp(np.bincount((y * width + x)[within], parts, width * height)).reshape(height, width)
        ground = Image.new("RGB", (width, height), BLUE)
        mask = Image.fromarray(np.round(255 * (1 - seen)).astype(np.uint8))
        frame.paste(ground, (left, top), mask)

    def _bars(self, frame: Image.Image, heights: npt.NDArray[np.intp]) -> None:
        left, top, width, height = self.square
        edges = left + np.round(np.linspace(0, width, BINS + 1)).astype(int)
        lines = np.round(heights / (1.05 * self.tallest) * height).astype(int)
        bottom = top + height
        for start, end, line in zip(edges[:-1].tolist(), edges[1:].tolist(), lines.tolist(), strict=True):
            frame.paste(BLUE, (start + 1, bottom - line, end, bottom))


def sample_area(seen: Iterable[Samples]) -> SampleArea:
    """The stage for these samples, the last ones first: a sheet settles it, numbers are looked at together."""
    numbers = []
    for samples in seen:
        if samples.sheet is not None:
            return SampleArea(cell=_cell(samples.sheet))
        if samples.values is not None:
            numbers.append(Samples(samples.step, samples.images, values=samples.values[:MOST_POINTS]))
    arrays = [one.values for one in numbers if one.values is not None]
    if arrays and arrays[0].ndim == 2 and arrays[0].shape[1] == 2:
        return SampleArea(points=True, bounds=value_limits(numbers))
    single = [values.ravel() for values in arrays if values.size == len(values)]
    bounds = value_limits(numbers)
    return SampleArea(bounds=bounds, tallest=max((int(_heights(one, bounds).max()) for one in single), default=0))


def _heights(values: npt.NDArray[np.float64], bounds: tuple[float, float]) -> npt.NDArray[np.intp]:
    return np.histogram(values[np.isfinite(values)].clip(*bounds), BINS, bounds)[0]


def _cell(sheet: Image.Image) -> tuple[int, int]:
    """Width and height of one image of a sheet, told by the grey between them; the sheet's own if there is none."""
    pixels = np.asarray(sheet)
    grey = pixels == GAP_VALUE if pixels.ndim == 2 else (pixels[..., :3] == GAP_VALUE).all(axis=2)
    across, down = _periods(grey.all(axis=0)), _periods(grey.all(axis=1))
    square = next((size for size in across if size in down), None)
    return (square, square) if square else (across[0], down[0])


def _periods(grey: npt.NDArray[np.bool_]) -> list[int]:
    """All sizes of which this many lines, grey ones between them, can be made; the smallest first."""
    length = len(grey)
    sizes = [size for size in range(4, length + 1) if (length + GAP) % (size + GAP) == 0]
    return [size for size in sizes if all(grey[size + place :: size + GAP].all() for place in range(GAP))] or [length]


def _cells(sheet: Image.Image, cell: tuple[int, int]) -> tuple[int, int]:
    return (sheet.width + GAP) // (cell[0] + GAP), (sheet.height + GAP) // (cell[1] + GAP)


def _fitting(sheet: Image.Image, cell: tuple[int, int]) -> tuple[int, int, int]:
    """Scale, columns and rows: the whole sheet where its images can be read, else as many of them as there is room."""
    columns, rows = _cells(sheet, cell)
    whole = min(WIDTH // sheet.width, HEIGHT // sheet.height)
    if whole >= 1 and whole * min(cell) >= READABLE:
        return whole, columns, rows
    scale = max(1, -(-READABLE // min(cell)))
    across, down = (WIDTH // scale + GAP) // (cell[0] + GAP), (HEIGHT // scale + GAP) // (cell[1] + GAP)
    return scale, max(1, min(columns, across)), max(1, min(rows, down))


def _arranged(sheet: Image.Image, cell: tuple[int, int]) -> tuple[Image.Image, tuple[int, int]]:
    """The part of a sheet that is shown, as it is shown, and its upper left corner on the frame."""
    scale, columns, rows = _fitting(sheet, cell)
    part = sheet.crop((0, 0, columns * (cell[0] + GAP) - GAP, rows * (cell[1] + GAP) - GAP))
    part = part.resize((part.width * scale, part.height * scale), Image.Resampling.NEAREST)
    part.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)  # one image that is larger than the stage
    return part, (LEFT + (WIDTH - part.width) // 2, TOP + (HEIGHT - part.height) // 2)


def _paste(frame: Image.Image, picture: Image.Image, corner: tuple[int, int]) -> None:
    frame.paste(picture, corner, picture.getchannel("A") if picture.mode == "RGBA" else None)


def _lines(frame: Image.Image, texts: tuple[str, ...]) -> None:
    for number, text in enumerate(texts[:LINES]):
        text_rendering.draw_row(ImageDraw.Draw(frame), LEFT, TOP + 24 + LINE * number, [TextSpan(one_line(text, 200))], WIDTH)


def _note(frame: Image.Image, text: str) -> None:
    for number, line in enumerate(textwrap.wrap(text, 56)):
        text_rendering.draw_row(ImageDraw.Draw(frame), LEFT + 24, TOP + 200 + 26 * number, [TextSpan(line, colour=MUTED)], WIDTH - 48)
