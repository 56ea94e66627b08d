"""Number of tuning trials of a constant on the task itself that an arm is worth.

n constants ran on a task with one seed. A person who tries k of them, chosen at random, keeps the best: the one of
rank r (1: best) with probability

    P(r) = C(n - r, k - 1) / C(n, k)

so the expected log ratio of the best of k is a weighted mean (the estimator of Chen et al. 2021, "Evaluating Large
Language Models Trained on Code", for pass@k, applied to ranks). The value that is kept is that of fresh seeds, since
the best of a choice looks better than it is.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from equipoise.comparison.suite.records import RunArray

TRIALS = (1, 2, 4, 8, 16, 24)


def rank_probabilities(count: int, trials: int) -> RunArray:
    """Return (N,): the probability that each rank, from the best on, is the best of `trials` out of `count`.

    Raises ValueError unless 1 <= trials <= count.
    """
    if not 1 <= trials <= count:
        raise ValueError(f"trials = {trials}: it must be from 1 to {count}")
    total = math.comb(count, trials)
    return np.array([math.comb(count - rank, trials - 1) / total for rank in range(1, count + 1)])


def best_of_trials(choice: RunArray, value: RunArray, trials: int) -> float:
    """Return the expected value of the best of `trials` constants. `choice`: (N,) what ranks them; `value`: (N,)."""
    order = np.argsort(choice, kind="stable")
    return float(rank_probabilities(len(choice), trials) @ value[order])


def fresh_share(choice: RunArray, is_fresh: npt.NDArray[np.bool_], trials: int) -> float:
    """Return the probability that the best of `trials` is a constant with fresh seeds. `is_fresh`: (N,)."""
    return best_of_trials(choice, is_fresh.astype(np.float64), trials)


def trials_worth(log_ratio: float, curve: Mapping[int, float]) -> float:
    """Return the number of trials whose expected log ratio equals that of an arm, interpolated in log k.

    `curve`: number of trials -> mean log ratio. 0 if the arm is worse than a single trial, infinity if it is better
    than the largest number, NaN for an empty curve. The curve is made non-increasing: more trials are never worse.
    """
    if not curve:
        return math.nan
    trials = sorted(curve)
    values = np.minimum.accumulate([curve[number] for number in trials])
    if log_ratio > values[0]:
        return 0.0
    if log_ratio < values[-1]:
        return math.inf
    positions = np.log([float(number) for number in trials])
    return float(np.exp(np.interp(-log_ratio, -values, positions)))


def curve_over_tasks(curves: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Return the mean over tasks of curves of equal numbers of trials; no curves have no mean."""
    numbers = curves[0] if curves else ()
    return {number: float(np.mean([curve[number] for curve in curves])) for number in numbers}
