"""What is remembered: bounded, the same through JSON, and right about the whole run."""

import json
import math
import random
import statistics

import pytest

from equipoise.core.observations import MetricReading, Signals
from equipoise.diagnosis.criteria import Criteria
from equipoise.diagnosis.history import RECENT, SPANS, History, from_plain, overwhelmed, remember, to_plain

EMPTY = History()


def remembered(count: int, signals, history: History = EMPTY) -> History:
    """`signals(step)` for steps 1 to `count`."""
    for step in range(1, count + 1):
        history = remember(history, step, step / count, signals(step))
    return history


@pytest.mark.parametrize("count", [1, 63, 255, 256, 257, 1000, 2049])
def test_means_over_the_whole_run_are_those_of_all_readings(count: int) -> None:
    values = [random.Random(step).gauss(0, 1) for step in range(1, count + 1)]
    history = remembered(count, lambda step: Signals(loss_g=values[step - 1]))
    points = (*history.spans, *history.filling)
    assert sum(point.count for point in points) == count
    assert math.fsum(p.values["loss_g"] * p.count for p in points) / count == pytest.approx(statistics.fmean(values))
    assert [point.step for point in points] == sorted({point.step for point in points})
    assert len(history.spans) < 2 * SPANS
    assert len(history.filling) < history.width
    assert history.last("loss_g", 5) == values[-5:]
    assert len(history.recent) == min(count, RECENT)


def test_a_long_run_takes_no_more_room_than_a_short_one() -> None:
    def size(count: int) -> int:
        return len(json.dumps(to_plain(remembered(count, lambda step: Signals(loss_g=step / 7, loss_d=1 / step)))))

    assert size(6000) < 2.5 * size(600)


def test_what_is_missing_stays_missing() -> None:
    history = remembered(600, lambda step: Signals(diversity=1.0) if step % 50 == 0 else Signals(loss_g=2.0))
    assert {value for _, value in history.whole("diversity")} == {1.0}
    assert {value for _, value in history.whole("loss_g")} == {2.0}
    assert history.whole("coverage") == []
    assert history.early("coverage") is None
    assert history.last("diversity", 9) == [1.0, 1.0], "of the recent readings alone"


def test_a_number_that_is_not_finite_is_none() -> None:
    history = remembered(9, lambda step: Signals(loss_g=math.nan if step % 2 else 1.0))
    assert history.last("loss_g", 9) == [1.0] * 4


def test_the_beginning_is_the_first_twentieth() -> None:
    history = remembered(200, lambda step: Signals(gradient_norm_g=5.0 if step <= 10 else 1.0))
    assert history.early("gradient_norm_g") == 5.0
    assert remembered(4, lambda step: Signals(gradient_norm_g=5.0)).early("gradient_norm_g", least=5) is None


def test_a_metric_is_taken_in_when_it_is_new() -> None:
    """Measured after steps 10 and 20; the second value is the same as the first."""
    seen = {10: 0, 11: 64, 12: 128, 20: 0, 21: 64}
    history = History()
    for step, age in seen.items():
        history = remember(history, step, step / 30, Signals(metrics={"fid": MetricReading(40.0, age)}))
    assert [(each.step, each.value) for each in history.measured["fid"].values] == [(10, 40.0), (20, 40.0)]
    history = remember(history, 30, 1.0, Signals(metrics={"fid": MetricReading(30.0, 0)}))
    assert (history.measured["fid"].best.step, history.measured["fid"].count) == (30, 3)


@pytest.mark.parametrize(("better", "best"), [("lower", 1.0), ("higher", 9.0)])
def test_the_best_value_is_kept_in_its_own_direction(better, best: float) -> None:
    values = [3.0, 9.0, math.nan, 1.0, 5.0]
    history = History()
    for step, value in enumerate(values):
        history = remember(history, step, 0.0, Signals(metrics={"m": MetricReading(value, 0, better)}))
    assert history.measured["m"].best.value == best


def test_it_goes_through_json_and_on_from_there() -> None:
    def signals(step: int) -> Signals:
        metrics = {"fid": MetricReading(100 / step, step % 50)}
        return Signals(loss_g=1 + step / 100, loss_d=2 / step, rank_train_fake=0.5, metrics=metrics)

    half = remembered(333, signals)
    again = from_plain(json.loads(json.dumps(to_plain(half))))
    assert again == half
    assert remembered(400, signals, again) == remembered(400, signals, half)


def test_who_has_won_by_the_losses() -> None:
    """The discriminator's loss falls to a tenth, the generator's doubles, from step 200 on."""
    history = remembered(400, lambda s: Signals(loss_d=1.0 if s < 200 else 0.1, loss_g=1.0 if s < 200 else 2.0))
    since = history.levels.overwhelmed_since
    assert since is not None
    assert 200 < since <= 230, "once half of the last tenth has it"
    assert not overwhelmed(history.levels, Criteria(overwhelmed=0.05))
    assert not overwhelmed(history.levels, Criteria(risen=1.5))
    without_bottom = remembered(400, lambda s: Signals(loss_d=-1.0 if s < 200 else 0.01, loss_g=float(s)))
    assert without_bottom.levels.overwhelmed_since is None, "a Wasserstein estimate has no level"
    only_d = remembered(400, lambda s: Signals(loss_d=1.0 if s < 200 else 0.1))
    assert only_d.levels.overwhelmed_since is None
