"""A bandit that learns within one run how far to follow a policy, from improvements of a metric.

Three arms: gains of 0 (the base controller alone), 1/2 and 1 on the requests of the policy. A pull lasts from one
evaluation of a metric to the next; its reward is the improvement of the metric in units of its usual change. Thompson
sampling (Thompson 1933) for Gaussian rewards of unit variance under a N(m, 1) prior; older rewards are discounted by
DISCOUNT per pull, because the best arm changes during training. Random numbers depend on the number of the pull and a
seed, so that a log reproduces every choice. Without a metric nothing is learned, and the gain remains 1.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from equipoise.core.observations import MetricReading, Signals

GAINS = (0.0, 0.5, 1.0)
PRIOR = (0.0, 0.0, 0.5)
"""Prior means of the arms. The policy was selected for good results, so its gain of 1 is preferred."""
DISCOUNT = 0.9


@dataclass(frozen=True)
class BanditState:
    """State of the bandit. `arm`: index of the current arm. `counts`, `sums`: discounted pulls and rewards of each arm.

    `squares`: sum of squared improvements, which gives their scale. `value`, `age`: the last value of the metric and
    its age in images; None before the first.
    """

    arm: int
    pulls: int
    counts: tuple[float, ...]
    sums: tuple[float, ...]
    squares: float
    value: float | None = None
    age: int | None = None


def initial_state() -> BanditState:
    """Return the state before the first pull: the arm with gain 1."""
    zeros = (0.0,) * len(GAINS)
    return BanditState(arm=len(GAINS) - 1, pulls=0, counts=zeros, sums=zeros, squares=0.0)


def update(state: BanditState, signals: Signals, seed: int = 0) -> BanditState:
    """Return the state after an observation: one pull further if a metric was evaluated since the last one."""
    reading = next((signals.metrics[name] for name in sorted(signals.metrics)), None)
    if reading is None or not math.isfinite(reading.value):
        return state
    updated = dataclasses.replace(state, value=reading.value, age=reading.age)
    if state.value is None or state.age is None:
        return updated
    if reading.age > state.age and reading.value == state.value:  # the same evaluation, older
        return updated
    improvement = relative_improvement(state.value, reading)
    squares, pulls = state.squares + improvement**2, state.pulls + 1
    reward = improvement / math.sqrt(squares / pulls) if squares > 0 else 0.0
    counts = tuple(DISCOUNT * count + (arm == state.arm) for arm, count in enumerate(state.counts))
    sums = tuple(DISCOUNT * total + reward * (arm == state.arm) for arm, total in enumerate(state.sums))
    arm = _sample_arm(counts, sums, pulls, seed)
    return dataclasses.replace(updated, arm=arm, pulls=pulls, counts=counts, sums=sums, squares=squares)


def gain(state: BanditState) -> float:
    """Return the current gain on the actions of the policy, from 0 to 1."""
    return GAINS[state.arm]


def relative_improvement(before: float, reading: MetricReading) -> float:
    """Return the improvement of a metric as a share of its size, in [-2, 2]."""
    size = (abs(before) + abs(reading.value)) / 2
    better = before - reading.value if reading.better == "lower" else reading.value - before
    return better / size if size > 0 else 0.0


def _sample_arm(counts: Sequence[float], sums: Sequence[float], pull: int, seed: int) -> int:
    """Return the arm with the highest sample from its posterior N((m + sum) / (1 + count), 1 / (1 + count))."""
    # With seed 0 this equals default_rng(pull), which older runs used: numpy pads the entropy with zeros.
    noise = np.random.default_rng([pull, seed]).standard_normal(len(GAINS)).tolist()
    arms = zip(PRIOR, counts, sums, noise, strict=True)
    samples = [(mean + total) / (1 + count) + normal / math.sqrt(1 + count) for mean, count, total, normal in arms]
    return samples.index(max(samples))
