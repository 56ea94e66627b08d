"""Training logs derived from published ones, with other courses of quality: seeded, and labelled by the same rule.

The FID of a healthy run is stretched in time; then noise, single spikes, dips that recover, or a drift is added, or the
loss of quality of a collapsed run is spliced onto it: earlier or later, slower or faster, larger or smaller. Losses are
those of the collapsed run, moved so that its best FID falls on the onset, or, in two of five logs, those of the healthy
run, which do not tell. Three of ten are cut off soon after the onset. The label is computed from the resulting FIDs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from equipoise.diagnosis.logs.training_log import MetricSeries, StepSeries, TrainingLog

Values = npt.NDArray[np.float64]
Generator = np.random.Generator
KINDS = ("healthy", "noisy", "spike", "dip", "drift", "collapse", "slow", "late", "early", "noisy_collapse")
"""healthy: unchanged; noisy: 10 % noise; spike: one or two single values 1.4 to 2.2 times as bad; dip: 1.3 to 1.8 times
as bad for two values to a fifteenth of the run; drift: by up to 1.3 times; slow, late, early, noisy_collapse: collapses
three times as slow, in the last quarter, in the first eighth, with 8 to 15 % noise."""
LENGTH = 100_000
LOSS_ROWS = 200


@dataclass(frozen=True)
class Course:
    """Share of the run (N,) and log FID (N,) of its evaluations, and its losses: name -> shares and values (M,)."""

    times: Values
    costs: Values
    losses: Mapping[str, tuple[Values, Values]]


def course_of(log: TrainingLog, length: int) -> Course:
    """Return the course of a log; losses as means over 400 equal parts of the run."""
    fid = log.metrics["fid"].series
    losses = {}
    for name in ("loss_d", "loss_g"):
        series = log.signals[name]
        part = np.minimum((series.steps / length * 400).astype(int), 399)
        sums, counts = (np.bincount(part, weights, 400) for weights in (series.values, None))
        present = counts > 0
        losses[name] = ((np.arange(1, 401) / 400)[present], sums[present] / counts[present])
    return Course(fid.steps / length, np.log(fid.values), losses)


def onset_of(course: Course, ratio: float) -> float | None:
    """Return the first evaluation after the best from which FID never falls below `ratio` times the best."""
    best = int(np.argmin(course.costs))
    last = int(np.flatnonzero(course.costs < course.costs[best] + math.log(ratio))[-1])
    return None if last == len(course.costs) - 1 else float(course.times[last + 1])


def derive(kind: str, healthy: Sequence[Course], collapsed: Sequence[Course], generator: Generator) -> Course:
    """Return a course of a kind."""
    base = healthy[generator.integers(len(healthy))]
    count = int(generator.choice([50, 50, 60, 100, 150]))
    times = np.arange(1, count + 1) / count
    if kind in ("healthy", "noisy", "spike", "dip", "drift"):
        speed = float(np.exp(generator.uniform(-1, 0.4)))
        costs = np.interp(np.minimum(1, times * speed), base.times, base.costs)
        costs = costs + _disturbance(kind, times, generator)
        return Course(times, costs, {name: (shares / speed, loss) for name, (shares, loss) in base.losses.items()})
    return _splice(kind, times, base, collapsed[generator.integers(len(collapsed))], generator)


def _disturbance(kind: str, times: Values, generator: Generator) -> Values:
    """Return what is added to the log FID of a healthy run."""
    count = len(times)
    noise = {"healthy": 0.0, "noisy": 0.1}.get(kind, float(generator.choice([0, 0.04])))
    costs = generator.normal(0, noise, count)
    if kind == "spike":
        places = generator.choice(np.arange(count // 10, count - 2), size=generator.integers(1, 3), replace=False)
        costs[places] += np.log(generator.uniform(1.4, 2.2, len(places)))
    elif kind == "dip":
        start, width = generator.integers(count // 5, count - count // 5), generator.integers(2, max(3, count // 15))
        costs[start : start + width] += math.log(generator.uniform(1.3, 1.8))
    elif kind == "drift":
        start = generator.uniform(0.3, 0.7)
        costs += math.log(generator.uniform(1.05, 1.3)) * np.clip((times - start) / (1 - start), 0, 1)
    return costs


def _splice(kind: str, times: Values, base: Course, other: Course, generator: Generator) -> Course:
    """Return the beginning of a healthy run with the loss of quality of a collapsed one."""
    best = int(np.argmin(other.costs))
    onset = float(generator.uniform(*{"late": (0.75, 0.92), "early": (0.03, 0.12)}.get(kind, (0.12, 0.7))))
    stretch = float(np.exp(generator.uniform(-1.2, 1.2))) * (3 if kind == "slow" else 1)
    size, speed = generator.uniform(0.5, 1.4), generator.uniform(0.8, 2.5)
    loss = np.interp(
        np.minimum(1, other.times[best] + np.clip(times - onset, 0, None) / stretch),
        other.times,
        other.costs - other.costs[best],
    )
    costs = np.interp(np.minimum(np.minimum(times, onset) * speed, 1), base.times, base.costs)
    costs = costs + size * np.where(times > onset, loss, 0)
    noise = generator.uniform(0.08, 0.15) if kind == "noisy_collapse" else generator.choice([0, 0.05])
    costs = costs + generator.normal(0, noise, len(times))
    losses = base.losses
    if generator.random() >= 0.4:
        turn = other.times[best]
        losses = {
            name: (np.where(shares <= turn, shares / turn * onset, onset + (shares - turn) * stretch), values)
            for name, (shares, values) in other.losses.items()
        }
    if kind != "late" and generator.random() < 0.3:
        end = min(1.0, onset + generator.uniform(0.2, 0.5))
        kept = times <= end
        times, costs = times[kept] / end, costs[kept]
        losses = {name: (shares / end, values) for name, (shares, values) in losses.items()}
    return Course(times, costs, losses)


def log_of(course: Course) -> TrainingLog:
    """Return a course as a log of LENGTH steps."""
    rows = np.arange(1, LOSS_ROWS + 1) / LOSS_ROWS
    steps = np.round(rows * LENGTH).astype(np.int64)
    signals = {name: StepSeries(steps, np.interp(rows, *loss)) for name, loss in course.losses.items()}
    fid = StepSeries(np.round(course.times * LENGTH).astype(np.int64), np.exp(course.costs))
    return TrainingLog("derived", signals, {"fid": MetricSeries(fid, "lower")}, total=LENGTH)


def derived_logs(
    healthy: Sequence[Course], collapsed: Sequence[Course], count: int, ratio: float, seed: int = 0
) -> list[tuple[str, TrainingLog, int | None]]:
    """Return `count` logs of every kind: kind, log, step of the onset of the collapse (None: none)."""
    result = []
    for number, kind in enumerate(KINDS):
        generator = np.random.default_rng([seed, number])
        for _ in range(count):
            course = derive(kind, healthy, collapsed, generator)
            onset = onset_of(course, ratio)
            result.append((kind, log_of(course), None if onset is None else round(onset * LENGTH)))
    return result
