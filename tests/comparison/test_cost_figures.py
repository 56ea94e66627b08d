"""Names of arms in figures of cost."""

import itertools

import matplotlib.pyplot as plt
import pytest

from equipoise.comparison import cost_figures
from equipoise.comparison.aggregate import IntervalEstimate


def test_names_of_arms_with_the_same_cost_and_score_do_not_cover_each_other() -> None:
    figure, axes = plt.subplots(figsize=(6, 4))
    axes.set_xscale("log")
    axes.set_xlim(0.1, 1000)
    axes.set_ylim(-0.05, 1.05)
    points = {f"arm_number_{number}": (10.0, IntervalEstimate(0.5, 0.4, 0.6)) for number in range(6)}
    cost_figures._label_points(axes, points)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == list(points)
    for one, other in itertools.combinations(boxes, 2):
        assert not one.shrunk(0.95, 0.8).overlaps(other.shrunk(0.95, 0.8))
    plt.close(figure)


def test_a_panel_without_samples_has_no_names() -> None:
    figure, axes = plt.subplots()
    cost_figures._label_points(axes, {})
    assert not axes.texts
    plt.close(figure)


@pytest.mark.parametrize(
    ("one", "other", "area"),
    [((0, 0, 2, 2), (1, 1, 3, 5), 1), ((0, 0, 1, 1), (2, 0, 3, 1), 0), ((0, 0, 4, 4), (1, 1, 2, 3), 2)],
)
def test_overlap_is_the_area_in_both_boxes(one, other, area) -> None:
    assert cost_figures._overlap(one, other) == cost_figures._overlap(other, one) == area
