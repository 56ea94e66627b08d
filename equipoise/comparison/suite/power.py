"""Power: how many seeds and tasks are needed to detect a difference of 10 %, from the variance of pilot runs.

Model of log ratios:  y_ts = mu + u_t + e_ts  with variances tau^2 between tasks and sigma^2 between seeds. The mean
over T tasks and S seeds has the variance (tau^2 + sigma^2 / S) / T, and the two-sided test of level alpha detects
delta = |log 0.9| with power 1 - beta for

    T >= (z_{1 - alpha/2} + z_{1 - beta})^2 (tau^2 + sigma^2 / S) / delta^2        (Chow, Shao and Wang 2008, 3.1)

Variances come from the analysis of variance with one factor (Searle 1971). The formula is checked by simulating the
sign-flip test, which has no normal distribution in it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from equipoise.comparison.suite.records import RunArray
from equipoise.comparison.suite.statistics import sign_flip_test

EFFECT = -math.log(0.9)
"""10 % lower distance."""
LEVEL, POWER = 0.05, 0.8
SIMULATIONS = 400


@dataclass(frozen=True, slots=True)
class PilotVariance:
    """Variances of log ratios. `between`: of tasks, tau^2. `within`: of seeds in a task, sigma^2."""

    between: float
    within: float

    def error(self, tasks: int, seeds: int) -> float:
        """Return the standard error of the mean."""
        return math.sqrt((self.between + self.within / seeds) / tasks)


def pilot_variance(arms: Sequence[RunArray]) -> PilotVariance:
    """Estimate variances from log ratios (T, S) of one or more arms, averaged over arms. NaN: a run does not exist.

    Raises ValueError without two tasks of which one has two seeds.
    """
    parts = [_components(values) for values in arms]
    usable = [part for part in parts if part]
    if not usable:
        raise ValueError("a pilot needs at least two tasks, one of them with two seeds")
    within = float(np.mean([part.within for part in usable]))
    return PilotVariance(float(np.mean([part.between for part in usable])), within)


def required_tasks(variance: PilotVariance, seeds: int, effect: float = EFFECT) -> int:
    """Return the number of tasks for a number of seeds."""
    return math.ceil(_noncentrality() ** 2 * (variance.between + variance.within / seeds) / effect**2)


def required_seeds(variance: PilotVariance, tasks: int, effect: float = EFFECT) -> int | None:
    """Return the number of seeds for a number of tasks; None if no number is enough, as tasks differ too much."""
    left = tasks * effect**2 / _noncentrality() ** 2 - variance.between
    return max(1, math.ceil(variance.within / left)) if left > 0 else None


def detectable_ratio(variance: PilotVariance, tasks: int, seeds: int) -> float:
    """Return the largest ratio below 1 that is detected with 80 % power."""
    return math.exp(-_noncentrality() * variance.error(tasks, seeds))


def simulate_power(
    variance: PilotVariance, tasks: int, seeds: int, effect: float = EFFECT, level: float = LEVEL, seed: int = 0
) -> float:
    """Return the share of simulated studies in which the sign-flip test over tasks is significant."""
    generator = np.random.default_rng(seed)
    deviation = math.sqrt(variance.between + variance.within / seeds)
    means = generator.normal(-effect, deviation, (SIMULATIONS, tasks))
    return float(np.mean([sign_flip_test(row) < level for row in means]))


def _noncentrality() -> float:
    normal = NormalDist()
    return normal.inv_cdf(1 - LEVEL / 2) + normal.inv_cdf(POWER)


def _components(values: RunArray) -> PilotVariance | None:
    """Return the variances of one arm; None where they cannot be estimated."""
    groups = [row[np.isfinite(row)] for row in values]
    groups = [row for row in groups if len(row)]
    freedom = sum(len(row) - 1 for row in groups)
    if len(groups) < 2 or freedom < 1:
        return None
    within = sum(float(((row - row.mean()) ** 2).sum()) for row in groups) / freedom
    means = np.array([row.mean() for row in groups])
    noise = within * float(np.mean([1 / len(row) for row in groups]))
    return PilotVariance(max(0.0, float(means.var(ddof=1)) - noise), within)
