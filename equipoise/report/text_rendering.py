"""Words on the frames of a film: in the letters of the figures, and each drawn once."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from equipoise.report.plot_style import INK

SIZE = 16
"""Pixels of an em: the smallest that is read well at 720 lines."""
SWATCH = 16
"""Pixels of the stroke of colour before the words that it names."""
MUTED = "#5A5A5A"
"""Of words that matter less: 6.9 to 1 against white."""


@dataclass(frozen=True)
class TextSpan:
    """Words of one look; with a `swatch`, a stroke of that colour stands before them.

    `value` stands behind them, in a room of its own so that what follows does not move as it changes.
    """

    text: str
    value: str = ""
    colour: str = INK
    bold: bool = False
    size: int = SIZE
    swatch: str | None = None


def draw_row(draw: ImageDraw.ImageDraw, left: float, baseline: float, parts: Sequence[TextSpan], width: float) -> None:
    """Words in a row; those that would go beyond `width` pixels are cut short, the rest are left out."""
    end = left + width
    for part in parts:
        start = left + (SWATCH + 6 if part.swatch else 0)
        text = _fitting(part, end - start)
        if not text:
            return
        if part.swatch:
            middle = round(baseline - 0.36 * part.size)
            draw.rectangle((round(left), middle - 2, round(left) + SWATCH - 1, middle + 1), fill=part.swatch)
        left = start + _put(draw, start, baseline, text, part)
        if part.value and left + text_width(part, part.value) <= end:
            room = max(text_width(part, "0.0000"), _put(draw, left + 6, baseline, part.value, part))
            left += 6 + room
        left += 0.8 * part.size


def text_width(look: TextSpan, text: str) -> float:
    """How wide a text is in this look, in pixels."""
    return _drawn(text, look.size, look.bold)[1]


def _put(draw: ImageDraw.ImageDraw, left: float, baseline: float, text: str, look: TextSpan) -> float:
    mask, width = _drawn(text, look.size, look.bold)
    draw.bitmap((round(left), round(baseline) - look.size), mask, fill=look.colour)
    return width


def _fitting(part: TextSpan, width: float) -> str:
    if text_width(part, part.text) <= width:
        return part.text
    kept = len(part.text)
    while kept and text_width(part, part.text[:kept] + "…") > width:
        kept -= 1
    return part.text[:kept] + "…" if kept >= 3 else ""


@functools.lru_cache(maxsize=4096)
def _drawn(text: str, size: int, bold: bool) -> tuple[Image.Image, float]:
    """A text as a mask with `size` pixels above its baseline, and how wide it is: most come again frame after frame."""
    font = _font(size, bold)
    width = font.getlength(text)
    mask = Image.new("L", (int(width) + 2, 3 * size // 2))
    ImageDraw.Draw(mask).text((0, size), text, fill=255, font=font, anchor="ls")
    return mask, width


@functools.cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """The font of the figures, which comes with matplotlib."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
