"""Learning within one run: how far a policy is to be followed, found out by what came of following it.

A bandit with three arms, gains of 0 (the controller below alone), 1/2 and 1 on what the policy wants. Each pull lasts
from one measurement of a metric to the next, and earns how much better the metric became, in units of its usual change.
Thompson sampling (Thompson 1933) for Gaussian rewards of unit variance under a N(m, 1) prior; what was earned long ago
counts less by DISCOUNT a pull, for a game changes while it is played. Random numbers come from the number of the pull
and a seed, so that a log replays every choice. Without a metric nothing is learned, and the gain stays 1.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from equipoise.core.observations import MetricReading, Signals

GAINS = (0.0, 0.5, 1.0)
PRIOR = (0.0, 0.0, 0.5)
"""The arms' means before anything was earned: the policy was chosen for doing good, so it has to be shown that it does
not."""
DISCOUNT = 0.9
FIRST = len(GAINS) - 1


def unlearned() -> dict[str, Any]:
    """Before the first pull: the last metric seen (value, age), pulls, what each arm earned, and a scale of changes."""
    return {"arm": FIRST, "pulls": 0, "counts": [0.0] * len(GAINS), "sums": [0.0] * len(GAINS), "squares": 0.0}


def adapted(state: Mapping[str, Any], signals: Signals, seed: int = 0) -> dict[str, Any]:
    """The state after an observation: one pull further if a metric was measured since the last one."""
    reading = next((signals.metrics[name] for name in sorted(signals.metrics)), None)
    if reading is None or not math.isfinite(reading.value):
        return dict(state)
    seen = {**state, "value": reading.value, "age": reading.age}
    if "value" not in state:
        return seen
    if reading.age > state["age"] and reading.value == state["value"]:  # the metric of before, grown older
        return seen
    gained = _gained(state["value"], reading)
    squares, pulls = state["squares"] + gained**2, state["pulls"] + 1
    earned = gained / math.sqrt(squares / pulls) if squares > 0 else 0.0
    counts = [DISCOUNT * count + (arm == state["arm"]) for arm, count in enumerate(state["counts"])]
    sums = [DISCOUNT * total + earned * (arm == state["arm"]) for arm, total in enumerate(state["sums"])]
    chosen = _drawn(counts, sums, pulls, seed)
    return {**seen, "arm": chosen, "pulls": pulls, "counts": counts, "sums": sums, "squares": squares}


def gain(state: Mapping[str, Any]) -> float:
    """How far the policy is followed now, from 0 to 1."""
    return GAINS[state["arm"]]


def _gained(before: float, reading: MetricReading) -> float:
    """How much better the metric became, as a share of its size: in [-2, 2]."""
    size = (abs(before) + abs(reading.value)) / 2
    better = before - reading.value if reading.better == "lower" else reading.value - before
    return better / size if size > 0 else 0.0


def _drawn(counts: list[float], sums: list[float], pull: int, seed: int) -> int:
    """The arm whose mean, drawn from its posterior N((m + sum) / (1 + count), 1 / (1 + count)), is the highest."""
    # With seed 0 the same as default_rng(pull), by which older logs replay: numpy pads entropy with zeros.
    noise = np.random.default_rng([pull, seed]).standard_normal(len(GAINS)).tolist()
    arms = zip(PRIOR, counts, sums, noise, strict=True)
    draws = [(mean + total) / (1 + count) + one / math.sqrt(1 + count) for mean, count, total, one in arms]
    return draws.index(max(draws))
