"""The noise of a metric, the level behind its best value, and values that it cannot have."""

import math
import random
import statistics

import pytest

from equipoise.core.observations import MetricReading, Signals
from equipoise.diagnosis.criteria.metric_quality import (
    SAMPLING_NOISE,
    USUAL_NOISE,
    baseline_of,
    expected_excess,
    has_best,
    has_improved,
    is_broken,
    measurements_of,
    noise_of,
    quality_ratio,
)
from equipoise.diagnosis.criteria.metric_range import is_possible
from equipoise.diagnosis.history import MetricRecord, SignalHistory, append_reading


def record_of(values: list[float], name: str = "fid", better: str = "lower") -> MetricRecord:
    """Return the record of a metric with one measurement every ten steps."""
    history = SignalHistory()
    for number, value in enumerate(values, start=1):
        signals = Signals(metrics={name: MetricReading(value, number % 2, better)})
        history = append_reading(history, 10 * number, number / len(values), signals)
    return history.metrics[name]


@pytest.mark.parametrize("deviation", [0.05, 0.1, 0.2])
def test_noise_is_found_under_a_trend_with_jumps_and_spikes(deviation: float) -> None:
    estimates = []
    for seed in range(20):
        generator = random.Random(seed)
        costs = [5 - 2 * math.sqrt(i / 60) + (0.7 if i > 40 else 0) + generator.gauss(0, deviation) for i in range(60)]
        costs[20] += 1.0
        estimates.append(noise_of(costs))
    assert statistics.median(estimates) == pytest.approx(deviation, rel=0.25)
    assert max(estimates) < 2 * deviation


def test_smooth_course_has_the_sampling_noise_and_few_measurements_the_usual_one() -> None:
    assert noise_of([3.0]) == noise_of([]) == pytest.approx(USUAL_NOISE)
    assert noise_of([5 - math.sqrt(i) for i in range(100)]) == pytest.approx(SAMPLING_NOISE, rel=0.05)
    assert SAMPLING_NOISE < noise_of([4.0, 3.5, 3.2]) < USUAL_NOISE
    assert noise_of([4.0, 4.5, 3.9]) < 0.15, "one turn is little evidence of much noise"


def test_best_of_many_noisy_measurements_is_corrected() -> None:
    generator = random.Random(3)
    errors = []
    for _ in range(30):
        history = record_of([50 * math.exp(generator.gauss(0, 0.1)) for _ in range(60)])
        reached = baseline_of(measurements_of("fid", history))
        errors.append(reached.level - math.log(50))
    assert abs(statistics.median(errors)) < 0.1, "the best itself is 0.23 too low"
    assert expected_excess(1) == 0
    assert expected_excess(10) == pytest.approx(1.54, abs=0.02)


@pytest.mark.parametrize(
    ("name", "value", "possible"),
    [
        *(("fid", 471.2, True), ("fid50k_full", -0.1, False), ("fid", 2e4, False), ("FID", 0.0, False)),
        *(("fid", math.nan, False), ("fd_digits", 0.0, True), ("fd_digits", -1.0, False), ("fd_pixels", 2e5, True)),
        *(("kid", -0.001, True), ("precision", 1.2, True), ("recall", -0.1, False), ("is", 0.5, False)),
        *(("inception_score", 8.1, True), ("is", 2000.0, False), ("is_std", 0.1, True), ("mixture_modes", 0.0, True)),
    ],
)
def test_possible_values(name: str, value: float, possible: bool) -> None:
    assert is_possible(name, value) == possible


@pytest.mark.parametrize(
    ("values", "broken"),
    [
        ([1.3e57, 7.9e51, -2.9e68, 3e53], True),
        ([math.nan] * 4, True),
        ([60.0, 50.0, 45.0, math.nan, 44.0], False),
        ([60.0, 50.0, 45.0, math.nan, -3.0], True),
        ([60.0], False),
        ([math.nan], False),
        ([60.0, 50.0], False),
    ],
)
def test_broken_metric(values: list[float], broken: bool) -> None:
    record = record_of(values)
    assert is_broken("fid", record) == broken
    assert has_best("fid", record) != broken or not math.isfinite(record.best.value)


def test_impossible_values_are_never_the_best() -> None:
    record = record_of([80.0, -5.0, 60.0, 1e9, 70.0])
    assert record.best.value == 60.0
    assert quality_ratio("fid", record, -5.0) == math.inf
    assert [round(math.exp(m.cost)) for m in measurements_of("fid", record)] == [80, 60, 70]


def test_first_value_that_never_changes_is_broken_and_a_carried_one_is_no_new_measurement() -> None:
    history = SignalHistory()
    for step in range(1, 9):
        history = append_reading(history, step, step / 20, Signals(metrics={"fid": MetricReading(40.0, 0)}))
    assert not is_broken("fid", history.metrics["fid"])
    for step in range(9, 15):
        history = append_reading(history, step, step / 20, Signals(metrics={"fid": MetricReading(40.0, 0)}))
    assert is_broken("fid", history.metrics["fid"])
    history = append_reading(history, 15, 0.8, Signals(metrics={"fid": MetricReading(30.0, 0)}))
    assert not is_broken("fid", history.metrics["fid"])
    assert (history.metrics["fid"].count, history.metrics["fid"].is_carried) == (2, True)


def test_improvement_must_exceed_the_noise() -> None:
    assert has_improved("fid", record_of([100.0, 60.0, 50.0, 45.0, 44.0]))
    assert not has_improved("fid", record_of([54.0, 47.0, 53.0, 56.0, 46.0, 54.0, 55.0]))
    assert has_improved("is", record_of([2.0, 4.0, 6.0, 6.5], "is", "higher"))
    assert not has_improved("fid", record_of([100.0]))
