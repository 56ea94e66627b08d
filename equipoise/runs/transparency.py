"""Pictures of images with transparency: (N, 4, H, W) in [-1, 1], colours multiplied by their opacity, and the opacity.

A network can generate a colour that exceeds its opacity; it counts as the brightest that this opacity allows.
"""

import numpy as np
import numpy.typing as npt

RGBA = 4
"""Number of channels of an image with transparency."""
BRIGHT, DARK = 1.0, 0.86
"""Squares of the checkerboard, in [0, 1]; neither is the grey of the gaps between images of a sheet."""
SQUARES = 4
"""Number of squares along the shorter side of an image."""

Images = npt.NDArray[np.float32]


def on_checkerboard(images: Images) -> Images:
    """Return (N, 3, H, W) in [-1, 1]: the images on a checkerboard, on which holes differ from white and from grey."""
    height, width = images.shape[2:]
    side = max(1, min(height, width) // SQUARES)
    rows, columns = np.arange(height) // side, np.arange(width) // side
    board = np.where((rows[:, None] + columns) % 2, np.float32(DARK), np.float32(BRIGHT))
    colour, opacity = _split(images)
    return (2 * (colour + (1 - opacity) * board) - 1).astype(np.float32)


def straight_pixels(images: Images) -> npt.NDArray[np.uint8]:
    """Return (N, 4, H, W) uint8 as image files hold them: colours divided by their opacity, 0 where it is 0."""
    colour, opacity = _split(images)
    opacity = (np.round(255 * opacity) / 255).astype(np.float32)  # as the file holds it
    straight = np.divide(colour, opacity, out=np.zeros_like(colour), where=opacity > 0)
    return np.round(255 * np.concatenate([straight.clip(0, 1), opacity], axis=1)).astype(np.uint8)


def _split(images: Images) -> tuple[Images, Images]:
    """Return colours, at most as large as the opacity, and opacity: (N, 3, H, W) and (N, 1, H, W) in [0, 1]."""
    values = ((np.nan_to_num(images).clip(-1, 1) + 1) / 2).astype(np.float32)
    opacity = values[:, 3:]
    return np.minimum(values[:, :3], opacity), opacity
