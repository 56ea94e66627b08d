"""Computed pictures and tables of the suite: glyphs of fonts, icons, spectrogram bursts, and series of three columns.

All are pure functions of their size and number; every source has its own fixed seed.
"""

import math
from functools import lru_cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Generator, Tensor

GLYPHS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
FONTS = ("DejaVu", "STIXGeneral", "cmr10", "cmb10", "cmss10", "cmtt10", "cmmi10")
"""Beginnings of the file names of fonts that have all GLYPHS; they are shipped with Matplotlib."""
SUPERSAMPLING = 4
"""Icons are drawn at this multiple of their size and averaged."""
PALETTE = ((214, 69, 65), (52, 128, 196), (76, 163, 86), (243, 178, 60), (132, 94, 170), (70, 70, 80))
SERIES_COLUMNS, SERIES_LENGTH = 3, 32


@lru_cache(maxsize=2)
def glyphs(size: int) -> Tensor:
    """Return every glyph in every font, white on black: (N, 1, size, size) float32 in [-1, 1]."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    files = sorted(path for path in folder.glob("*.ttf") if path.name.startswith(FONTS) and "Display" not in path.name)
    pictures = []
    for path in files:
        font = ImageFont.truetype(str(path), round(size * 0.8))
        for glyph in GLYPHS:
            image = Image.new("L", (size, size))
            ImageDraw.Draw(image).text((size / 2, size / 2), glyph, fill=255, font=font, anchor="mm")
            pictures.append(np.asarray(image))
    return torch.from_numpy(np.stack(pictures)).float().div(127.5).sub(1)[:, None]


@lru_cache(maxsize=2)
def icons(size: int, count: int = 2400) -> Tensor:
    """Return icons on white: a coloured tile with a symbol: (N, 3, size, size) float32 in [-1, 1]."""
    generator = np.random.default_rng(11)
    side = size * SUPERSAMPLING
    pictures = []
    for _ in range(count):
        image = Image.new("RGB", (side, side), (255, 255, 255))
        draw = ImageDraw.Draw(image)
        first, second = generator.choice(len(PALETTE), 2, replace=False)
        margin = side * generator.uniform(0.02, 0.14)
        _tile(draw, int(generator.integers(3)), (margin, side - margin), PALETTE[first])
        _symbol(draw, int(generator.integers(5)), side, generator, PALETTE[second])
        pictures.append(np.asarray(image.resize((size, size), Image.Resampling.BOX)))
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def _tile(draw: ImageDraw.ImageDraw, kind: int, span: tuple[float, float], colour: tuple[int, int, int]) -> None:
    box = (span[0], span[0], span[1], span[1])
    match kind:
        case 0:
            draw.ellipse(box, fill=colour)
        case 1:
            draw.rectangle(box, fill=colour)
        case _:
            draw.rounded_rectangle(box, radius=(span[1] - span[0]) / 4, fill=colour)


def _symbol(
    draw: ImageDraw.ImageDraw, kind: int, side: int, generator: np.random.Generator, colour: tuple[int, int, int]
) -> None:
    radius, white = side * generator.uniform(0.16, 0.26), (255, 255, 255)
    x, y = (side / 2 + side * generator.uniform(-0.06, 0.06) for _ in range(2))
    box, width = (x - radius, y - radius, x + radius, y + radius), max(1, round(radius * 0.45))
    match kind:
        case 0:
            draw.ellipse(box, fill=white)
        case 1:
            draw.ellipse(box, outline=white, width=width)
        case 2:
            draw.polygon([(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)], fill=white)
        case 3:
            draw.line((x - radius, y, x + radius, y), fill=white, width=width)
            draw.line((x, y - radius, x, y + radius), fill=white, width=width)
        case _:
            draw.rectangle(box, fill=white)
            draw.rectangle((x - radius / 2, y - radius / 2, x + radius / 2, y + radius / 2), fill=colour)


@lru_cache(maxsize=2)
def bursts(size: int, count: int = 2400) -> Tensor:
    """Return spectrograms of one to three rising or falling bursts over a noise floor: (N, 1, size, size) float32.

    Rows are frequencies and columns are times; the values, decibels scaled to [-1, 1].
    """
    generator = Generator().manual_seed(12)
    line = torch.linspace(0, 1, size)
    frequency, time = line.flip(0)[:, None], line[None, :]
    power = torch.zeros(count, size, size)
    present = 1 + torch.randint(3, (count,), generator=generator)
    for number in range(3):
        u = torch.rand(7, count, 1, 1, generator=generator)
        start, length, low, slope = 0.7 * u[0], 0.1 + 0.35 * u[1], 0.1 + 0.6 * u[2], 1.6 * (u[3] - 0.5)
        along = ((time - start) / length).clamp(0, 1)
        envelope = torch.sin(math.pi * along) * (0.4 + 0.6 * u[4])
        centre = low + slope * (time - start)
        band = torch.exp(-(((frequency - centre) / (0.03 + 0.05 * u[5])) ** 2))
        power += (present > number)[:, None, None] * envelope * band
    noise = (
        0.02 * (0.3 + torch.rand(count, 1, 1, generator=generator)) * torch.rand(count, size, size, generator=generator)
    )
    return ((power + noise).clamp_min(1e-4).log10().clamp(-2.5, 0) * 2 / 2.5 + 1)[:, None]


@lru_cache(maxsize=1)
def series(count: int = 2400) -> Tensor:
    """Return windows of a machine's sensors, a cycle, its lagged temperature and rare spikes: (N, 3, 32) float32."""
    generator = Generator().manual_seed(13)
    u = torch.rand(6, count, 1, generator=generator)
    time = torch.arange(SERIES_LENGTH) / SERIES_LENGTH
    cycle = (0.3 + 0.5 * u[0]) * torch.sin(2 * math.pi * ((1 + 2 * u[1].round()) * time + u[2]))
    lagged = torch.cumsum(cycle, 1) / 6 + 0.8 * (u[3] - 0.5)
    spikes = (torch.rand(count, SERIES_LENGTH, generator=generator) < 0.04 + 0.1 * (u[4] > 0.8)).float()
    noise = 0.03 * torch.randn(SERIES_COLUMNS, count, SERIES_LENGTH, generator=generator)
    return (torch.stack([cycle, lagged, 1.6 * spikes - 0.8]) + noise).clamp(-1, 1).permute(1, 0, 2).contiguous()
