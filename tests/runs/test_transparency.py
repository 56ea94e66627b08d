"""Pictures of images with transparency."""

import numpy as np
import pytest

from equipoise.runs.artifacts import make_grid
from equipoise.runs.transparency import BRIGHT, DARK, on_checkerboard, straight_pixels


def pixel(*values: float) -> np.ndarray:
    """Return one image of 16 x 16 equal pixels, values in [0, 1]."""
    return np.broadcast_to(np.array(values, np.float32)[None, :, None, None] * 2 - 1, (1, 4, 16, 16)).copy()


def test_transparent_images_show_the_checkerboard() -> None:
    drawn = (on_checkerboard(pixel(0, 0, 0, 0)) + 1) / 2
    assert sorted(set(drawn.round(4).ravel().tolist())) == pytest.approx([DARK, BRIGHT])
    assert np.allclose(on_checkerboard(pixel(0.5, 0.25, 0, 1))[0, :, 3, 3], [0, -0.5, -1])


def test_grids_are_drawn_without_transparency_unless_kept() -> None:
    images = np.concatenate([pixel(0, 0, 0, 0), pixel(1, 1, 1, 1)])
    assert make_grid(images).mode == "RGB"
    kept = make_grid(images, keeps_alpha=True)
    assert kept.mode == "RGBA"
    assert kept.getchannel("A").getextrema() == (0, 255)
    assert kept.getpixel((16, 0)) == (0, 0, 0, 0)  # the gap


def test_file_holds_straight_colours() -> None:
    assert straight_pixels(pixel(0.25, 0.125, 0, 0.5))[0, :, 0, 0].tolist() == [127, 64, 0, 128]
    assert straight_pixels(pixel(0, 0, 0, 0))[0, :, 0, 0].tolist() == [0, 0, 0, 0]


def test_generated_colours_beyond_their_opacity_are_limited() -> None:
    assert straight_pixels(pixel(0.9, 0, 0, 0.2))[0, :, 0, 0].tolist() == [255, 0, 0, 51]
    assert np.isfinite(on_checkerboard(np.full((1, 4, 8, 8), np.nan, np.float32))).all()
