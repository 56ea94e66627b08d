"""The statistics of a comparison, against scipy, hand-worked values and second derivations."""

import itertools

import numpy as np
import pytest
from scipy import stats

from equipoise.comparison import aggregate
from equipoise.comparison.aggregate import (
    DRAWS,
    estimate_geometric_mean,
    estimate_interquartile_mean,
    estimate_interquartile_mean_difference,
    estimate_median,
    estimate_probability_of_improvement,
    holm_correction,
    interquartile_mean,
    mcnemar_exact,
    mean_ranks,
    wilcoxon_signed_rank,
)

SOURCE = np.random.default_rng(3)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 13, 20])
def test_interquartile_mean_equals_scipys_trimmed_mean(count: int) -> None:
    scores = SOURCE.normal(size=count)
    assert interquartile_mean(scores) == pytest.approx(stats.trim_mean(scores, 0.25), rel=1e-12)


def test_interquartile_mean_ignores_outliers() -> None:
    assert interquartile_mean(np.array([0.0, 1, 2, 3])) == interquartile_mean(np.array([-1e9, 1, 2, 1e9])) == 1.5


@pytest.mark.parametrize("count", [1, 2, 5, 9, 14, 20])
def test_wilcoxon_equals_scipys_without_ties(count: int) -> None:
    differences = SOURCE.normal(0.4, 1, size=count)
    assert wilcoxon_signed_rank(differences) == pytest.approx(
        stats.wilcoxon(differences, method="exact").pvalue, rel=1e-12
    )


def test_wilcoxon_with_ties_counts_all_signs() -> None:
    differences = np.array([0.5, -0.5, 0.5, 0.25, 0.25, -1.0, 0.0, 2.0, 2.0])
    nonzero = differences[differences != 0]
    ranks = stats.rankdata(np.abs(nonzero))
    observed = ranks[nonzero > 0].sum()
    sums = [(ranks * signs).sum() for signs in itertools.product((0, 1), repeat=len(nonzero))]
    low, high = np.mean([one <= observed for one in sums]), np.mean([one >= observed for one in sums])
    assert wilcoxon_signed_rank(differences) == pytest.approx(min(1.0, 2 * min(low, high)), rel=1e-12)


def test_wilcoxon_of_few_pairs_is_not_significant() -> None:
    """Control.md, section 4: the smallest two-sided p-values are 0.0625 of five pairs and 0.03125 of six."""
    assert wilcoxon_signed_rank(np.ones(5)) == 0.0625
    assert wilcoxon_signed_rank(-np.ones(6)) == 0.03125
    assert wilcoxon_signed_rank(np.zeros(4)) == 1.0
    assert 0 < wilcoxon_signed_rank(np.arange(1.0, 201)) < 1e-50, "long ones do not overflow"


def test_mean_ranks_equal_scipys() -> None:
    values = np.array([3.0, 1, 3, 2, 1, 1])
    assert mean_ranks(values).tolist() == stats.rankdata(values).tolist()


def test_mcnemar_equals_the_binomial_test() -> None:
    """14 against 3 of 17 pairs that differ: 2 (1 + 17 + 136 + 680) / 2^17 (benchmarks.md, section 9)."""
    new = [True] * 14 + [False] * 3 + [True] * 9 + [False] * 30
    base = [False] * 14 + [True] * 3 + [True] * 9 + [False] * 30
    assert mcnemar_exact(new, base) == 2 * (1 + 17 + 136 + 680) / 2**17
    assert mcnemar_exact(new, base) == pytest.approx(stats.binomtest(3, 17).pvalue, rel=1e-12)
    assert mcnemar_exact(new, base) == mcnemar_exact(base, new)
    assert mcnemar_exact([True, False], [True, False]) == 1.0


def test_holm_correction() -> None:
    """The example of Holm's method with four tests: 0.01, 0.04, 0.03, 0.005."""
    corrected = holm_correction({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert corrected == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(corrected) == ["a", "b", "c", "d"]
    assert holm_correction({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm_correction({}) == {}


def test_interval_of_a_mean_equals_the_normal_interval() -> None:
    scores = SOURCE.normal(0.5, 0.1, size=400)
    result = aggregate.estimate_mean({"a": scores})
    error = scores.std() / np.sqrt(len(scores))
    assert result.value == pytest.approx(scores.mean())
    assert (result.low, result.high) == pytest.approx(
        (scores.mean() - 1.96 * error, scores.mean() + 1.96 * error), abs=4e-4
    )


def test_runs_are_resampled_within_their_setting() -> None:
    """Two distant settings: resampling across both would scatter the mean, resampling within each cannot."""
    groups = {"easy": np.ones(10), "hard": np.zeros(10)}
    result = aggregate.estimate_mean(groups)
    assert (result.value, result.low, result.high) == (0.5, 0.5, 0.5)
    pooled = aggregate.estimate_mean({"both": np.concatenate(list(groups.values()))})
    assert pooled.high - pooled.low > 0.3


def test_pairs_are_resampled_as_pairs() -> None:
    """A constant difference between scores that scatter widely is certain only if pairs stay together."""
    base = {"a": SOURCE.uniform(size=16)}
    result = estimate_interquartile_mean_difference({"a": base["a"] + 0.1}, base)
    assert result.value == pytest.approx(0.1)
    assert (result.low, result.high) == pytest.approx((0.1, 0.1))


def test_difference_of_interquartile_means() -> None:
    new, base = ({name: SOURCE.uniform(size=7) for name in "ab"} for _ in range(2))
    result = estimate_interquartile_mean_difference(new, base)
    assert result.value == pytest.approx(
        estimate_interquartile_mean(new).value - estimate_interquartile_mean(base).value
    )
    assert result.low < result.value < result.high


def test_probability_of_improvement_equals_the_rank_sum_statistic() -> None:
    new, base = {"a": SOURCE.normal(0.3, 1, 9)}, {"a": SOURCE.normal(size=9)}
    u = stats.mannwhitneyu(new["a"], base["a"]).statistic
    result = estimate_probability_of_improvement(new, base)
    assert result.value == pytest.approx(u / 81)
    assert result.low < result.value < result.high


def test_probability_of_improvement_averages_settings_and_counts_ties_half() -> None:
    new = {"a": np.array([1.0, 1.0]), "b": np.array([0.0, 0.0])}
    base = {"a": np.array([0.0, 0.0]), "b": np.array([0.0, 0.0])}
    assert estimate_probability_of_improvement(new, base).value == 0.75


def test_intervals_are_reproducible_and_need_scores() -> None:
    groups = {"a": SOURCE.uniform(size=30)}
    assert aggregate.estimate_mean(groups) == aggregate.estimate_mean(groups) != aggregate.estimate_mean(groups, seed=1)
    assert DRAWS >= 10_000
    with pytest.raises(ValueError, match="without scores"):
        estimate_interquartile_mean({"a": np.array([])})


@pytest.mark.parametrize("sizes", [(40,), (3,), (5, 5), (3, 3, 3, 3)])
@pytest.mark.parametrize("statistic", [aggregate.estimate_mean, estimate_interquartile_mean])
def test_intervals_cover_95_percent(statistic, sizes: tuple[int, ...], monkeypatch) -> None:
    monkeypatch.setattr(aggregate, "DRAWS", 1000)
    covered = 0
    for _ in range(200):
        result = statistic({str(number): SOURCE.normal(size=size) for number, size in enumerate(sizes)})
        covered += result.low <= 0 <= result.high
    assert 179 <= covered <= 199, "chance gives fewer or more in one of a thousand seeds; the seed is fixed"


def test_intervals_are_clipped_and_one_run_has_none() -> None:
    result = aggregate.estimate_mean({"a": np.array([0.1, 0.9, 1.0])}, aggregate.UNIT)
    assert (result.low, result.high) == (0.0, 1.0)
    assert aggregate.estimate_mean({"a": np.array([0.1, 0.9, 1.0])}).high > 1
    assert aggregate.estimate_mean({"a": np.array([0.5]), "b": np.array([0.7])}) == aggregate.IntervalEstimate(
        0.6, 0.6, 0.6
    )


def test_interval_of_a_median_may_be_infinite() -> None:
    """The bootstrap distribution of the median is known: P(at or below the k-th value) is binomial."""
    scores = np.sort(SOURCE.normal(size=9))
    result = estimate_median({"one": scores})
    assert result.value == np.median(scores)
    chances = [stats.binom.sf(4, 9, (place + 1) / 9) for place in range(9)]  # five or more draws at or below it
    low, high = (next(place for place, chance in enumerate(chances) if chance >= share) for share in (0.025, 0.975))
    assert (result.low, result.high) == (scores[low], scores[high])
    late = estimate_median({"one": np.array([0.5, np.inf, np.inf, 0.25]), "other": np.array([np.inf, 0.5])})
    assert (late.value, late.high) == (0.5, np.inf)
    assert estimate_median({"one": np.full(4, np.inf)}).low == np.inf


def test_geometric_mean() -> None:
    result = estimate_geometric_mean({"easy": np.array([0.5, 0.5]), "hard": np.array([2.0, 2.0])})
    assert (result.value, result.low, result.high) == pytest.approx((1.0, 1.0, 1.0)), "resampled within each setting"
    spread = estimate_geometric_mean({"one": np.array([0.5, 2.0])})
    assert spread.value == pytest.approx(1.0)
    assert spread.low < 0.5 < 2 < spread.high
    assert spread.low * spread.high == pytest.approx(1.0), "as far below as above, in logarithms"


def test_signed_rank_direction() -> None:
    assert aggregate.signed_rank_direction(np.array([3.0, -1.0, -1.5])) == 0, "3 against 1 + 2"
    assert aggregate.signed_rank_direction(np.array([-3.0, 1.0, 1.5, 0.5])) == 1, "4 against 1 + 2 + 3"
    assert aggregate.signed_rank_direction(np.array([-3.0, 1.0])) == -1
    assert aggregate.signed_rank_direction(np.zeros(4)) == 0
