import numpy as np

from equipoise.report.series import CurveSeries, corner_positions


def test_decimation_preserves_extremes_and_mean() -> None:
    values = np.sin(np.arange(10_000) / 50)
    values[5_432] = 90
    values[7_777] = -80
    series = CurveSeries.of(range(10_000), values.tolist()).decimated(200)
    assert len(series.steps) == 200
    assert series.high.max() == 90
    assert series.low.min() == -80
    assert abs(series.mean.mean() - values.mean()) < 1e-9
    assert (np.diff(series.steps) > 0).all()


def test_short_series_is_unchanged() -> None:
    series = CurveSeries.of([1, 2, 3], [1, 2, 3], [0, 1, 2], [4, 5, 6])
    assert series.decimated(3) is series


def test_nan_leaves_a_gap() -> None:
    values = [1.0] * 500 + [float("nan")] * 500 + [3.0] * 500
    series = CurveSeries.of(range(1500), values).decimated(15)
    assert np.isnan(series.mean[5:10]).all()
    assert (series.mean[:5] == 1).all()
    assert series.last == 3
    assert not CurveSeries.of([1, 2], [float("nan")] * 2)


def test_uneven_steps_use_every_nonempty_bin() -> None:
    series = CurveSeries.of([*range(100), *range(100, 100_000, 50)], [0.0] * 2098).decimated(50)
    assert len(series.steps) == 50
    assert series.steps[0] < series.steps[-1] < 100_000


def test_corner_positions_preserve_extremes() -> None:
    values = np.zeros(100_000)
    values[12_345], values[54_321] = 7, -7
    corners = corner_positions(np.arange(100_000.0), values, 100)
    assert {0, 12_345, 54_321, 99_999} <= set(corners.tolist())
    assert len(corners) <= 400
