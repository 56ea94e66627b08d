"""What symptoms look back on: a bounded memory of a run's readings. Pure: each reading makes a new one.

However long a run gets, it is held in at most 2 × SPANS means over equal numbers of readings, plus the last RECENT
readings as they were; so a run of a thousand readings and one of a million are judged alike and cost alike.
"""

import dataclasses
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from equipoise.core.observations import Signals
from equipoise.diagnosis.criteria import CRITERIA, Criteria

RECENT = 64
"""Readings kept as they were."""
SPANS = 128
"""Means that the whole run is held in: at least so many once there are as many readings, at most twice as many."""
MEASUREMENTS = 256
"""Values of a metric that are kept, the latest; the best is kept besides."""
LEVEL_SHARE = 0.1
LEVEL_LEAST = 10
"""The level of a loss is its median over the last tenth of the spans, over ten of them at least."""
EARLY = 0.05
"""The share of the steps so far that counts as the run's own beginning."""


@dataclass(frozen=True, slots=True)
class Point:
    """Numbers at a step, or their means over `count` readings up to it. What was not to be had is not in `values`."""

    step: int
    progress: float
    values: Mapping[str, float]
    count: int = 1


@dataclass(frozen=True, slots=True)
class Measurement:
    """A value of a metric, first seen at `step`."""

    step: int
    value: float


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric over a run: its latest values, how many there were in all, the first and the best."""

    better: str
    values: tuple[Measurement, ...]
    count: int
    first: Measurement
    best: Measurement
    age: int


@dataclass(frozen=True, slots=True)
class Levels:
    """The median of each loss over the last tenth of the run so far: now, and the extremes that it has had.

    `overwhelmed_since`: the step from which the discriminator has won by its losses, as Criteria has it; None if it has
    not now, or that cannot be told: a loss that is negative now and then has no level to be compared with.
    """

    loss_d: float | None = None
    loss_g: float | None = None
    highest_d: float = -math.inf
    lowest_d: float = math.inf
    lowest_g: float = math.inf
    overwhelmed_since: int | None = None


@dataclass(frozen=True, slots=True)
class History:
    """All that is remembered.

    `spans`: the whole run in means of `width` readings; `filling`: readings that do not make a whole span yet.
    `since`: by symptom, the step from which it has been found without a break.
    """

    recent: tuple[Point, ...] = ()
    spans: tuple[Point, ...] = ()
    filling: tuple[Point, ...] = ()
    width: int = 1
    measured: Mapping[str, Measured] = field(default_factory=dict)
    levels: Levels = Levels()
    since: Mapping[str, int] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """The step of the last reading; 0 before the first."""
        return self.recent[-1].step if self.recent else 0

    @property
    def progress(self) -> float:
        """How far the run was at the last reading, 0 to 1."""
        return self.recent[-1].progress if self.recent else 0.0

    def last(self, name: str, count: int) -> list[float]:
        """The last `count` values of a signal among the recent readings, in order; fewer if there are not so many."""
        result = [point.values[name] for point in self.recent if name in point.values]
        return result[-count:]

    def whole(self, name: str) -> list[tuple[int, float]]:
        """(step, value) of a signal over the whole run, in order: means of spans, then what fills the next."""
        points = (*self.spans, *self.filling)
        return [(point.step, point.values[name]) for point in points if name in point.values]

    def early(self, name: str, least: int = 5) -> float | None:
        """The median of a signal in the run's own beginning; None if there were fewer than `least` values in it."""
        whole = self.whole(name)
        values = [value for step, value in whole if step <= EARLY * self.step]
        if len(values) < least:
            values = [value for _, value in whole[:least]]
        return statistics.median(values) if len(values) >= least else None


def remember(history: History, step: int, progress: float, signals: Signals, criteria: Criteria = CRITERIA) -> History:
    """The history with one more reading in it."""
    point = Point(step, progress, numbers(signals))
    filling, spans, width = (*history.filling, point), history.spans, history.width
    if len(filling) >= width:
        spans, filling = (*spans, _mean(filling)), ()
    if len(spans) >= 2 * SPANS:
        spans, width = tuple(_mean(spans[i : i + 2]) for i in range(0, len(spans), 2)), 2 * width
    return dataclasses.replace(
        history,
        recent=(*history.recent[-RECENT + 1 :], point),
        spans=spans,
        filling=filling,
        width=width,
        measured=_measured(history.measured, step, signals),
        levels=_moved(history.levels, spans, step, criteria),
    )


def numbers(signals: Signals) -> dict[str, float]:
    """The signals that are finite numbers."""
    named = ((each.name, getattr(signals, each.name)) for each in dataclasses.fields(signals))
    return {name: float(value) for name, value in named if isinstance(value, int | float) and math.isfinite(value)}


def _moved(levels: Levels, spans: Sequence[Point], step: int, criteria: Criteria) -> Levels:
    """The levels after one more reading; none before there are LEVEL_LEAST spans."""
    last = spans[-max(LEVEL_LEAST, round(LEVEL_SHARE * len(spans))) :]
    d, g = ([point.values[name] for point in last if name in point.values] for name in ("loss_d", "loss_g"))
    if min(len(d), len(g)) < LEVEL_LEAST:
        return dataclasses.replace(levels, loss_d=None, loss_g=None, overwhelmed_since=None)
    now = Levels(
        loss_d=statistics.median(d),
        loss_g=statistics.median(g),
        highest_d=max(levels.highest_d, statistics.median(d)),
        lowest_d=min(levels.lowest_d, *d),
        lowest_g=min(levels.lowest_g, statistics.median(g)),
    )
    is_won = len(spans) >= 2 * LEVEL_LEAST and overwhelmed(now, criteria)
    return dataclasses.replace(now, overwhelmed_since=(levels.overwhelmed_since or step) if is_won else None)


def overwhelmed(levels: Levels, criteria: Criteria = CRITERIA) -> bool:
    """Whether, by the losses, the discriminator has won."""
    d, g = levels.loss_d, levels.loss_g
    if d is None or g is None or levels.lowest_d < 0:
        return False
    is_low = d <= criteria.overwhelmed * levels.highest_d
    return is_low and g - levels.lowest_g >= criteria.risen * abs(levels.lowest_g)


def to_plain(history: History) -> dict[str, Any]:
    """A history as JSON has it."""
    return dataclasses.asdict(history)


def from_plain(values: Mapping[str, Any]) -> History:
    """What :func:`to_plain` gave."""
    measured = {
        name: Measured(
            **{
                **one,
                "values": tuple(Measurement(**each) for each in one["values"]),
                "first": Measurement(**one["first"]),
                "best": Measurement(**one["best"]),
            }
        )
        for name, one in values["measured"].items()
    }
    points = {name: tuple(Point(**each) for each in values[name]) for name in ("recent", "spans", "filling")}
    return History(**{**values, **points, "measured": measured, "levels": Levels(**values["levels"])})


def _mean(points: Sequence[Point]) -> Point:
    """One point for several: the mean of each signal over the readings that had it."""
    names = dict.fromkeys(name for point in points for name in point.values)
    values = {name: statistics.fmean(*_weighted(points, name)) for name in names}
    return Point(points[-1].step, points[-1].progress, values, sum(point.count for point in points))


def _weighted(points: Sequence[Point], name: str) -> tuple[list[float], list[float]]:
    had = [point for point in points if name in point.values]
    return [point.values[name] for point in had], [float(point.count) for point in had]


def _measured(before: Mapping[str, Measured], step: int, signals: Signals) -> dict[str, Measured]:
    """Take in what is new among the metrics: a reading says how old a value is, not when it was measured."""
    return {**before, **dict(_renewed(before, step, signals))}


def _renewed(before: Mapping[str, Measured], step: int, signals: Signals) -> Iterator[tuple[str, Measured]]:
    for name, reading in signals.metrics.items():
        old, new = before.get(name), Measurement(step, reading.value)
        if old is None:
            yield name, Measured(reading.better, (new,), 1, new, new, reading.age)
        elif reading.age >= old.age and reading.value == old.values[-1].value:
            yield name, dataclasses.replace(old, age=reading.age)
        else:
            sign = 1 if reading.better == "lower" else -1
            is_best = math.isfinite(new.value) and not sign * new.value >= sign * old.best.value
            yield (
                name,
                Measured(
                    reading.better,
                    (*old.values[-MEASUREMENTS + 1 :], new),
                    old.count + 1,
                    old.first,
                    new if is_best else old.best,
                    reading.age,
                ),
            )
