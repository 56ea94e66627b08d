"""The signal history: bounded size, exact JSON round trip, correct means over the whole run."""

import json
import math
import random
import statistics

import pytest

from equipoise.core.observations import MetricReading, Signals
from equipoise.diagnosis.history import (
    RECENT,
    SPANS,
    SignalHistory,
    WinCriteria,
    append_reading,
    has_discriminator_won,
)

EMPTY = SignalHistory()


def build_history(count: int, signals, history: SignalHistory = EMPTY) -> SignalHistory:
    """Append the readings `signals(step)` of steps 1 to `count`."""
    for step in range(1, count + 1):
        history = append_reading(history, step, step / count, signals(step))
    return history


@pytest.mark.parametrize("count", [1, 63, 255, 256, 257, 1000, 2049])
def test_spans_have_the_mean_of_all_readings(count: int) -> None:
    values = [random.Random(step).gauss(0, 1) for step in range(1, count + 1)]
    history = build_history(count, lambda step: Signals(loss_g=values[step - 1]))
    points = (*history.spans, *history.filling)
    assert sum(point.count for point in points) == count
    assert math.fsum(p.values["loss_g"] * p.count for p in points) / count == pytest.approx(statistics.fmean(values))
    assert [point.step for point in points] == sorted({point.step for point in points})
    assert len(history.spans) < 2 * SPANS
    assert len(history.filling) < history.width
    assert history.last("loss_g", 5) == values[-5:]
    assert len(history.recent) == min(count, RECENT)


def test_size_is_bounded() -> None:
    def size(count: int) -> int:
        return len(json.dumps(build_history(count, lambda step: Signals(loss_g=step / 7, loss_d=1 / step)).to_dict()))

    assert size(6000) < 2.5 * size(600)


def test_missing_signals_stay_missing() -> None:
    history = build_history(600, lambda step: Signals(diversity=1.0) if step % 50 == 0 else Signals(loss_g=2.0))
    assert {value for _, value in history.whole("diversity")} == {1.0}
    assert {value for _, value in history.whole("loss_g")} == {2.0}
    assert history.whole("coverage") == []
    assert history.early("coverage") is None
    assert history.last("diversity", 9) == [1.0, 1.0], "only of the recent readings"


def test_non_finite_signals_are_missing() -> None:
    history = build_history(9, lambda step: Signals(loss_g=math.nan if step % 2 else 1.0))
    assert history.last("loss_g", 9) == [1.0] * 4


def test_early_is_the_median_of_the_first_twentieth() -> None:
    history = build_history(200, lambda step: Signals(gradient_norm_g=5.0 if step <= 10 else 1.0))
    assert history.early("gradient_norm_g") == 5.0
    assert build_history(4, lambda step: Signals(gradient_norm_g=5.0)).early("gradient_norm_g", least=5) is None


def test_metric_is_recorded_when_its_value_is_new() -> None:
    """Measured after steps 10 and 20; the second value is the same as the first."""
    ages = {10: 0, 11: 64, 12: 128, 20: 0, 21: 64}
    history = SignalHistory()
    for step, age in ages.items():
        history = append_reading(history, step, step / 30, Signals(metrics={"fid": MetricReading(40.0, age)}))
    assert [(each.step, each.value) for each in history.metrics["fid"].values] == [(10, 40.0), (20, 40.0)]
    history = append_reading(history, 30, 1.0, Signals(metrics={"fid": MetricReading(30.0, 0)}))
    assert (history.metrics["fid"].best.step, history.metrics["fid"].count) == (30, 3)


@pytest.mark.parametrize(("better", "best"), [("lower", 1.0), ("higher", 9.0)])
def test_best_value_respects_the_direction_of_the_metric(better, best: float) -> None:
    values = [3.0, 9.0, math.nan, 1.0, 5.0]
    history = SignalHistory()
    for step, value in enumerate(values):
        history = append_reading(history, step, 0.0, Signals(metrics={"m": MetricReading(value, 0, better)}))
    assert history.metrics["m"].best.value == best


def test_json_round_trip_is_exact_and_can_be_continued() -> None:
    def signals(step: int) -> Signals:
        metrics = {"fid": MetricReading(100 / step, step % 50)}
        return Signals(loss_g=1 + step / 100, loss_d=2 / step, rank_train_fake=0.5, metrics=metrics)

    half = build_history(333, signals)
    restored = SignalHistory.from_dict(json.loads(json.dumps(half.to_dict())))
    assert restored == half
    assert build_history(400, signals, restored) == build_history(400, signals, half)


def test_discriminator_has_won_by_the_losses() -> None:
    """From step 200 on the discriminator's loss is a tenth of what it was, the generator's twice."""
    history = build_history(400, lambda s: Signals(loss_d=1.0 if s < 200 else 0.1, loss_g=1.0 if s < 200 else 2.0))
    since = history.levels.discriminator_won_since
    assert since is not None
    assert 200 < since <= 230, "once half of the last tenth is lower"
    assert not has_discriminator_won(history.levels, WinCriteria(loss_d_share=0.05))
    assert not has_discriminator_won(history.levels, WinCriteria(loss_g_rise=1.5))
    unbounded = build_history(400, lambda s: Signals(loss_d=-1.0 if s < 200 else 0.01, loss_g=float(s)))
    assert unbounded.levels.discriminator_won_since is None, "a Wasserstein estimate has no level"
    only_d = build_history(400, lambda s: Signals(loss_d=1.0 if s < 200 else 0.1))
    assert only_d.levels.discriminator_won_since is None


def test_history_of_earlier_versions_opens_without_the_newer_fields_of_metrics() -> None:
    history = build_history(30, lambda step: Signals(metrics={"fid": MetricReading(100 / step, 0)}))
    values = json.loads(json.dumps(history.to_dict()))
    for name in ("repeats", "is_carried"):
        del values["metrics"]["fid"][name]
    assert SignalHistory.from_dict(values) == history
