"""Sheets of captioned images, latent arithmetic as a picture, film frames of images, and plots of interpolations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from equipoise.report.plot_style import BLUE, INK, render_png
from equipoise.report.text_rendering import load_font
from equipoise.runs.artifacts import make_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ImageArray = npt.NDArray[np.float32]
"""(N, C, H, W) in [-1, 1], C from 1 to 4."""

TILE_SIZE = 84
"""Approximate minimum size in pixels of an image with a caption; smaller ones are enlarged."""
FRAME_SIZE = 480
"""Approximate pixels of the longer side of a film frame, to which smaller ones are enlarged."""
FONT_SIZE, LINE_HEIGHT, GAP, MARGIN = 13, 18, 4, 26
"""Pixels: size of letters, height of a line, between two images, between two groups."""
MAX_ROWS = 4
"""Maximum number of images in a column of a group."""


@dataclass(frozen=True, slots=True)
class ImageGroup:
    """Images (N, C, H, W) with a title for all, a caption for each, and the image of their mean latent (C, H, W)."""

    title: str
    images: ImageArray
    captions: Sequence[str]
    mean: ImageArray


def captioned_grid(images: ImageArray, captions: Sequence[str], columns: int) -> Image.Image:
    """Draw a sheet of images (N, C, H, W), each with its caption under it."""
    tiles = [_tile(image, caption) for image, caption in zip(images, captions, strict=True)]
    return _add_margin(_grid(tiles, columns))


def arithmetic_sheet(groups: Sequence[ImageGroup], title: str, results: ImageArray) -> Image.Image:
    """Draw groups of samples with their means, and `results` (9, C, H, W) as a square with the sum in its centre."""
    rows = max(math.ceil(len(group.images) / _column_count(group)) for group in groups)
    parts = [_group_sheet(group, rows) for group in groups]
    tiles = [_tile(image, "") for image in results]
    tiles[4] = _tile(results[4], "", BLUE)
    parts.append(_add_title(title, _grid(tiles, 3)))
    width, height = sum(part.width + MARGIN for part in parts) - MARGIN, max(part.height for part in parts)
    sheet, left = Image.new("RGB", (width, height), "white"), 0
    for part in parts:
        sheet.paste(part, (left, 0))
        left += part.width + MARGIN
    return _add_margin(sheet)


def film_frame(images: ImageArray) -> Image.Image:
    """Draw a film frame: images side by side, enlarged to about 480 pixels if smaller; RGB, even width and height."""
    sheet = make_grid(images).convert("RGB")
    sheet = _enlarge(sheet, FRAME_SIZE / max(sheet.size))
    even = Image.new("RGB", (sheet.width + sheet.width % 2, sheet.height + sheet.height % 2))
    even.paste(sheet, (0, 0))
    return even


def plot_paths(points: npt.NDArray[np.float32]) -> bytes:
    """Plot interpolations (N, steps, D) as paths if D is 2, else as coordinates over steps; return PNG bytes."""
    return render_png(lambda: _paths_figure(points))


def _paths_figure(points: npt.NDArray[np.float32]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot()
    if points.shape[2] == 2:
        for path in points:
            (line,) = axes.plot(path[:, 0], path[:, 1], ".-", linewidth=1, markersize=4)
            axes.plot(*path[0], "o", color=line.get_color(), markersize=7)
        axes.set(aspect="equal", xlabel="first coordinate", ylabel="second coordinate")
        axes.set_title("Interpolations between samples (large dot: start)", loc="left")
    else:
        for path in points:
            axes.plot(path, ".-", linewidth=1)
        axes.set(xlabel="step", ylabel="value")
    return figure


def _group_sheet(group: ImageGroup, rows: int) -> Image.Image:
    """Draw the images of a group over its mean; the means of all groups are at the same height."""
    tiles = [_tile(image, caption) for image, caption in zip(group.images, group.captions, strict=True)]
    columns = _column_count(group)
    empty = Image.new("RGB", tiles[0].size, "white")
    tiles += [empty] * (rows * columns - len(tiles))
    images, mean = _grid(tiles, columns), _tile(group.mean, "mean", BLUE)
    sheet = Image.new("RGB", (images.width, images.height + LINE_HEIGHT // 2 + mean.height), "white")
    sheet.paste(images, (0, 0))
    sheet.paste(mean, (0, images.height + LINE_HEIGHT // 2))
    return _add_title(group.title, sheet)


def _column_count(group: ImageGroup) -> int:
    return math.ceil(len(group.images) / MAX_ROWS)


def _tile(image: ImageArray, caption: str, border: str | None = None) -> Image.Image:
    """Draw an image (C, H, W) with a caption under it, and optionally a border of a colour."""
    single = make_grid(image[None]).convert("RGB")
    single = _enlarge(single, TILE_SIZE / max(single.size))
    caption_height = LINE_HEIGHT if caption else 0
    tile = Image.new("RGB", (single.width, single.height + caption_height), "white")
    tile.paste(single, (0, 0))
    draw = ImageDraw.Draw(tile)
    if border:
        draw.rectangle((0, 0, single.width - 1, single.height - 1), outline=border, width=2)
    draw.text((tile.width / 2, single.height + 2), caption, fill=INK, font=load_font(FONT_SIZE), anchor="ma")
    return tile


def _grid(tiles: Sequence[Image.Image], columns: int) -> Image.Image:
    width, height = tiles[0].width + GAP, tiles[0].height + GAP
    rows = math.ceil(len(tiles) / columns)
    sheet = Image.new("RGB", (min(columns, len(tiles)) * width - GAP, rows * height - GAP), "white")
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % columns * width, index // columns * height))
    return sheet


def _add_title(title: str, sheet: Image.Image) -> Image.Image:
    font = load_font(FONT_SIZE + 3)
    width = max(sheet.width, math.ceil(font.getlength(title)))
    titled = Image.new("RGB", (width, sheet.height + LINE_HEIGHT + GAP), "white")
    ImageDraw.Draw(titled).text((0, 0), title, fill=INK, font=font)
    titled.paste(sheet, (0, LINE_HEIGHT + GAP))
    return titled


def _add_margin(sheet: Image.Image) -> Image.Image:
    with_margin = Image.new("RGB", (sheet.width + 2 * MARGIN, sheet.height + 2 * MARGIN), "white")
    with_margin.paste(sheet, (MARGIN, MARGIN))
    return with_margin


def _enlarge(image: Image.Image, factor: float) -> Image.Image:
    """Enlarge by the nearest whole factor, so that pixels stay square; never reduce."""
    times = max(1, round(factor))
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
