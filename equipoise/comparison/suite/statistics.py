"""Statistics of the suite: ratios of distances to one constant for all tasks, with intervals, tests and headroom.

All quantities are computed from log ratios y (T, S) of T tasks and S seeds. An arm and the constant of a ratio ran the
same task with the same seed: same training samples, initial weights and order of data.

    y = log((max(d, 0) + eps) / (max(d0, 0) + eps))     d, d0: distances of the arm and of the constant

eps, of the task, is twice the standard deviation of the distance of 512 reals (`noise.py`), so that distances below the
noise, also negative ones, count as equal. A run that diverged counts as twice the worst finite distance of its task.

    mean ratio = exp(mean over tasks of (mean over seeds of y))

Intervals: percentile bootstrap (Efron 1979) over seeds within tasks, widened as in `comparison.aggregate` since a few
seeds are resampled as if they were all (Hesterberg 2015); a second one resamples tasks as well, and so
generalises to other tasks than these. Shares: Wilson 1927, "Probable Inference, the Law of Succession, and
Statistical Inference". Sign-flip test: Fisher 1935, "The Design of Experiments", section 21.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist

import numpy as np

from equipoise.comparison.aggregate import CONFIDENCE, DRAWS, IntervalEstimate
from equipoise.comparison.suite.records import RunArray
from equipoise.core.student_t import student_t_quantile
from equipoise.core.wilson_interval import wilson_interval as share_bounds
from equipoise.errors import SettingError

FAILURE_FACTOR = 2.0
"""A diverged run counts as this multiple of the worst finite distance of its task."""
HARM = math.log(1.1)
"""Log ratio above which a task is worse: 10 %."""
EXACT_TASKS = 20
"""Up to this number of tasks, the sign-flip test counts all 2^T signs; above, SIGN_DRAWS random ones."""
SIGN_DRAWS = 200_000
Statistic = Callable[[Sequence[RunArray]], RunArray]
"""From means of tasks (R, T), one array per arm, to R values."""


def replace_diverged(distances: Mapping[str, RunArray], noise: RunArray) -> dict[str, RunArray]:
    """Return distances (T, S) per arm in which diverged runs count as twice the worst finite one of their task.

    `noise`: (T,) eps. Where no run of a task is finite, and where the worst is below eps, twice eps is used.
    """
    stacked = np.concatenate(list(distances.values()), axis=1)
    finite = np.where(np.isfinite(stacked), stacked, -np.inf)
    worst = FAILURE_FACTOR * np.maximum(finite.max(axis=1, initial=-np.inf), noise)
    return {name: np.where(np.isinf(values), worst[:, None], values) for name, values in distances.items()}


def log_ratios(distances: RunArray, reference: RunArray, noise: RunArray) -> RunArray:
    """Return log ratios (T, S) of distances to those of the reference at the same task and seed. `noise`: (T,) eps.

    Raises SettingError unless every eps is positive.
    """
    if not (noise > 0).all():
        raise SettingError(f"the noise of task number {int(np.argmin(noise)) + 1} is {noise.min():g}; it must be > 0")
    floor = noise[:, None]
    ratios: RunArray = np.log((np.maximum(distances, 0) + floor) / (np.maximum(reference, 0) + floor))
    return ratios


def task_means(values: RunArray) -> RunArray:
    """Return the means (..., T) over the existing runs of each task of values (..., T, S); NaN where none exists."""
    return _mean(values)


def estimate_over_seeds(values: Sequence[RunArray], statistic: Statistic, seed: int = 0) -> IntervalEstimate:
    """Estimate a statistic of the means of tasks of one or more arms (T, S); the interval resamples seeds in tasks.

    All arms are resampled together, so seeds remain paired. Generalises to other seeds of these tasks.
    """
    tasks, seeds = values[0].shape
    point, draws = _bootstrap(values, statistic, seed, over_tasks=False)
    return _widen(point, draws, runs=tasks * seeds, strata=tasks)


def estimate_over_tasks(values: Sequence[RunArray], statistic: Statistic, seed: int = 0) -> IntervalEstimate:
    """Estimate a statistic like :func:`estimate_over_seeds`; the interval resamples tasks, and seeds in them.

    Generalises to other tasks like these, so it is wider.
    """
    point, draws = _bootstrap(values, statistic, seed, over_tasks=True)
    return _widen(point, draws, runs=len(values[0]), strata=1)


def mean_log_ratio(means: Sequence[RunArray]) -> RunArray:
    """Return the mean log ratio (R,) from the means of log ratios (R, T) of one arm."""
    return _mean(means[0])


def mean_log_difference(means: Sequence[RunArray]) -> RunArray:
    """Return the mean log ratio (R,) of the first arm to the second, from log ratios to a common reference."""
    return _mean(means[0] - means[1])


def as_ratio(logs: IntervalEstimate) -> IntervalEstimate:
    """Return the ratio of an estimated log ratio, a geometric mean."""
    return IntervalEstimate(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high))


def headroom_share(means: Sequence[RunArray]) -> RunArray:
    """Return the share (R,) of the oracle's gain that an arm wins; `means`: of the arm, and of the oracle.

    Ratio of means rather than mean of ratios, since the gain of a single task may be 0. NaN where the oracle gains
    nothing.
    """
    arm, oracle = _known_in_all(means)
    gain = -_mean(oracle)
    shares: RunArray = np.where(gain > 0, -_mean(arm) / np.where(gain > 0, gain, 1), np.nan)
    return shares


def damage_undone(means: Sequence[RunArray]) -> RunArray:
    """Return the share (R,) of the damage of mis-set knobs that an arm undoes; `means`: of default, arm and oracle.

    The damage is the mean log ratio of the published setting in the regime to the oracle of the same task. NaN where
    there is none.
    """
    default, arm, oracle = _known_in_all(means)
    damage, undone = _mean(default - oracle), _mean(default - arm)
    shares: RunArray = np.where(damage > 0, undone / np.where(damage > 0, damage, 1), np.nan)
    return shares


def share_of_worse_tasks(values: RunArray) -> IntervalEstimate:
    """Estimate the share of tasks whose mean ratio is worse by more than 10 %: Wilson's 95 % interval over tasks."""
    means = task_means(values)
    return wilson_interval(int((means > HARM).sum()), int(np.isfinite(means).sum()))


def expected_share_of_worse_tasks(values: RunArray) -> float:
    """Return the share of tasks that would look worse by 10 % by the noise of seeds alone, if no task differed.

    Mean over tasks of P(Z > HARM / (s / sqrt(S))), s the standard deviation over the S seeds of a task.
    """
    errors = values.std(axis=1, ddof=1) / math.sqrt(values.shape[1]) if values.shape[1] > 1 else np.zeros(len(values))
    shares = [1 - NormalDist().cdf(HARM / error) if error > 0 else 0.0 for error in errors.tolist()]
    return sum(shares) / len(shares)


def wilson_interval(count: int, total: int) -> IntervalEstimate:
    """Estimate a share with Wilson's 95 % interval, which is not empty for 0 of N. Raises ValueError for no cases."""
    low, high = share_bounds(count, total, CONFIDENCE)
    return IntervalEstimate(count / total, low, high)


def sign_flip_test(differences: RunArray, seed: int = 0) -> float:
    """Return the two-sided p-value of the sign-flip permutation test of (T,) means of tasks.

    Under the null hypothesis the sign of each difference is arbitrary: p is the share of signs with |Σ ± y| >= |Σ y|.
    Exact up to 20 tasks. 1 if there is no difference.
    """
    values = differences[np.isfinite(differences)]
    observed = abs(float(values.sum()))
    if not values.any():
        return 1.0
    if len(values) > EXACT_TASKS:
        signs = np.random.default_rng(seed).integers(0, 2, (SIGN_DRAWS, len(values))) * 2 - 1
        return float((1 + (np.abs(signs @ values) >= observed - 1e-12).sum()) / (1 + SIGN_DRAWS))
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return float((np.abs(sums) >= observed - 1e-12).mean())


def _known_in_all(arrays: Sequence[RunArray]) -> list[RunArray]:
    """Return arrays with NaN wherever any of them has NaN."""
    unknown = np.isnan(np.stack(arrays)).any(axis=0)
    return [np.where(unknown, np.nan, array) for array in arrays]


def _mean(values: RunArray) -> RunArray:
    """Return the mean along the last axis of the values that are not NaN; NaN if there is none."""
    exists = ~np.isnan(values)
    count = exists.sum(axis=-1)
    means: RunArray = np.where(
        count > 0, np.where(exists, values, 0).sum(axis=-1) / np.where(count > 0, count, 1), np.nan
    )
    return means


def _bootstrap(
    values: Sequence[RunArray], statistic: Statistic, seed: int, *, over_tasks: bool
) -> tuple[float, RunArray]:
    """Return a statistic, and its values (R,) on resampled seeds and, if `over_tasks`, resampled tasks."""
    tasks, seeds = values[0].shape
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, tasks, (DRAWS, tasks)) if over_tasks else np.arange(tasks)[None].repeat(DRAWS, 0)
    columns = generator.integers(0, seeds, (DRAWS, tasks, seeds))
    resampled = [task_means(array[rows[:, :, None], columns]) for array in values]
    return float(statistic([task_means(array)[None] for array in values])[0]), statistic(resampled)


def _widen(value: float, draws: RunArray, runs: int, strata: int) -> IntervalEstimate:
    """Return the percentile interval with bounds moved away by sqrt(N / (N - M)) t / z for N values in M strata."""
    degrees_of_freedom, usable = runs - strata, draws[np.isfinite(draws)]
    if degrees_of_freedom < 1 or not len(usable):
        return IntervalEstimate(value, value, value)
    upper = (1 + CONFIDENCE) / 2
    factor = math.sqrt(runs / degrees_of_freedom) * student_t_quantile(upper, degrees_of_freedom)
    factor /= NormalDist().inv_cdf(upper)
    low, high = (float(bound) for bound in np.percentile(usable, [100 * (1 - upper), 100 * upper]))
    return IntervalEstimate(value, value + factor * (low - value), value + factor * (high - value))
