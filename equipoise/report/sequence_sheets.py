"""Sheets of small line plots: sequences, such as time series and sound, as images are shown."""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from equipoise.report.plot_style import BLUE, FAINT, GREEN, ORANGE, PURPLE, RED, SKY

WIDTH, HEIGHT, GAP = 160, 96, 2
"""Pixels of a plot and between two of them; the gap is grey, as between images."""
MAX_PLOTS, MAX_OVERLAID, MAX_BANDS = 16, 4, 8
"""Largest number of sequences on a sheet, of channels in one plot, and of channels below each other in a plot."""
LINE_COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
SCALE = 4
"""Factor by which plots are drawn larger first, for smooth lines."""
MAX_POSITIONS = 2 * WIDTH
"""Sequences that are longer are drawn by the range of each of this many parts."""


def draw_sequences(values: npt.NDArray[np.floating], columns: int | None = None, most: int = MAX_PLOTS) -> Image.Image:
    """Draw the first sequences of (N, channels, length) in [-1, 1] as a sheet of line plots, from -1 to 1 each.

    `columns`: of the sheet, by default as many as rows. `most`: largest number of sequences. Up to four channels are
    lines in one plot; more are below each other, the first eight of them.
    """
    plots = values[:most].astype(np.float64)
    columns = columns or math.ceil(math.sqrt(len(plots)))
    rows = math.ceil(len(plots) / columns)
    sheet = Image.new("RGB", (columns * (WIDTH + GAP) - GAP, rows * (HEIGHT + GAP) - GAP), (128, 128, 128))
    for index in range(rows * columns):
        plot = _draw_plot(plots[index]) if index < len(plots) else Image.new("RGB", (WIDTH, HEIGHT), "white")
        sheet.paste(plot, (index % columns * (WIDTH + GAP), index // columns * (HEIGHT + GAP)))
    return sheet


def _draw_plot(sequence: npt.NDArray[np.float64]) -> Image.Image:
    """Draw one sequence (channels, length)."""
    image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), "white")
    pen = ImageDraw.Draw(image)
    is_overlaid = len(sequence) <= MAX_OVERLAID
    channels = sequence[:MAX_BANDS]
    height = HEIGHT * SCALE / (1 if is_overlaid else len(channels))
    for index, channel in enumerate(channels):
        top = 0.0 if is_overlaid else index * height
        if index == 0 or not is_overlaid:
            middle = top + height / 2
            pen.line([(0, middle), (WIDTH * SCALE, middle)], fill=FAINT, width=SCALE)
        points = _points(channel)
        x = np.linspace(0.02, 0.98, len(points)) * WIDTH * SCALE
        y = top + height * (0.5 - 0.45 * np.clip(points, -1.1, 1.1))
        pen.line(
            list(zip(x.tolist(), y.tolist(), strict=True)), fill=LINE_COLOURS[index % len(LINE_COLOURS)], width=SCALE
        )
    return image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _points(channel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the values to connect: all, or the lowest and highest of each part of a long sequence."""
    finite = np.nan_to_num(channel, posinf=1, neginf=-1)
    if len(finite) == 1:
        return finite.repeat(2)
    if len(finite) <= MAX_POSITIONS:
        return finite
    parts = np.array_split(finite, MAX_POSITIONS // 2)
    return np.array([edge for part in parts for edge in (part.min(), part.max())])
