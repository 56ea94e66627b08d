import numpy as np
import pytest

from equipoise.runs.series import Axis, BinnedCurves, CurvePoints, bin_curves


def points(*pairs: tuple[float, float], is_held: bool = False) -> CurvePoints:
    steps, values = zip(*pairs, strict=True)
    return CurvePoints(np.array(steps, float), np.array(values, float), is_held=is_held)


def axis(last: float = 100.0, low: float | None = None, high: float | None = None, scale: float = 1.0) -> Axis:
    steps = np.array([0.0, last])
    return Axis(steps, scale * steps, low, high)


def last(binned: BinnedCurves, name: str) -> list[float]:
    return [float(value) for value in binned.curves[name].last]


def test_few_points_stay_as_they_are() -> None:
    binned = bin_curves({"a": points((1, 5), (3, 7), (9, 6))}, axis(), 10)
    assert binned.x.tolist() == binned.steps.tolist() == [1, 3, 9]
    for values in (binned.curves["a"].low, binned.curves["a"].high, binned.curves["a"].last):
        assert values.tolist() == [5, 7, 6]


def test_no_spike_is_lost() -> None:
    steps = np.arange(100_000.0)
    values = np.sin(steps / 1000)
    values[[4_321, 87_654]] = 50, -60
    binned = bin_curves({"a": CurvePoints(steps, values)}, Axis(steps, steps), 900)
    assert len(binned.x) == 900
    assert binned.curves["a"].high.max() == 50
    assert binned.curves["a"].low.min() == -60
    assert binned.curves["a"].last[-1] == values[-1]
    assert binned.x[-1] == binned.steps[-1] == steps[-1]
    assert (np.diff(binned.x) > 0).all()


def test_the_range_of_a_loss_counts() -> None:
    loss = CurvePoints(np.arange(4.0), np.ones(4), np.array([0.5, 1, 1, 1]), np.array([1, 1, 9, 1.0]))
    binned = bin_curves({"a": loss}, axis(3), 2)
    assert (binned.curves["a"].low.min(), binned.curves["a"].high.max()) == (0.5, 9)


def test_curves_share_bins_and_leave_gaps() -> None:
    binned = bin_curves({"a": points((1, 5), (2, np.nan), (3, 7)), "b": points((2, 1), (4, np.inf))}, axis(), 10)
    assert binned.x.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(last(binned, "a"), [5, np.nan, 7, np.nan])
    np.testing.assert_array_equal(last(binned, "b"), [np.nan, 1, np.nan, np.nan])


def test_a_knob_holds_its_value_between_changes() -> None:
    knob = points((0, 0.1), (50, 0.2), is_held=True)
    binned = bin_curves({"a": points((10, 1), (50, 1), (90, 1)), "lr": knob}, axis(), 10)
    assert binned.x.tolist() == [0, 10, 50, 90, 100]
    assert last(binned, "lr") == [0.1, 0.1, 0.2, 0.2, 0.2]
    assert binned.curves["lr"].low.tolist() == [0.1, 0.1, 0.1, 0.2, 0.2]
    part = bin_curves({"a": points((60, 1), (90, 1)), "lr": knob}, axis(low=60, high=95), 10)
    assert (part.x.tolist(), last(part, "lr")) == ([60, 90], [0.2, 0.2])


@pytest.mark.parametrize(("low", "high", "steps"), [(None, 3, [1, 2, 3]), (2, None, [2, 3, 4]), (2, 3, [2, 3])])
def test_a_part_of_the_steps(low: float | None, high: float | None, steps: list[int]) -> None:
    binned = bin_curves({"a": points((1, 1), (2, 1), (3, 1), (4, 1))}, axis(low=low, high=high), 10)
    assert binned.steps.tolist() == steps


def test_other_axes_are_interpolated() -> None:
    binned = bin_curves({"a": points((10, 1), (25, 2))}, axis(scale=32), 10)
    assert binned.x.tolist() == [320, 800]
    assert binned.steps.tolist() == [10, 25]


def test_no_points() -> None:
    empty = CurvePoints(np.zeros(0), np.zeros(0))
    for curves in ({}, {"a": empty}):
        binned = bin_curves(curves, Axis(np.zeros(1), np.zeros(1)), 10)
        assert len(binned.x) == 0
        assert all(len(bins.last) == 0 for bins in binned.curves.values())
