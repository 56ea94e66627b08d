"""Bounded history of the signals of a run, which symptom detectors read. Immutable: each reading returns a new history.

A run of any length is stored as at most 2 × SPANS means over equal numbers of readings, plus the last RECENT readings
unchanged. Memory and cost are therefore the same for a thousand readings and for a million.
"""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from equipoise.core.observations import Signals
from equipoise.diagnosis.criteria.metric_range import is_possible

RECENT = 64
"""Number of latest readings that are stored unchanged."""
SPANS = 128
"""The run is stored as SPANS to 2 × SPANS means, once it has at least SPANS readings."""
MEASUREMENTS = 256
"""Number of latest values stored per metric; the first and the best value are stored in addition."""
LEVEL_SHARE = 0.1
"""The level of a loss is its median over this share of the latest spans, …"""
MIN_LEVEL_SPANS = 10
"""… but over at least this number of spans."""
EARLY = 0.05
"""Share of the steps so far that counts as the beginning of the run."""


@dataclass(frozen=True, slots=True)
class WinCriteria:
    """When the discriminator counts as having won by its losses.

    Its loss is at most `loss_d_share` of its highest level, and the generator's loss is at least `loss_g_rise` (a
    share) above its lowest level. A fifth is far outside the noise of a level, which is a median over a tenth of the
    run. benchmarks/field_logs.md shows how little the result depends on the two numbers.
    """

    loss_d_share: float = 0.2
    loss_g_rise: float = 0.3


WIN_CRITERIA = WinCriteria()


@dataclass(frozen=True, slots=True)
class SignalPoint:
    """Finite signals at a step, or their means over the `count` readings up to it. Missing signals are not in `values`.

    `progress` is in [0, 1].
    """

    step: int
    progress: float
    values: Mapping[str, float]
    count: int = 1


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """A value of a metric and the step of the first reading that had it."""

    step: int
    value: float


@dataclass(frozen=True, slots=True)
class MetricRecord:
    """The values of one metric in a run: the latest MEASUREMENTS values, the number of all, the first and the best.

    `better` is "lower" or "higher"; `age` is the age of the last value in images, as of the last reading. `best` is nan
    as long as there was no possible value. `repeats`: number of readings since the last value that measured exactly the
    same value again, or carried it forward; `is_carried`: values were followed by repeats before, so that a repeat is
    no new measurement.
    """

    better: str
    values: tuple[MetricPoint, ...]
    count: int
    first: MetricPoint
    best: MetricPoint
    age: int
    repeats: int = 0
    is_carried: bool = False


@dataclass(frozen=True, slots=True)
class LossLevels:
    """Current levels of both losses (medians over the last tenth of the run so far) and their extremes so far.

    `discriminator_won_since`: the step since which the discriminator has won by its losses (see WinCriteria).
    None if it has not won, or if that is undefined because a loss was negative at some time.
    """

    loss_d: float | None = None
    loss_g: float | None = None
    highest_d: float = -math.inf
    lowest_d: float = math.inf
    lowest_g: float = math.inf
    discriminator_won_since: int | None = None


@dataclass(frozen=True, slots=True)
class SignalHistory:
    """Everything that the detectors can use about a run.

    `spans`: means of `width` readings each, over the whole run; `filling`: the readings of the next, incomplete span.
    `since`: for each current symptom, the step since which every reading has detected it. `reals`: statistics of the
    first reals of the run, if their range is unusual: `low`, `high`, `mean`, `deviation`, and of the fakes of a custom
    loop `fake_low`, `fake_high`; empty if it is usual, None if it is unknown. `loss_caveat`: why the level of the
    discriminator's loss says nothing, in a log of another program (a Wasserstein loss, or one with other terms).
    """

    recent: tuple[SignalPoint, ...] = ()
    spans: tuple[SignalPoint, ...] = ()
    filling: tuple[SignalPoint, ...] = ()
    width: int = 1
    metrics: Mapping[str, MetricRecord] = field(default_factory=dict)
    levels: LossLevels = LossLevels()
    since: Mapping[str, int] = field(default_factory=dict)
    reals: Mapping[str, float] | None = None
    loss_caveat: str = ""
    _values: dict[str, list[float]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _latest: dict[str, list[float]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Values that were read before, of the whole run and the recent ones: a dozen detectors read the same ones."""

    @property
    def step(self) -> int:
        """Step of the last reading; 0 before the first."""
        return self.recent[-1].step if self.recent else 0

    @property
    def progress(self) -> float:
        """Progress of the run at the last reading, in [0, 1]."""
        return self.recent[-1].progress if self.recent else 0.0

    def last(self, name: str, count: int) -> list[float]:
        """Return the last `count` values of a signal among the recent readings, oldest first, or all if fewer."""
        if not self._latest:
            for signal in set().union(*(point.values for point in self.recent)):
                self._latest[signal] = [point.values[signal] for point in self.recent if signal in point.values]
        values = self._latest.get(name, [])
        return values[max(0, len(values) - count) :]

    def values(self, name: str) -> list[float]:
        """Return the values of a signal over the whole run, oldest first: means of spans, then readings."""
        if name not in self._values:
            points = (*self.spans, *self.filling)
            self._values[name] = [point.values[name] for point in points if name in point.values]
        return self._values[name].copy()

    def whole(self, name: str) -> list[tuple[int, float]]:
        """Return (step, value) pairs of a signal over the whole run, oldest first: means of spans, then readings."""
        points = (*self.spans, *self.filling)
        return [(point.step, point.values[name]) for point in points if name in point.values]

    def early(self, name: str, least: int = 5) -> float | None:
        """Return the median of a signal at the beginning of the run; None if it has fewer than `least` values."""
        limit, points = EARLY * self.step, (*self.spans, *self.filling)
        start = itertools.takewhile(lambda point: point.step <= limit, points)
        values = [point.values[name] for point in start if name in point.values]
        if len(values) < least:
            values = self.values(name)[:least]
        return statistics.median(values) if len(values) >= least else None

    def to_dict(self) -> dict[str, object]:
        """Return the history as a dictionary that JSON can store."""
        return {name: value for name, value in dataclasses.asdict(self).items() if not name.startswith("_")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SignalHistory":
        """Rebuild a history from the result of :meth:`to_dict`."""
        metrics = {name: _metric_from_dict(metric) for name, metric in values["metrics"].items()}
        points = {
            name: tuple(SignalPoint(**point) for point in values[name]) for name in ("recent", "spans", "filling")
        }
        return cls(**{**values, **points, "metrics": metrics, "levels": LossLevels(**values["levels"])})


def _metric_from_dict(values: Mapping[str, Any]) -> MetricRecord:
    measurements = tuple(MetricPoint(**measurement) for measurement in values["values"])
    first, best = MetricPoint(**values["first"]), MetricPoint(**values["best"])
    return MetricRecord(**{**values, "values": measurements, "first": first, "best": best})


def append_reading(
    history: SignalHistory,
    step: int,
    progress: float,
    signals: Signals,
    criteria: WinCriteria = WIN_CRITERIA,
) -> SignalHistory:
    """Return the history extended by one reading. `step` increases from reading to reading; `progress` is in [0, 1]."""
    point = SignalPoint(step, progress, finite_signals(signals))
    filling, spans, width = (*history.filling, point), history.spans, history.width
    if len(filling) >= width:
        spans, filling = (*spans, _mean_point(filling)), ()
    if len(spans) >= 2 * SPANS:
        spans, width = tuple(_mean_point(spans[i : i + 2]) for i in range(0, len(spans), 2)), 2 * width
    return dataclasses.replace(
        history,
        recent=(*history.recent[-RECENT + 1 :], point),
        spans=spans,
        filling=filling,
        width=width,
        metrics={**history.metrics, **dict(_updated_metrics(history.metrics, step, signals))},
        levels=_update_levels(history.levels, spans, step, criteria),
    )


def finite_signals(signals: Signals) -> dict[str, float]:
    """Return the signals that are finite numbers, by name."""
    values = ((signal.name, getattr(signals, signal.name)) for signal in dataclasses.fields(signals))
    return {name: float(value) for name, value in values if isinstance(value, int | float) and math.isfinite(value)}


def _update_levels(levels: LossLevels, spans: Sequence[SignalPoint], step: int, criteria: WinCriteria) -> LossLevels:
    """Return the levels after one more reading; None with fewer than MIN_LEVEL_SPANS spans."""
    last = spans[-max(MIN_LEVEL_SPANS, round(LEVEL_SHARE * len(spans))) :]
    names = "loss_d", generator_loss_name(last)
    d, g = ([point.values[name] for point in last if name in point.values] for name in names)
    if min(len(d), len(g)) < MIN_LEVEL_SPANS:
        return dataclasses.replace(levels, loss_d=None, loss_g=None, discriminator_won_since=None)
    now = LossLevels(
        loss_d=statistics.median(d),
        loss_g=statistics.median(g),
        highest_d=max(levels.highest_d, statistics.median(d)),
        lowest_d=min(levels.lowest_d, *d),
        lowest_g=min(levels.lowest_g, statistics.median(g)),
    )
    has_won = len(spans) >= 2 * MIN_LEVEL_SPANS and has_discriminator_won(now, criteria)
    return dataclasses.replace(
        now, discriminator_won_since=(levels.discriminator_won_since or step) if has_won else None
    )


def generator_loss_name(points: Sequence[SignalPoint]) -> str:
    """Return the signal with the generator's adversarial loss: without reconstruction terms, if a log has it."""
    return "adversarial_g" if any("adversarial_g" in point.values for point in points) else "loss_g"


def has_discriminator_won(levels: LossLevels, criteria: WinCriteria = WIN_CRITERIA) -> bool:
    """Return whether the discriminator has won by the losses.

    loss_d ≤ loss_d_share · max(loss_d)  and  loss_g − min(loss_g) ≥ loss_g_rise · |min(loss_g)|
    """
    d, g = levels.loss_d, levels.loss_g
    if d is None or g is None or levels.lowest_d < 0:
        return False
    is_low = d <= criteria.loss_d_share * levels.highest_d
    return is_low and g - levels.lowest_g >= criteria.loss_g_rise * abs(levels.lowest_g)


def _mean_point(points: Sequence[SignalPoint]) -> SignalPoint:
    """Return the mean of each signal over the readings that have it."""
    names = dict.fromkeys(name for point in points for name in point.values)
    values = {name: statistics.fmean(*_values_and_weights(points, name)) for name in names}
    return SignalPoint(points[-1].step, points[-1].progress, values, sum(point.count for point in points))


def _values_and_weights(points: Sequence[SignalPoint], name: str) -> tuple[list[float], list[float]]:
    present = [point for point in points if name in point.values]
    return [point.values[name] for point in present], [float(point.count) for point in present]


def _updated_metrics(
    earlier: Mapping[str, MetricRecord], step: int, signals: Signals
) -> Iterator[tuple[str, MetricRecord]]:
    """Yield each metric of a reading with its new history.

    A reading contains the age of a value, not the step of its measurement: a value is new if it differs from the one at
    the previous reading, or is younger.
    """
    for name, reading in signals.metrics.items():
        old, new = earlier.get(name), MetricPoint(step, reading.value)
        is_possible_value = is_possible(name, new.value)
        if old is None:
            best = new if is_possible_value else MetricPoint(step, math.nan)
            yield name, MetricRecord(reading.better, (new,), 1, new, best, reading.age)
        elif reading.age >= old.age and _is_same(reading.value, old.values[-1].value):
            yield name, dataclasses.replace(old, age=reading.age, repeats=old.repeats + (reading.age == 0))
        else:
            sign = 1 if reading.better == "lower" else -1
            is_best = is_possible_value and not sign * new.value >= sign * old.best.value
            values = (*old.values[-MEASUREMENTS + 1 :], new)
            best = new if is_best else old.best
            is_carried = old.is_carried or old.repeats > 0
            yield name, MetricRecord(reading.better, values, old.count + 1, old.first, best, reading.age, 0, is_carried)


def _is_same(first: float, second: float) -> bool:
    return first == second or (math.isnan(first) and math.isnan(second))
