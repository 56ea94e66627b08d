"""Samples on the frames of a film: images at integer scale, points and numbers on axes, texts as lines."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from equipoise.report.formatting import format_count, one_line
from equipoise.report.plot_style import BLUE
from equipoise.report.sample_plots import MAX_POINTS
from equipoise.report.samples import Samples, value_limits
from equipoise.report.text_rendering import MUTED, TextSpan, draw_row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEFT, TOP, WIDTH, HEIGHT = 16, 72, 676, 608
"""The area within a frame, in pixels: ten columns of 32-pixel images at twice their size are 676 wide."""
AXIS_MARGIN = 60
"""Pixels for ticks and labels, to the left of axes and under them."""
MIN_IMAGE_SIZE = 48
"""Minimum pixels of an image on the screen; if the images of a sheet were smaller, only part of it is shown."""
GAP, GAP_VALUE = 2, 128
"""Pixels between two images of a sheet and their grey value, as in make_grid."""
MAX_LINES, LINE_HEIGHT = 22, 27
"""Number of texts on a frame, and pixels from one to the next."""
POINT_RADIUS, POINT_OPACITY, BINS = 3, 0.6, 40
"""Radius of a point in pixels, its opacity, and number of bars of a histogram."""


@dataclass(frozen=True)
class SampleArea:
    """The area of the samples, which is the same in all frames.

    `cell`: size (width, height) of one image of a sheet; None without images. `limits`: range of points or numbers.
    `max_count`: the highest bar of all histograms, in samples.
    """

    cell: tuple[int, int] | None = None
    points: bool = False
    limits: tuple[float, float] = (-1.0, 1.0)
    max_count: int = 0

    @property
    def axes_box(self) -> tuple[int, int, int, int]:
        """Left, top, width and height of the axes of points or numbers, in pixels."""
        width = HEIGHT - AXIS_MARGIN if self.points else WIDTH - AXIS_MARGIN
        return LEFT + AXIS_MARGIN, TOP, width, HEIGHT - AXIS_MARGIN

    def add_axes(self, figure: "Figure") -> None:
        """Draw the axes of points or numbers; images need none."""
        if self.cell or not (self.points or self.max_count):
            return
        left, top, width, height = self.axes_box
        figure_width, figure_height = figure.get_size_inches() * figure.dpi
        bottom = 1 - (top + height) / figure_height
        axes = figure.add_axes((left / figure_width, bottom, width / figure_width, height / figure_height))
        axes.set_xlim(self.limits)
        axes.set_ylim(self.limits if self.points else (0, 1.05 * self.max_count))
        axes.set_xlabel("first coordinate (vertical: second)" if self.points else "value (vertical: samples)")

    def draw(self, frame: Image.Image, samples: Samples) -> None:
        """Draw samples onto a frame."""
        values = samples.values
        if samples.sheet is not None:
            _paste(frame, *_scale_sheet(samples.sheet, self.cell or samples.sheet.size))
        elif values is not None and self.points and values.ndim == 2 and values.shape[1] == 2:
            self._draw_points(frame, values[:MAX_POINTS])
        elif values is not None and self.max_count and values.size == len(values):
            self._draw_bars(frame, _bar_heights(values.ravel(), self.limits))
        elif samples.texts:
            _draw_texts(frame, samples.texts)
        else:
            _draw_note(frame, samples.shape_note)

    def caption(self, samples: Samples) -> str:
        """Format what the frame shows: same inputs or latents, step, and how many of all samples."""
        groups = ", ".join(samples.groups)
        content = f"Same inputs in every frame ({groups})" if groups else "Same latents in every frame"
        text = f"{content}; step {format_count(samples.step)}"
        if samples.sheet is not None and self.cell:
            (columns, rows), all_cells = _fit(samples.sheet, self.cell)[1:], _cell_counts(samples.sheet, self.cell)
            is_part = columns * rows < all_cells[0] * all_cells[1]
            return f"{text}; {columns * rows} of {all_cells[0] * all_cells[1]} images" if is_part else text
        if len(samples.texts) > MAX_LINES:
            return f"{text}; {MAX_LINES} of {len(samples.texts)} sentences"
        return text

    def _draw_points(self, frame: Image.Image, values: npt.NDArray[np.float64]) -> None:
        """Draw translucent points; transparencies multiply, so their logarithms are summed per pixel."""
        left, top, width, height = self.axes_box
        low, high = self.limits
        scale = np.array([width, height]) / (high - low)
        pixels = np.round((values[np.isfinite(values).all(axis=1)] - low) * scale).astype(int)
        offsets = np.arange(-POINT_RADIUS - 1, POINT_RADIUS + 2)
        dx, dy = np.meshgrid(offsets, offsets)
        opacity = POINT_OPACITY * np.clip(POINT_RADIUS + 0.5 - np.hypot(dx, dy), 0, 1)
        x = pixels[:, :1] + dx.ravel()
        y = height - 1 - pixels[:, 1:] + dy.ravel()
        within = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        log_transparency = np.broadcast_to(np.log1p(-opacity).ravel(), x.shape)[within]
        summed = np.bincount((y * width + x)[within], log_transparency, width * height)
        transparency = np.exp(summed).reshape(height, width)
        colour = Image.new("RGB", (width, height), BLUE)
        mask = Image.fromarray(np.round(255 * (1 - transparency)).astype(np.uint8))
        frame.paste(colour, (left, top), mask)

    def _draw_bars(self, frame: Image.Image, heights: npt.NDArray[np.intp]) -> None:
        left, top, width, height = self.axes_box
        edges = left + np.round(np.linspace(0, width, BINS + 1)).astype(int)
        bar_pixels = np.round(heights / (1.05 * self.max_count) * height).astype(int)
        bottom = top + height
        for start, end, pixels in zip(edges[:-1].tolist(), edges[1:].tolist(), bar_pixels.tolist(), strict=True):
            frame.paste(BLUE, (start + 1, bottom - pixels, end, bottom))


def sample_area(newest_first: Iterable[Samples]) -> SampleArea:
    """Return the area for all samples of a film: the first sheet decides; limits of numbers include all samples."""
    numbers = []
    for samples in newest_first:
        if samples.sheet is not None:
            return SampleArea(cell=_cell_size(samples.sheet))
        if samples.values is not None:
            numbers.append(Samples(samples.step, samples.images, values=samples.values[:MAX_POINTS]))
    arrays = [sample_set.values for sample_set in numbers if sample_set.values is not None]
    limits = value_limits(numbers)
    if arrays and arrays[0].ndim == 2 and arrays[0].shape[1] == 2:
        return SampleArea(points=True, limits=limits)
    scalars = [values.ravel() for values in arrays if values.size == len(values)]
    max_count = max((int(_bar_heights(values, limits).max()) for values in scalars), default=0)
    return SampleArea(limits=limits, max_count=max_count)


def _bar_heights(values: npt.NDArray[np.float64], limits: tuple[float, float]) -> npt.NDArray[np.intp]:
    return np.histogram(values[np.isfinite(values)].clip(*limits), BINS, limits)[0]


def _cell_size(sheet: Image.Image) -> tuple[int, int]:
    """Return the width and height of one image of a sheet, from the grey gaps; without gaps the size of the sheet."""
    pixels = np.asarray(sheet)
    grey = pixels == GAP_VALUE if pixels.ndim == 2 else (pixels[..., :3] == GAP_VALUE).all(axis=2)
    widths, heights = _candidate_sizes(grey.all(axis=0)), _candidate_sizes(grey.all(axis=1))
    square = next((size for size in widths if size in heights), None)
    return (square, square) if square else (widths[0], heights[0])


def _candidate_sizes(grey: npt.NDArray[np.bool_]) -> list[int]:
    """Return the image sizes, ascending, that are consistent with the lines of a sheet that are all grey."""
    length = len(grey)
    sizes = [size for size in range(4, length + 1) if (length + GAP) % (size + GAP) == 0]
    return [size for size in sizes if all(grey[size + line :: size + GAP].all() for line in range(GAP))] or [length]


def _cell_counts(sheet: Image.Image, cell: tuple[int, int]) -> tuple[int, int]:
    return (sheet.width + GAP) // (cell[0] + GAP), (sheet.height + GAP) // (cell[1] + GAP)


def _fit(sheet: Image.Image, cell: tuple[int, int]) -> tuple[int, int, int]:
    """Return scale, columns and rows to show: the whole sheet if its images are large enough, else what fits."""
    columns, rows = _cell_counts(sheet, cell)
    scale_of_all = min(WIDTH // sheet.width, HEIGHT // sheet.height)
    if scale_of_all >= 1 and scale_of_all * min(cell) >= MIN_IMAGE_SIZE:
        return scale_of_all, columns, rows
    scale = max(1, -(-MIN_IMAGE_SIZE // min(cell)))
    max_columns, max_rows = (WIDTH // scale + GAP) // (cell[0] + GAP), (HEIGHT // scale + GAP) // (cell[1] + GAP)
    return scale, max(1, min(columns, max_columns)), max(1, min(rows, max_rows))


def _scale_sheet(sheet: Image.Image, cell: tuple[int, int]) -> tuple[Image.Image, tuple[int, int]]:
    """Crop and scale a sheet for the frame; return it and its upper left corner on the frame."""
    scale, columns, rows = _fit(sheet, cell)
    part = sheet.crop((0, 0, columns * (cell[0] + GAP) - GAP, rows * (cell[1] + GAP) - GAP))
    part = part.resize((part.width * scale, part.height * scale), Image.Resampling.NEAREST)
    part.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)  # a single image that is larger than the area
    return part, (LEFT + (WIDTH - part.width) // 2, TOP + (HEIGHT - part.height) // 2)


def _paste(frame: Image.Image, image: Image.Image, corner: tuple[int, int]) -> None:
    frame.paste(image, corner, image.getchannel("A") if image.mode == "RGBA" else None)


def _draw_texts(frame: Image.Image, texts: tuple[str, ...]) -> None:
    for index, text in enumerate(texts[:MAX_LINES]):
        baseline = TOP + 24 + LINE_HEIGHT * index
        draw_row(ImageDraw.Draw(frame), LEFT, baseline, [TextSpan(one_line(text, 200))], WIDTH)


def _draw_note(frame: Image.Image, text: str) -> None:
    for index, line in enumerate(textwrap.wrap(text, 56)):
        span = TextSpan(line, colour=MUTED)
        draw_row(ImageDraw.Draw(frame), LEFT + 24, TOP + 200 + 26 * index, [span], WIDTH - 48)
