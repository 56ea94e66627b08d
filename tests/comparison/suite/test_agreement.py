"""Agreement of the suite's distance with kd_digits: rank correlation against scipy, and on digits made worse."""

import numpy as np
import pytest
import torch
from scipy import stats

from equipoise.comparison.suite.agreement import measure_agreement, rank_correlation
from equipoise.comparison.suite.data import SuiteData


@pytest.mark.parametrize("seed", range(3))
def test_rank_correlation_equals_scipys_with_ties(seed: int) -> None:
    first, second = np.random.default_rng(seed).integers(0, 6, (2, 20)).astype(float)
    assert rank_correlation(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)


def test_rank_correlation_of_equal_values_is_unknown() -> None:
    assert np.isnan(rank_correlation(np.ones(4), np.arange(4.0)))


def test_digits_made_worse_are_ranked_alike() -> None:
    data = SuiteData("digits")
    rows = data.rows("train")[:300]
    noise = torch.randn(rows.shape, generator=torch.Generator().manual_seed(0))
    samples = [rows + deviation * noise for deviation in (0.0, 0.3, 0.6, 1.2)] + [rows[:6].repeat(50, 1, 1, 1)]
    result = measure_agreement(data.test_reals(), samples)
    assert result.reported[0] == min(result.reported)
    assert result.trained[0] == min(result.trained)
    assert result.correlation > 0.5
