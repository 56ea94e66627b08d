"""Sheets of line plots of sequences."""

import numpy as np
import pytest

from equipoise.report.sequence_sheets import GAP, HEIGHT, WIDTH, draw_sequences


@pytest.mark.parametrize(("shape", "columns", "rows"), [((1, 1, 8), 1, 1), ((5, 2, 64), 3, 2), ((64, 12, 1000), 4, 4)])
def test_sheet_has_a_plot_for_each_sequence(shape, columns, rows):
    sheet = draw_sequences(np.random.default_rng(0).uniform(-1, 1, shape))
    assert sheet.size == (columns * (WIDTH + GAP) - GAP, rows * (HEIGHT + GAP) - GAP)
    assert (np.asarray(sheet)[:HEIGHT, :WIDTH] != 255).any()


def test_line_follows_the_values():
    values = np.stack([np.full((1, 50), -0.8), np.full((1, 50), 0.8)])
    pixels = np.asarray(draw_sequences(values).convert("RGB")).astype(int)
    blue = (pixels[..., 2] - pixels[..., 0]) > 60
    low, high = (np.nonzero(blue[:, start : start + WIDTH])[0].mean() for start in (0, WIDTH + GAP))
    assert low > 0.8 * HEIGHT
    assert high < 0.2 * HEIGHT


def test_values_that_are_not_finite_are_drawn_at_the_edge():
    assert draw_sequences(np.full((1, 1, 20), np.nan)).size == (WIDTH, HEIGHT)
    assert draw_sequences(np.full((1, 1, 1), np.inf)).size == (WIDTH, HEIGHT)
