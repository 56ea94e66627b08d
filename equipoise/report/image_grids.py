"""Samples side by side, with what they are written beside them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from equipoise.report.plot_style import BLUE, INK
from equipoise.runs import run_folder as runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ImageArray = npt.NDArray[np.float32]
"""(N, C, H, W) in [-1, 1], C from 1 to 4."""

SIDE = 84
"""Pixels that a single image has at least, about, when it stands with a caption; small ones are enlarged."""
FRAME = 480
"""Pixels of the longer side of a film's frame, about, to which smaller ones are enlarged."""
TEXT, LINE, GAP, SPACE = 13, 18, 4, 26
"""Pixels: letters, a line of them, between two images, between two groups."""
TALL = 4
"""A group stands in columns of at most so many images."""


@dataclass(frozen=True, slots=True)
class ImageGroup:
    """Images (N, C, H, W) with a title and a caption each, and their mean (C, H, W)."""

    title: str
    images: ImageArray
    captions: Sequence[str]
    mean: ImageArray


def captioned_grid(images: ImageArray, captions: Sequence[str], columns: int) -> Image.Image:
    """A sheet of images, each with its caption below."""
    tiles = [_tile(image, caption) for image, caption in zip(images, captions, strict=True)]
    return _framed(_grid(tiles, columns))


def arithmetic_sheet(groups: Sequence[ImageGroup], title: str, results: ImageArray) -> Image.Image:
    """Groups of samples with their means, and what these add up to: (9, C, H, W), a square with it in the middle."""
    rows = max(math.ceil(len(group.images) / _columns(group)) for group in groups)
    parts = [_group(group, rows) for group in groups]
    tiles = [_tile(image, "") for image in results]
    tiles[4] = _tile(results[4], "", BLUE)
    parts.append(_titled(title, _grid(tiles, 3)))
    width, height = sum(part.width + SPACE for part in parts) - SPACE, max(part.height for part in parts)
    sheet, left = Image.new("RGB", (width, height), "white"), 0
    for part in parts:
        sheet.paste(part, (left, 0))
        left += part.width + SPACE
    return _framed(sheet)


def film_frame(images: ImageArray) -> Image.Image:
    """A frame of a film: the images side by side, enlarged to about 480 pixels if they are smaller; RGB, sides even."""
    sheet = runs.grid(images).convert("RGB")
    sheet = _enlarged(sheet, FRAME / max(sheet.size))
    even = Image.new("RGB", (sheet.width + sheet.width % 2, sheet.height + sheet.height % 2))
    even.paste(sheet, (0, 0))
    return even


def plot_paths(points: npt.NDArray[np.float32]) -> bytes:
    """Ways (N, steps, D) of points as a picture: in the plane if D is 2, else every coordinate along the steps."""
    from equipoise.report.progress_figure import render_png

    return render_png(lambda: _ways(points))


def _ways(points: npt.NDArray[np.float32]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot()
    if points.shape[2] == 2:
        for way in points:
            (line,) = axes.plot(way[:, 0], way[:, 1], ".-", linewidth=1, markersize=4)
            axes.plot(*way[0], "o", color=line.get_color(), markersize=7)
        axes.set(aspect="equal", xlabel="first coordinate", ylabel="second coordinate")
        axes.set_title("Ways between samples; a disc is where one starts", loc="left")
    else:
        for way in points:
            axes.plot(way, ".-", linewidth=1)
        axes.set(xlabel="step", ylabel="value")
    return figure


def _group(group: ImageGroup, rows: int) -> Image.Image:
    """The images of a group above its mean, which stands in the same line for all groups."""
    tiles = [_tile(image, caption) for image, caption in zip(group.images, group.captions, strict=True)]
    columns = _columns(group)
    blank = Image.new("RGB", tiles[0].size, "white")
    tiles += [blank] * (rows * columns - len(tiles))
    above, mean = _grid(tiles, columns), _tile(group.mean, "mean", BLUE)
    sheet = Image.new("RGB", (above.width, above.height + LINE // 2 + mean.height), "white")
    sheet.paste(above, (0, 0))
    sheet.paste(mean, (0, above.height + LINE // 2))
    return _titled(group.title, sheet)


def _columns(group: ImageGroup) -> int:
    return math.ceil(len(group.images) / TALL)


def _tile(image: ImageArray, caption: str, edge: str | None = None) -> Image.Image:
    """An image (C, H, W) with a caption below, and an edge in a colour of its own if wanted."""
    single = runs.grid(image[None]).convert("RGB")
    single = _enlarged(single, SIDE / max(single.size))
    foot = LINE if caption else 0
    tile = Image.new("RGB", (single.width, single.height + foot), "white")
    tile.paste(single, (0, 0))
    draw = ImageDraw.Draw(tile)
    if edge:
        draw.rectangle((0, 0, single.width - 1, single.height - 1), outline=edge, width=2)
    draw.text((tile.width / 2, single.height + 2), caption, fill=INK, font=_font(TEXT), anchor="ma")
    return tile


def _grid(tiles: Sequence[Image.Image], columns: int) -> Image.Image:
    width, height = tiles[0].width + GAP, tiles[0].height + GAP
    rows = math.ceil(len(tiles) / columns)
    sheet = Image.new("RGB", (min(columns, len(tiles)) * width - GAP, rows * height - GAP), "white")
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % columns * width, index // columns * height))
    return sheet


def _titled(title: str, sheet: Image.Image) -> Image.Image:
    font = _font(TEXT + 3)
    width = max(sheet.width, math.ceil(font.getlength(title)))
    result = Image.new("RGB", (width, sheet.height + LINE + GAP), "white")
    ImageDraw.Draw(result).text((0, 0), title, fill=INK, font=font)
    result.paste(sheet, (0, LINE + GAP))
    return result


def _framed(sheet: Image.Image) -> Image.Image:
    """With room all around."""
    result = Image.new("RGB", (sheet.width + 2 * SPACE, sheet.height + 2 * SPACE), "white")
    result.paste(sheet, (SPACE, SPACE))
    return result


def _enlarged(image: Image.Image, factor: float) -> Image.Image:
    """By the nearest whole factor, so that pixels stay squares; never made smaller."""
    times = max(1, round(factor))
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font of the figures, which comes with matplotlib."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
