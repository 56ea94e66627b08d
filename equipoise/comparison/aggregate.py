"""Statistics of scores: averages with confidence intervals, comparisons of two arms, significance tests.

Scores are grouped by setting (a task in a regime): name -> (N,) float64, one score per seed. Two arms have the same
order of seeds, so scores at the same index form a pair: same initial weights, same order of data.

    interquartile mean, stratified bootstrap, probability of improvement:
        Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", section 4
    confidence intervals: percentile bootstrap (Efron 1979) whose bounds are moved away from the estimate by the factor
        sqrt(N / (N - S)) t / z, N runs in S settings, t the quantile of Student's t with N - S degrees of freedom,
        z that of the normal distribution: resampling three runs as if they were the population, the plain 95 %
        interval covers the true value in 74 of 100 cases
        (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", on narrowness)
    signed-rank test: Wilcoxon 1945, "Individual Comparisons by Ranking Methods"; here the exact distribution, with ties
    exact test of paired failures: McNemar 1947, as a binomial test of the discordant pairs
    multiple tests: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure"
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from equipoise.core.student_t import student_t_quantile

ScoreArray = npt.NDArray[np.float64]
ScoresBySetting = Mapping[str, ScoreArray]

DRAWS = 10_000
"""Number of bootstrap resamples: enough for two digits of a bound."""
CONFIDENCE = 0.95
TRIMMED = 0.25
"""Share of scores that the interquartile mean removes at each end."""
Bounds = tuple[float, float]
UNIT: Bounds = (0.0, 1.0)
"""Range of scores and shares, and of their intervals."""
UNBOUNDED: Bounds = (-math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class IntervalEstimate:
    """An estimate and its 95 % confidence interval; the bounds equal the estimate where a setting has one run only."""

    value: float
    low: float
    high: float


def interquartile_mean(scores: ScoreArray) -> float:
    """Return the mean of (N,) scores without the lowest and the highest quarter, each rounded down to whole scores."""
    return float(_interquartile_means(scores[None])[0])


def estimate_interquartile_mean(groups: ScoresBySetting, bounds: Bounds = UNBOUNDED, seed: int = 0) -> IntervalEstimate:
    """Estimate the interquartile mean over all runs, resampled within each setting. Raises ValueError without scores.

    `bounds`: range of the quantity, to which the interval is clipped.
    """
    value, draws = _bootstrap(groups, lambda samples: _interquartile_means(np.concatenate(samples, axis=1)), seed)
    return _widen(value, draws, groups, bounds)


def estimate_mean(groups: ScoresBySetting, bounds: Bounds = UNBOUNDED, seed: int = 0) -> IntervalEstimate:
    """Estimate the mean over all runs, resampled within each setting. `bounds`: range of the quantity."""
    value, draws = _bootstrap(groups, lambda samples: _means(np.concatenate(samples, axis=1)), seed)
    return _widen(value, draws, groups, bounds)


def estimate_median(groups: ScoresBySetting, seed: int = 0) -> IntervalEstimate:
    """Estimate the lower median over all runs, some of which may be infinite, resampled within each setting.

    The bounds are values of runs and are not widened: for three runs they cover the true value in 75 of 100 cases.
    """
    value, draws = _bootstrap(groups, lambda samples: _medians(np.concatenate(samples, axis=1)), seed)
    return IntervalEstimate(value, *_percentiles(draws))


def estimate_geometric_mean(groups: ScoresBySetting, seed: int = 0) -> IntervalEstimate:
    """Estimate the geometric mean over all runs of positive values, resampled within each setting."""
    logs = estimate_mean({name: np.log(values) for name, values in groups.items()}, seed=seed)
    return IntervalEstimate(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high))


def estimate_interquartile_mean_difference(
    first: ScoresBySetting, second: ScoresBySetting, seed: int = 0
) -> IntervalEstimate:
    """Estimate the difference of the interquartile means, `first` minus `second`; resamples pairs in each setting."""

    def differences(samples: Sequence[ScoreArray]) -> ScoreArray:
        """Compute (R,) differences from pairs (R, 2 N) per setting, the scores of `first` before those of `second`."""
        halves = [np.split(pairs, 2, axis=1) for pairs in samples]
        left, right = (np.concatenate([half[side] for half in halves], axis=1) for side in (0, 1))
        return _interquartile_means(left) - _interquartile_means(right)

    pairs = {name: np.stack((first[name], second[name]), axis=1) for name in first}
    value, draws = _bootstrap(pairs, differences, seed)
    return _widen(value, draws, pairs, UNBOUNDED)


def estimate_probability_of_improvement(
    first: ScoresBySetting, second: ScoresBySetting, seed: int = 0
) -> IntervalEstimate:
    """Estimate the probability that a run of `first` scores higher than one of `second` in a random setting.

    P(X > Y) = mean over settings of 1 / (N K) Σ_i Σ_j [x_i > y_j] + [x_i = y_j] / 2. Both arms are resampled.
    """

    def probabilities(samples: Sequence[ScoreArray]) -> ScoreArray:
        halves = [np.split(pairs, 2, axis=1) for pairs in samples]
        shares: ScoreArray = np.mean([_win_share(left, right) for left, right in halves], axis=0)
        return shares

    pairs = {name: np.stack((first[name], second[name]), axis=1) for name in first}
    value, draws = _bootstrap(pairs, probabilities, seed, paired=False)
    return _widen(value, draws, pairs, UNIT)


def wilcoxon_signed_rank(differences: ScoreArray) -> float:
    """Return the two-sided p-value of the signed-rank test of (N,) paired differences; 1 if all of them are 0.

    Exact: under the null hypothesis all 2^N signs of the ranks are equally likely. Zero differences are removed
    (Wilcoxon 1945), equal sizes share their mean rank; twice a mean rank is an integer, so the sums can be counted.
    """
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return 1.0
    doubled = np.rint(2 * mean_ranks(np.abs(nonzero))).astype(np.int64)
    total = int(doubled.sum())
    probabilities = np.zeros(total + 1)
    probabilities[0] = 1.0
    for rank in doubled:
        shifted = np.concatenate([np.zeros(rank), probabilities[: total + 1 - rank]])
        probabilities = (probabilities + shifted) / 2
    positive = int(doubled[nonzero > 0].sum())
    return float(min(1.0, 2 * probabilities[: positive + 1].sum(), 2 * probabilities[positive:].sum()))


def signed_rank_direction(differences: ScoreArray) -> int:
    """Return the sign of W+ - W-, the rank sums of the signed-rank test: 1, -1, or 0 if they are equal.

    This is the direction of the p-value of :func:`wilcoxon_signed_rank`; that of means or medians can differ.
    """
    nonzero = differences[differences != 0]
    doubled = np.rint(2 * mean_ranks(np.abs(nonzero))).astype(np.int64)
    return int(np.sign((doubled * np.sign(nonzero)).sum()))


def mean_ranks(values: ScoreArray) -> ScoreArray:
    """Return the ranks of (N,) values, from 1 for the smallest to N; equal values share their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: ScoreArray = (ends - (counts - 1) / 2)[places]
    return ranks


def mcnemar_exact(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Return the two-sided p-value of McNemar's exact test of paired failures.

    With b pairs in which only `first` failed and c in which only `second` did,
    p = 2 Σ_{i <= min(b, c)} C(b + c, i) / 2^(b + c), at most 1.
    """
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    pairs = only_first + only_second
    tail = sum(math.comb(pairs, i) for i in range(min(only_first, only_second) + 1))
    p: float = 2 * tail / 2**pairs
    return min(1.0, p)


def holm_correction(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values corrected for multiple tests by Holm's method, which controls the family-wise error rate.

    The k-th smallest of m p-values is multiplied by m - k + 1; the results are non-decreasing and at most 1.
    """
    corrected, highest = {}, 0.0
    for index, (name, value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, value * (len(p_values) - index)))
        corrected[name] = highest
    return {name: corrected[name] for name in p_values}


def _bootstrap(
    groups: ScoresBySetting, statistic: Callable[[Sequence[ScoreArray]], ScoreArray], seed: int, paired: bool = True
) -> tuple[float, ScoreArray]:
    """Return a statistic of scores, and (R,) values of it on runs resampled with replacement within each setting.

    Groups are (N,), or (N, 2) for pairs. The statistic receives (R, N), or (R, 2 N) for pairs: first all left sides,
    then all right sides. `paired`: resample pairs instead of each side independently.
    """
    if not groups or not all(map(len, groups.values())):
        raise ValueError("there is a setting without scores")
    generator = np.random.default_rng(seed)
    value = statistic([_take(scores, np.arange(len(scores))[None]) for scores in groups.values()])[0]
    samples = []
    for scores in groups.values():
        sides = 2 if scores.ndim == 2 and not paired else 1
        rows = [generator.integers(len(scores), size=(DRAWS, len(scores))) for _ in range(sides)]
        samples.append(_take(scores, *rows))
    return float(value), statistic(samples)


def _percentiles(draws: ScoreArray) -> tuple[float, float]:
    quantiles = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    low, high = np.quantile(draws, quantiles, method="nearest")  # infinite values cannot be interpolated
    return float(low), float(high)


def _widen(value: float, draws: ScoreArray, groups: ScoresBySetting, bounds: Bounds) -> IntervalEstimate:
    """Return the percentile interval, widened for small numbers of runs."""
    runs = sum(map(len, groups.values()))
    degrees_of_freedom = runs - len(groups)
    if not degrees_of_freedom:
        return IntervalEstimate(value, value, value)
    upper = (1 + CONFIDENCE) / 2
    t, z = student_t_quantile(upper, degrees_of_freedom), NormalDist().inv_cdf(upper)
    factor = math.sqrt(runs / degrees_of_freedom) * t / z
    low, high = (min(max(value + factor * (bound - value), bounds[0]), bounds[1]) for bound in _percentiles(draws))
    return IntervalEstimate(value, low, high)


def _take(scores: ScoreArray, *rows: npt.NDArray[np.int64]) -> ScoreArray:
    """Return scores (N,) at rows (R, N); for pairs (N, 2) the left sides, then the right sides at the last rows."""
    if scores.ndim == 1:
        return scores[rows[0]]
    return np.concatenate([scores[rows[0], 0], scores[rows[-1], 1]], axis=1)


def _means(scores: ScoreArray) -> ScoreArray:
    """Return the mean of each row of (R, N) scores."""
    means: ScoreArray = scores.mean(axis=1)
    return means


def _medians(scores: ScoreArray) -> ScoreArray:
    """Return the lower median of each row of (R, N) scores."""
    medians: ScoreArray = np.sort(scores, axis=1)[:, (scores.shape[1] - 1) // 2]
    return medians


def _interquartile_means(scores: ScoreArray) -> ScoreArray:
    """Return the interquartile mean of each row of (R, N) scores."""
    cut = int(TRIMMED * scores.shape[1])
    means: ScoreArray = np.sort(scores, axis=1)[:, cut : scores.shape[1] - cut].mean(axis=1)
    return means


def _win_share(first: ScoreArray, second: ScoreArray) -> ScoreArray:
    """Return (R,): the share of pairs from (R, N) and (R, K) in which the first is higher; ties count half."""
    difference = first[:, :, None] - second[:, None, :]
    shares: ScoreArray = ((np.sign(difference) + 1) / 2).mean(axis=(1, 2))
    return shares
