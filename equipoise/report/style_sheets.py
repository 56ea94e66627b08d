"""Sheets of samples with mixed styles, and of samples along directions, each with a caption."""

from collections.abc import Sequence

import numpy as np

from equipoise.report.image_grids import ImageArray, captioned_grid
from equipoise.runs.artifacts import encode_png


def draw_captioned(images: ImageArray, captions: Sequence[str], columns: int) -> bytes:
    """Draw images (N, C, H, W) in a grid, each with its caption, as PNG."""
    # A caption of a space keeps all tiles at the same height.
    return encode_png(captioned_grid(images, [caption or " " for caption in captions], columns))


def draw_mixed(cells: ImageArray, rows: ImageArray, columns: ImageArray, captions: Sequence[Sequence[str]]) -> bytes:
    """Draw mixed samples (R, C, ...) with the samples of the rows (R, ...) and columns (C, ...) before and above them.

    `captions`: those of the rows and of the columns.
    """
    corner = np.ones_like(cells[0, :1])
    lines = [np.concatenate([corner, columns])]
    lines += [np.concatenate([source[None], row]) for source, row in zip(rows, cells, strict=True)]
    words = ["", *captions[1]]
    for caption in captions[0]:
        words += [caption, *[""] * cells.shape[1]]
    return draw_captioned(np.concatenate(lines), words, cells.shape[1] + 1)


def draw_directions(images: ImageArray, components: int, steps: int, extent: float) -> bytes:
    """Draw samples (components · steps, ...) that move along directions from -extent to extent deviations."""
    positions = [extent * (2 * step / (steps - 1) - 1) for step in range(steps)]
    captions = [f"{row + 1}: {position:+.1f} σ" for row in range(components) for position in positions]
    return draw_captioned(images, captions, steps)
