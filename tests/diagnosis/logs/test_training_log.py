"""Series of a log by step, and the readings that follow from them."""

import math

import numpy as np
import pytest

from equipoise.diagnosis.logs.training_log import (
    DENSE_ROWS,
    MAX_READINGS,
    MAX_STEP,
    MetricSeries,
    StepSeries,
    TrainingLog,
    build_series,
    compute_readings,
    order_steps,
)
from equipoise.errors import DataError


def metric(steps: list[float], values: list[float]) -> MetricSeries:
    return MetricSeries(build_series(steps, values), "lower")


def test_entries_superseded_by_a_resumed_run_are_dropped() -> None:
    column = build_series([10, 20, 30, 40, 25, 35, 45], [1, 2, 3, 4, 5, 6, 7])
    assert column.steps.tolist() == [10, 20, 25, 35, 45]
    assert column.values.tolist() == [1, 2, 5, 6, 7]
    assert build_series([], []).steps.tolist() == []


def test_the_last_of_several_values_of_a_step_counts() -> None:
    assert build_series([1, 1, 2, 2], [5, 6, 7, 8]).values.tolist() == [6, 8]
    assert order_steps([1, 1, 2, 2]).repeated == 2


def test_rows_in_descending_order_are_reversed() -> None:
    column = build_series([40, 30, 20, 10], [4, 3, 2, 1])
    assert (column.steps.tolist(), column.values.tolist()) == ([10, 20, 30, 40], [1, 2, 3, 4])


@pytest.mark.parametrize("steps", [[1, math.nan], [1, math.inf], [1, float(MAX_STEP)], [1, 10**400]])
def test_steps_that_cannot_count_are_errors(steps: list[float]) -> None:
    with pytest.raises(DataError, match="step"):
        order_steps(steps)


def test_columns_that_are_valid_throughout_are_not_copied() -> None:
    values = np.arange(5.0)
    assert np.shares_memory(order_steps(np.arange(5)).take(values).values, values)


def test_readings_are_means_with_a_count_of_non_finite_values() -> None:
    count = 50_000
    values = np.arange(count, dtype=float)
    values[::1000] = math.nan
    log = TrainingLog("x", {"loss_d": build_series(np.arange(1, count + 1), values)}, {}, total=2 * count)
    result = list(compute_readings(log))
    assert len(result) == MAX_READINGS
    assert [reading.step for reading in result[:DENSE_ROWS]] == list(range(1, DENSE_ROWS + 1))
    assert (result[-1].step, result[-1].progress) == (count, 0.5)
    assert sum(reading.signals.non_finite for reading in result) == 50
    steps = np.array([0] + [reading.step for reading in result])
    for row in (5, DENSE_ROWS + 3, MAX_READINGS - 1):
        expected = values[steps[row] : steps[row + 1]]
        assert result[row].signals.loss_d == pytest.approx(np.nanmean(expected))


def test_a_huge_value_does_not_change_later_means() -> None:
    values = np.full(5000, 0.25)
    values[1000] = 1e300
    result = list(compute_readings(TrainingLog("x", {"loss_d": build_series(np.arange(5000), values)})))
    assert result[-1].signals.loss_d == 0.25


def test_metric_has_a_value_from_its_step_on_with_an_age_in_units_of_the_log() -> None:
    log = TrainingLog(
        "x", {"loss_d": build_series([10, 20, 30], [1.0, math.nan, 3])}, {"fid": metric([10, 30], [90, 70])}
    )
    result = list(compute_readings(log))
    metrics = [(reading.signals.metrics["fid"].value, reading.signals.metrics["fid"].age) for reading in result]
    assert metrics == [(90.0, 0), (90.0, 10), (70.0, 0)]
    assert [reading.signals.non_finite for reading in result] == [0, 1, 0]
    assert result[1].signals.loss_d is None


def test_every_reading_has_a_new_number() -> None:
    empty = StepSeries(np.zeros(0, np.int64), np.zeros(0))
    log = TrainingLog("x", {"loss_d": build_series([10, 40], [1, 2]), "loss_g": empty}, {"fid": metric([20], [9])})
    assert [reading.step for reading in compute_readings(log)] == [10, 20, 40]
    assert list(compute_readings(TrainingLog("x"))) == []


def test_columns_on_different_steps() -> None:
    d, g = build_series(np.arange(0, 6000, 2), np.ones(3000)), build_series(np.arange(1, 6000, 3), np.full(2000, 2.0))
    result = list(compute_readings(TrainingLog("x", {"loss_d": d, "loss_g": g})))
    assert len(result) == MAX_READINGS
    assert {reading.signals.loss_d for reading in result} <= {1.0, None}
    assert {reading.signals.loss_g for reading in result} <= {2.0, None}
