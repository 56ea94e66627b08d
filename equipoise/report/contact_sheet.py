"""A contact sheet: rows of images under headings, on one picture."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from equipoise.report.image_grids import FONT_SIZE, GAP, LINE_HEIGHT, MARGIN, ImageArray
from equipoise.report.plot_style import INK
from equipoise.report.text_rendering import load_font
from equipoise.runs.artifacts import make_grid

TILE = 96
"""Pixels of the longer side of an image on the sheet."""
CAPTION_WIDTH = TILE - 6


@dataclass(frozen=True, slots=True)
class ImageSection:
    """Images (N, C, H, W) under a heading, with a caption for each."""

    heading: str
    images: ImageArray
    captions: Sequence[str]


def draw_contact_sheet(title: str, sections: Sequence[ImageSection], columns: int = 12) -> Image.Image:
    """Draw the sections one below the other; captions that are too long lose their beginning."""
    parts = [_draw_section(section, columns) for section in sections]
    width = columns * (TILE + GAP) - GAP
    height = 2 * LINE_HEIGHT + sum(part.height + LINE_HEIGHT for part in parts)
    sheet = Image.new("RGB", (width + 2 * MARGIN, height + 2 * MARGIN), "white")
    ImageDraw.Draw(sheet).text((MARGIN, MARGIN), title, fill=INK, font=load_font(FONT_SIZE + 5))
    top = MARGIN + 2 * LINE_HEIGHT
    for part in parts:
        sheet.paste(part, (MARGIN, top))
        top += part.height + LINE_HEIGHT
    return sheet


def _draw_section(section: ImageSection, columns: int) -> Image.Image:
    """Draw a heading and the images of a section."""
    rows = -(-len(section.images) // columns)
    tile_height = TILE + LINE_HEIGHT
    part = Image.new("RGB", (columns * (TILE + GAP) - GAP, LINE_HEIGHT + GAP + rows * (tile_height + GAP)), "white")
    draw = ImageDraw.Draw(part)
    draw.text((0, 0), section.heading, fill=INK, font=load_font(FONT_SIZE + 1))
    for index, (image, caption) in enumerate(zip(section.images, section.captions, strict=True)):
        left, top = index % columns * (TILE + GAP), LINE_HEIGHT + GAP + index // columns * (tile_height + GAP)
        part.paste(_fit(make_grid(image[None]).convert("RGB")), (left, top))
        draw.text((left, top + TILE + 2), _shorten(caption), fill=INK, font=load_font(FONT_SIZE - 3))
    return part


def _fit(image: Image.Image) -> Image.Image:
    """Resize to TILE pixels on the longer side; pixels stay square where that is a whole factor."""
    longer = max(image.size)
    method = Image.Resampling.BICUBIC if TILE % longer else Image.Resampling.NEAREST
    return image.resize((TILE * image.width // longer, TILE * image.height // longer), method)


def _shorten(caption: str) -> str:
    """Return the end of a caption that fits under an image."""
    font = load_font(FONT_SIZE - 3)
    if font.getlength(caption) <= CAPTION_WIDTH:
        return caption
    while caption and font.getlength(f"…{caption}") > CAPTION_WIDTH:
        caption = caption[1:]
    return f"…{caption}"
