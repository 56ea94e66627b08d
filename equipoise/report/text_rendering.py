"""Rendering of text on the frames of a film, in the font of the figures. Rendered text is cached."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from equipoise.report.plot_style import INK

FONT_SIZE = 16
"""Pixels per em: the smallest size that is easy to read at a height of 720 pixels."""
SWATCH_WIDTH = 16
"""Width in pixels of the colour key before a text."""
MUTED = "#5A5A5A"
"""Colour of secondary text; contrast 6.9 to 1 on white."""


@dataclass(frozen=True)
class TextSpan:
    """Text of one style; with `swatch`, a colour key of that colour is drawn before it.

    `value` is drawn after the text in a field of fixed minimum width, so that later texts do not move when it changes.
    """

    text: str
    value: str = ""
    colour: str = INK
    bold: bool = False
    size: int = FONT_SIZE
    swatch: str | None = None


def draw_row(
    draw: ImageDraw.ImageDraw, left: float, baseline: float, spans: Sequence[TextSpan], max_width: float
) -> None:
    """Draw spans in a row; the span that would exceed `max_width` pixels is truncated, and the rest omitted."""
    end = left + max_width
    for span in spans:
        start = left + (SWATCH_WIDTH + 6 if span.swatch else 0)
        text = _truncate(span, end - start)
        if not text:
            return
        if span.swatch:
            middle = round(baseline - 0.36 * span.size)
            draw.rectangle((round(left), middle - 2, round(left) + SWATCH_WIDTH - 1, middle + 1), fill=span.swatch)
        left = start + _draw_text(draw, start, baseline, text, span)
        if span.value and left + text_width(span, span.value) <= end:
            value_width = _draw_text(draw, left + 6, baseline, span.value, span)
            left += 6 + max(text_width(span, "0.0000"), value_width)
        left += 0.8 * span.size


def text_width(style: TextSpan, text: str) -> float:
    """Return the width of a text in the style of a span, in pixels."""
    return _render(text, style.size, style.bold)[1]


@functools.cache
def load_font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Load the font of the figures, which matplotlib ships; `size` in pixels."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def _draw_text(draw: ImageDraw.ImageDraw, left: float, baseline: float, text: str, style: TextSpan) -> float:
    mask, width = _render(text, style.size, style.bold)
    draw.bitmap((round(left), round(baseline) - style.size), mask, fill=style.colour)
    return width


def _truncate(span: TextSpan, max_width: float) -> str:
    if text_width(span, span.text) <= max_width:
        return span.text
    length = len(span.text)
    while length and text_width(span, span.text[:length] + "…") > max_width:
        length -= 1
    return span.text[:length] + "…" if length >= 3 else ""


@functools.lru_cache(maxsize=4096)
def _render(text: str, size: int, bold: bool) -> tuple[Image.Image, float]:
    """Render a text as a mask with `size` pixels above its baseline; return the mask and its width in pixels."""
    font = load_font(size, bold=bold)
    width = font.getlength(text)
    mask = Image.new("L", (int(width) + 2, 3 * size // 2))
    ImageDraw.Draw(mask).text((0, size), text, fill=255, font=font, anchor="ls")
    return mask, width
