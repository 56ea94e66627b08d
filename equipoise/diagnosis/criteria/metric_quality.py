"""How good the measurements of a metric are, and how noisy: all that collapse, plateau and evidence of health share.

Measurements are compared as costs: the logarithm of the value, or of 1 / value where higher is better. A difference of
costs is the logarithm of a ratio, and the noise of training and of sampling is roughly proportional to the value.
"""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from equipoise.diagnosis.criteria.metric_range import (
    is_kernel_distance,
    is_possible,
    metric_words,
    possible_range,
)
from equipoise.diagnosis.history import MetricPoint, MetricRecord, SignalHistory

MIN_SCORE = 0.05
"""Values of a metric where higher is better are raised to at least this before ratios are computed."""
MIN_VALUE = 1e-300
"""Smallest value of a metric where lower is better, so that its logarithm exists."""
NOISE_FACTOR = 5
"""A kernel distance to 1,000 digits has a standard error of about 0.003 near 0. The default recipe's first value is
0.03; with a twentieth of it as the floor, a good run with 0.0031, 0.0040 and 0.0039 was called a collapse."""
SAMPLING_NOISE = 0.02
"""Smallest noise of a cost: a FID of 50,000 samples varies by about 2 % from one set of samples to the next (Karras
2022, appendix F). The bias of a FID (Chong and Forsyth 2020) is nearly the same at all measurements of a run."""
USUAL_NOISE = 0.05
"""Noise of a cost before it is known: checkpoints with averaged weights differ by 1 to 2 %, those of plain GANs by 10
to 20 % (the logs of benchmarks/field_logs.md); this is the geometric mean."""
USUAL_WEIGHT = 1.0
"""The usual noise counts as much as this number of independent differences …"""
OVERLAP = 3
"""… of which three successive triples of measurements make one."""
TURN_OF_NOISE = 0.69
"""Median of the turns of normal noise with deviation 1 (200,000 simulated triples)."""
NEAR_BEST = 3.0
"""Measurements within this number of standard deviations of the best one compete with it for being the best."""
TREND = 3.0
"""Standard deviations of Kendall's rank correlation with time (Mann 1945) that show a trend: chance once in 740."""
CONSTANT_READINGS = 10
"""Number of repetitions of a first value after which a metric is constant: a FID of new samples never repeats."""


class MetricCost(NamedTuple):
    """A measurement of a metric: its step, and its cost, the logarithm of how bad it is."""

    step: int
    cost: float


class _Analysis(NamedTuple):
    """The measurements of a metric, and the quality reached in all of them; computed from `values`."""

    values: tuple[MetricPoint, ...]
    measurements: tuple[MetricCost, ...]
    reached: "Baseline | None"


_analyses: dict[tuple[str, int], _Analysis] = {}
"""Latest analyses by name of the metric and identity of the values: five detectors need the same one at a reading."""
MAX_ANALYSES = 16


def _analyse(name: str, record: MetricRecord) -> _Analysis:
    key = name, id(record.values)
    known = _analyses.get(key)
    if known is not None and known.values is record.values:
        return known
    points = record.values
    if record.best.step < points[0].step:
        points = (record.best, *points)
    low, high = possible_range(name)
    possible = [point for point in points if low <= point.value <= high and math.isfinite(point.value)]
    costs = _costs(name, record.better, record.first.value, [point.value for point in possible])
    measurements = tuple(map(MetricCost, [point.step for point in possible], costs))
    if len(_analyses) >= MAX_ANALYSES:
        _analyses.clear()
    _analyses[key] = _Analysis(record.values, measurements, baseline_of(measurements) if measurements else None)
    return _analyses[key]


def measurements_of(name: str, record: MetricRecord) -> tuple[MetricCost, ...]:
    """Return the possible values among the latest measurements as costs, oldest first; the best one is among them."""
    return _analyse(name, record).measurements


def quality_reached(name: str, record: MetricRecord) -> "Baseline | None":
    """Return the quality reached in all measurements of a metric; None if none is possible."""
    return _analyse(name, record).reached


def _costs(name: str, better: str, first: float, values: Sequence[float]) -> list[float]:
    """Return the logarithms of values; kernel distances count as at least a fifth of the first value."""
    if better == "higher":
        return [-math.log(value if value > MIN_SCORE else MIN_SCORE) for value in values]
    floor = abs(first) / NOISE_FACTOR if is_kernel_distance(name) and math.isfinite(first) else 0.0
    floor = max(floor, MIN_VALUE)
    return [math.log(value if value > floor else floor) for value in values]


def noise_of(costs: Sequence[float]) -> float:
    """Estimate the standard deviation of single measurements about their trend.

    Noise shows where the costs turn, up and down again or down and up, by the smaller of the two changes: a fall, a
    rise or a jump has no turn, and a spike has one. Two of three successive triples of independent noise turn, so the
    estimate is the quantile 2/3 of all triples. With few of them its logarithm is pulled towards that of USUAL_NOISE.
    """
    changes = [after - before for before, after in itertools.pairwise(costs)]
    turns = sorted(
        min(abs(before), abs(after)) if before * after < 0 else 0.0 for before, after in itertools.pairwise(changes)
    )
    own = max(SAMPLING_NOISE, turns[2 * len(turns) // 3] / TURN_OF_NOISE) if turns else USUAL_NOISE
    weight = len(turns) / OVERLAP
    return math.exp((USUAL_WEIGHT * math.log(USUAL_NOISE) + weight * math.log(own)) / (USUAL_WEIGHT + weight))


def expected_excess(count: int) -> float:
    """Return by how many standard deviations the best of `count` equally good measurements is too good (Blom 1958)."""
    return statistics.NormalDist().inv_cdf((count - 0.375) / (count + 0.25)) if count > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """The quality that a run had reached: the cost of its best measurement, and the level behind it.

    `level`: the best cost, corrected for being the best of `count` measurements that noise alone may order. `noise`:
    standard deviation of single measurements.
    """

    best: MetricCost
    level: float
    noise: float
    count: int

    def deviations(self, costs: Sequence[float]) -> float:
        """Return by how many standard errors the mean of some costs is above the level."""
        return (statistics.fmean(costs) - self.level) / self.error(len(costs))

    def error(self, count: int) -> float:
        """Return the standard error of the difference between the mean of `count` costs and the level."""
        return self.noise * math.sqrt(1 / count + 1 / (1 + math.log(self.count)))


def baseline_of(measurements: Sequence[MetricCost]) -> Baseline:
    """Return the quality reached in some measurements, at least one."""
    costs = [cost for _, cost in measurements]
    noise, best = noise_of(costs), measurements[costs.index(min(costs))]
    limit = best.cost + NEAR_BEST * noise
    count = sum(cost <= limit for cost in costs)
    return Baseline(best, best.cost + noise * expected_excess(count), noise, count)


@dataclass(frozen=True, slots=True)
class QualityLoss:
    """A loss of quality: the latest measurements that are all worse than the best before by a ratio."""

    tail: tuple[MetricCost, ...]
    baseline: Baseline

    def ratio(self, count: int) -> float:
        """Return the geometric mean of the last `count` ratios to the best."""
        return math.exp(statistics.fmean(m.cost for m in self.tail[-count:]) - self.baseline.best.cost)

    def deviations(self, count: int) -> float:
        """Return by how many standard errors the last `count` measurements are worse than the level."""
        return self.baseline.deviations([m.cost for m in self.tail[-count:]])

    def may_be(self, ratio: float) -> bool:
        """Return whether the mean ratio to the best may be as large, within two standard errors."""
        mean = statistics.fmean(m.cost for m in self.tail) - self.baseline.best.cost
        return mean + 2 * self.baseline.error(len(self.tail)) >= math.log(ratio)

    @property
    def duration(self) -> int:
        """Steps from the first to the last measurement of the loss."""
        return self.tail[-1].step - self.tail[0].step


@lru_cache(maxsize=16)
def current_quality_loss(measurements: tuple[MetricCost, ...], ratio: float) -> QualityLoss | None:
    """Return the loss of quality at the latest measurement; None if it is not `ratio` times as bad as the best."""
    costs = [cost for _, cost in measurements]
    lowest = min(costs)
    least, start, first = lowest + math.log(ratio), len(costs), costs.index(lowest) + 1
    while start > first and costs[start - 1] >= least:
        start -= 1
    return QualityLoss(tuple(measurements[start:]), baseline_of(measurements[:start])) if start < len(costs) else None


def quality_ratio(name: str, metric: MetricRecord, value: float) -> float:
    """Return how many times worse a value is than the best so far: 1 if equally good, infinity if it is impossible.

    value / best, or best / value where higher is better. Kernel distances are unbiased, so their best values scatter
    around 0; the best counts as at least a fifth of the first value. Metrics where higher is better (most are shares)
    count as at least 0.05.
    """
    if not is_possible(name, value):
        return math.inf
    now, best = _costs(name, metric.better, metric.first.value, (value, metric.best.value))
    return math.exp(now - best)


def impossible_values(name: str, record: MetricRecord) -> list[MetricPoint]:
    """Return the impossible values among the latest measurements; nothing can be concluded from them."""
    if len(measurements_of(name, record)) >= len(record.values):
        return []
    return [point for point in record.values if not is_possible(name, point.value)]


def is_constant(record: MetricRecord) -> bool:
    """Return whether a metric has had one and the same value, to the last digit, at CONSTANT_READINGS or more.

    Either it was measured once and carried forward, or it does not depend on the samples.
    """
    return record.count == 1 and record.repeats >= CONSTANT_READINGS


def is_broken(name: str, record: MetricRecord) -> bool:
    """Return whether the values of a metric cannot be values of that metric: see :func:`why_broken`."""
    return bool(why_broken(name, record))


def why_broken(name: str, record: MetricRecord) -> dict[str, float]:
    """Return the numbers that show that a metric is broken; empty if it is not.

    The last two measurements are impossible, or more than half of all, at least two; or the metric is constant.
    """
    if is_constant(record) and is_possible(name, record.values[0].value):
        return {name: record.values[0].value, "readings_without_change": record.repeats + 1}
    wrong = impossible_values(name, record)
    if not wrong:
        return {}
    repeats = record.repeats if wrong[-1] == record.values[-1] else 0
    is_wrong_now = repeats > 0 or wrong[-2:] == list(record.values[-2:])
    if len(wrong) + repeats < 2 or not (is_wrong_now or 2 * len(wrong) > len(record.values)):
        return {}
    low, high = possible_range(name)
    evidence = {name: wrong[-1].value, "impossible_values": len(wrong) + repeats, "of": len(record.values) + repeats}
    bounds = {"possible_from": low, "possible_to": high} if math.isfinite(wrong[-1].value) else {}
    return evidence | {key: bound for key, bound in bounds.items() if math.isfinite(bound)}


def has_best(name: str, record: MetricRecord) -> bool:
    """Return whether the best value of a metric means something."""
    return math.isfinite(record.best.value) and not is_broken(name, record)


def has_improved(name: str, record: MetricRecord, deviations: float = 2.0) -> bool:
    """Return whether the level of a metric is better than its first value by more than its noise.

    A slow improvement is one, too: a trend of all values, however small their changes are. Not for a FID, of which a
    change by less than its noise has no practical importance.
    """
    measurements, reached = measurements_of(name, record), quality_reached(name, record)
    if reached is None:
        return False
    if measurements[0].cost - reached.level >= deviations * reached.noise > 0:
        return True
    return "fid" not in metric_words(name) and is_improving(record.values, record.better)


@lru_cache(maxsize=16)
def is_improving(values: tuple[MetricPoint, ...], better: str, deviations: float = TREND) -> bool:
    """Return whether values improve steadily, by Kendall's rank correlation with time; needs no level of noise."""
    series = np.array([point.value for point in values if math.isfinite(point.value)])
    count = len(series)
    if count < 2 * OVERLAP:
        return False
    rising = float(np.triu(np.sign(series[None, :] - series[:, None])).sum())
    score = rising if better == "higher" else -rising
    return score >= deviations * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)


HARM_RATIO, HARM_DEVIATIONS, HARM_MEASUREMENTS = 1.1, 2.0, 3
"""A metric is worse than its best if its latest measurements are so by this ratio, and by so many standard errors."""
SINCE_BEST = "_relative_to_best"
"""End of the name of the evidence of :func:`quality_since_best`."""


def quality_since_best(history: SignalHistory) -> dict[str, float]:
    """Return how many times worse each metric is than its best, or 1 if the difference is within its noise.

    Without metrics that have three measurements, there is no entry.
    """
    ratios = {}
    for name, record in history.metrics.items():
        measurements = measurements_of(name, record)
        if len(measurements) < HARM_MEASUREMENTS or not has_best(name, record):
            continue
        loss = current_quality_loss(measurements, HARM_RATIO)
        is_worse = loss is not None and loss.deviations(len(loss.tail)) >= HARM_DEVIATIONS
        ratios[f"{name}{SINCE_BEST}"] = loss.ratio(HARM_MEASUREMENTS) if loss is not None and is_worse else 1.0
    return ratios
