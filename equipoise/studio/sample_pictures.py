"""The samples of a run as pictures: grids of any number of columns, single samples, points, numbers and texts."""

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from equipoise.core.printing import printable
from equipoise.errors import RunError
from equipoise.report.plot_style import BLUE, INK
from equipoise.report.samples import Samples, load_samples, value_limits
from equipoise.report.sequence_sheets import draw_sequences
from equipoise.runs.artifacts import encode_png
from equipoise.runs.run import EventLine
from equipoise.runs.run_index import LiveRun
from equipoise.studio.sample_layout import SheetLayout, as_path, load_layout

MAX_SAMPLES = 1024
SIDE, RADIUS, BARS = 420, 3, 40
"""Pixels of a plot of points or numbers, radius of a point, number of bars."""
MAX_POINTS, MAX_TEXTS, LINE_HEIGHT = 5000, 64, 24
MAX_CHARACTERS = 2000
"""Longest text that is shown."""
MAX_SIDE = 2048
"""Largest side of a picture that is enlarged, in pixels."""
KINDS = {".png": "image", ".txt": "text", ".npy": "table"}


def list_samples(run: LiveRun) -> list[dict[str, object]]:
    """Return step, file, kind and layout of all samples of a run, as JSON values."""
    return [_item(run, line) for line in run.log.events("sampled")]


def draw_grid(run: LiveRun, step: int, columns: int | None, limit: int) -> bytes:
    """Draw the first `limit` samples of a step in a grid; return PNG bytes. Every cell has the same size, without gaps
    outside of it. Points, numbers and texts are one picture.

    Raises RunError if there are no samples of that step, or they cannot be read.
    """
    line = _line_of(run, step)
    samples = _load(run, line)
    if samples.sheet is not None and not samples.are_sequences:
        layout = load_layout(run.run.folder, as_path(run.run.folder, line))
        cells = _cut(samples.sheet, layout, min(limit, layout.count))
        return encode_png(arrange(cells, columns or min(layout.columns, len(cells))))
    if samples.are_sequences:
        values = _sequences(run, line)
        return encode_png(draw_sequences(values, columns, min(limit, MAX_SAMPLES)))
    return encode_png(_draw_plot(run, samples))


def draw_sample(run: LiveRun, step: int, index: int, scale: int) -> bytes:
    """Draw one sample of a step, enlarged by whole pixels; return PNG bytes. Raises RunError if there is none."""
    line = _line_of(run, step)
    samples = _load(run, line)
    if samples.sheet is None:
        return encode_png(_draw_plot(run, samples))
    if samples.are_sequences:
        values = _sequences(run, line)
        _check_index(index, len(values), step)
        return encode_png(draw_sequences(values[index : index + 1]))
    layout = load_layout(run.run.folder, as_path(run.run.folder, line))
    _check_index(index, layout.count, step)
    return encode_png(enlarge(_cut(samples.sheet, layout, index + 1)[-1], scale))


def read_texts(run: LiveRun, step: int) -> list[str]:
    """Return the first samples of a step of a run that generates texts, each in one line.

    Raises RunError if there are no samples of that step, they cannot be read, or are no texts.
    """
    texts = _load(run, _line_of(run, step)).texts
    if not texts:
        raise RunError(f"the samples of {run.name} are no texts; they are shown as pictures")
    return [printable(text)[:MAX_CHARACTERS] for text in texts[:MAX_TEXTS]]


def arrange(cells: Sequence[Image.Image], columns: int) -> Image.Image:
    """Arrange pictures of one size in a grid, with one grey pixel around each, so that all cells are equally large."""
    columns = max(1, min(columns, len(cells)))
    width, height = cells[0].width + 2, cells[0].height + 2
    grid = Image.new("RGB", (columns * width, math.ceil(len(cells) / columns) * height), (128, 128, 128))
    for index, cell in enumerate(cells):
        grid.paste(cell.convert("RGB"), (index % columns * width + 1, index // columns * height + 1))
    return grid


def enlarge(image: Image.Image, scale: int) -> Image.Image:
    """Enlarge a picture by a whole factor, to at most 2048 pixels a side; pixels stay square."""
    scale = max(1, min(scale, MAX_SIDE // max(image.size)))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def _item(run: LiveRun, line: EventLine) -> dict[str, object]:
    name = str(line.get("samples", ""))
    kind = KINDS.get(Path(name).suffix, "other")
    layout = SheetLayout(1, 1, 1, (0, 0))
    shape: list[int] | None = None
    try:
        path = as_path(run.run.folder, line)
        if kind == "image":
            layout = load_layout(run.run.folder, path)
            shape = [layout.cell[1], layout.cell[0]]
        elif kind == "table":
            shape = list(_shape(path))
            count = shape[0] if len(shape) == 3 else 1
            layout = SheetLayout(math.ceil(math.sqrt(min(count, 16))), 1, count, (0, 0))
    except (RunError, OSError, ValueError):
        kind = "other"
    shows = line.get("shows")
    return {
        "step": line["step"],
        "images": line.get("images", 0),
        "file": name,
        "columns": layout.columns,
        "count": layout.count,
        "kind": kind,
        "shape": shape,
        "shows": shows if isinstance(shows, list) else [],
    }


def _line_of(run: LiveRun, step: int) -> EventLine:
    """Return the last line of samples of a step. Raises RunError if there is none."""
    lines = [line for line in run.log.events("sampled") if line["step"] == step]
    if not lines:
        raise RunError(f"{run.name} has no samples of step {step}; choose one of the list")
    return lines[-1]


def _load(run: LiveRun, line: EventLine) -> Samples:
    samples = load_samples(run.run, line)
    if samples.note:
        raise RunError(samples.note)
    return samples


def _sequences(run: LiveRun, line: EventLine) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return np.asarray(np.load(as_path(run.run.folder, line), allow_pickle=False), dtype=np.float32)


def _shape(path: Path) -> tuple[int, ...]:
    """Read the shape of an array without its numbers."""
    return tuple(np.load(path, mmap_mode="r", allow_pickle=False).shape)


def _cut(sheet: Image.Image, layout: SheetLayout, count: int) -> list[Image.Image]:
    return [sheet.crop(layout.box(index)) for index in range(count)]


def _check_index(index: int, count: int, step: int) -> None:
    if not 0 <= index < count:
        raise RunError(f"there is no sample {index} of step {step}; it has the samples 0 to {count - 1}")


def _draw_plot(run: LiveRun, samples: Samples) -> Image.Image:
    """Draw points, numbers or texts on one picture."""
    if samples.texts:
        return _draw_texts(samples.texts)
    values = samples.values
    if values is not None and values.ndim == 2 and values.shape[1] == 2:
        return draw_points(values[:MAX_POINTS], _limits(run))
    if values is not None and values.size == len(values):
        return _draw_bars(values.ravel(), _limits(run))
    raise RunError(samples.shape_note)


def _limits(run: LiveRun) -> tuple[float, float]:
    """Return the range of the numbers of the last samples, so that all steps have the same axes."""
    last = run.log.events("sampled")[-1]
    return _limits_of(run.run.folder, last["step"], run)


@functools.lru_cache(maxsize=64)
def _limits_of(folder: Path, step: int, run: LiveRun) -> tuple[float, float]:
    return value_limits([load_samples(run.run, _line_of(run, step))])


def draw_points(
    values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", limits: tuple[float, float]
) -> Image.Image:
    """Draw points (N, 2) as dots; `limits`: range of both axes."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image, "RGBA")
    finite = values[np.isfinite(values).all(axis=1)]
    pixels = (finite - limits[0]) / (limits[1] - limits[0]) * SIDE
    for x, y in pixels.clip(-1e4, 1e4).tolist():
        draw.ellipse((x - RADIUS, SIDE - y - RADIUS, x + RADIUS, SIDE - y + RADIUS), fill=_translucent(BLUE))
    return image


def _draw_bars(values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", limits: tuple[float, float]) -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    heights = np.histogram(values[np.isfinite(values)].clip(*limits), BARS, limits)[0]
    for index, height in enumerate((heights / max(1, heights.max()) * (SIDE - 8)).tolist()):
        left = index * SIDE / BARS
        draw.rectangle((left, SIDE - height, left + SIDE / BARS - 2, SIDE), fill=BLUE)
    return image


def _draw_texts(texts: Sequence[str]) -> Image.Image:
    from equipoise.report.text_rendering import load_font

    font, lines = load_font(15), [text[:160] for text in texts[:MAX_TEXTS]]
    width = max(160, *(math.ceil(font.getlength(line)) for line in lines)) + 16
    image = Image.new("RGB", (width, len(lines) * LINE_HEIGHT + 8), "white")
    draw = ImageDraw.Draw(image)
    for index, line in enumerate(lines):
        draw.text((8, 4 + index * LINE_HEIGHT), line, fill=INK, font=font)
    return image


def _translucent(colour: str) -> tuple[int, int, int, int]:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return red, green, blue, 150
