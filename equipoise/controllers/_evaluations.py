"""The history of a metric during a run: its level, its best level, and the noise of single evaluations."""

import dataclasses
import math
from dataclasses import dataclass

from equipoise.core.observations import MetricReading, Signals

FORGETTING = 0.5
"""Weight of the newest second difference in the mean square that gives the noise."""


@dataclass(frozen=True)
class MetricLevel:
    """The evaluations so far, as costs: lower is better.

    `values`: the last three, oldest first. `age`: of the last one in images. `level`: moving average. `best`: lowest
    level that was lower than the one before it by more than the margin. `square`: mean square of second differences /
    6; 0 before the third evaluation. None before the first evaluation.
    """

    values: tuple[float, ...] = ()
    age: int = 0
    level: float | None = None
    best: float | None = None
    square: float = 0.0

    @property
    def noise(self) -> float:
        """Standard deviation of one evaluation.

        Second differences a - 2 b + c of independent values have six times their variance, and no trend (von Neumann
        1941 uses first differences, which a trend enlarges).
        """
        return math.sqrt(self.square)

    def margin(self, confidence: float, tolerance: float) -> float:
        """Return the difference of levels that matters: beyond the noise, and a share of the best level."""
        return confidence * self.noise + tolerance * abs(self.best or 0.0)


def next_history(history: MetricLevel, signals: Signals, weight: float) -> MetricLevel | None:
    """Return the history after a new evaluation; None if there is none since the last one.

    `weight`: of the new value in the moving average, in (0, 1]. With several metrics the first by name counts. `best`
    is unchanged except at the first evaluation.
    """
    reading = next((signals.metrics[name] for name in sorted(signals.metrics)), None)
    if reading is None or not math.isfinite(reading.value):
        return None
    cost = _cost(reading)
    if history.values and reading.age > history.age and cost == history.values[-1]:  # the same evaluation, older
        return None
    values = (*history.values, cost)[-3:]
    square = history.square
    if len(values) == 3:
        second = (values[0] - 2 * values[1] + values[2]) ** 2 / 6
        square = second if len(history.values) < 3 else square + FORGETTING * (second - square)
    level = cost if history.level is None else history.level + weight * (cost - history.level)
    best = level if history.best is None else history.best
    return dataclasses.replace(history, values=values, age=reading.age, level=level, best=best, square=square)


def with_age(history: MetricLevel, signals: Signals) -> MetricLevel:
    """Return the history with the age of the same evaluation at this reading."""
    reading = next((signals.metrics[name] for name in sorted(signals.metrics)), None)
    return history if reading is None else dataclasses.replace(history, age=reading.age)


def _cost(reading: MetricReading) -> float:
    return reading.value if reading.better == "lower" else -reading.value
