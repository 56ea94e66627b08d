"""Detection of copies, for samples that are copies and samples that are not."""

import math

import pytest
import torch

from equipoise.core.metric import Bootstrap, ReferenceSet
from equipoise.errors import DataError
from equipoise.metrics._memorisation import kmeans_centres, rank_z
from equipoise.metrics.auth_pct import AuthPct
from equipoise.metrics.c_t import CT


def points(count, seed):
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def reals():
    return ReferenceSet(points(400, 0), train=points(800, 1))


def copies(train, seed):
    """Return training points with very little noise."""
    return train[torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:400]] + 0.02 * points(
        400, 9
    )


def test_rank_z_computed_by_hand():
    """U of (1, 5) over (2, 3, 3): 5 is above three, 1 above none; ties count half."""
    spread = math.sqrt(2 * 3 * 6 / 12)
    assert rank_z(torch.tensor([1.0, 5.0]), torch.tensor([2.0, 3.0, 3.0])) == pytest.approx((3 - 3) / spread)
    assert rank_z(torch.tensor([3.0, 5.0]), torch.tensor([2.0, 3.0, 3.0])) == pytest.approx((2 + 3 - 3) / spread)


def test_rank_z_is_standard_normal_for_equal_distributions():
    values = torch.tensor([rank_z(points(30, 2 * seed)[:, 0], points(20, 2 * seed + 1)[:, 0]) for seed in range(400)])
    assert abs(values.mean()) < 4 / 20
    assert values.std() == pytest.approx(1, abs=0.15)


def test_kmeans_finds_clear_clusters():
    centres = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])
    train = (centres[:, None] + torch.randn(3, 40, 2, generator=torch.Generator().manual_seed(0))).flatten(0, 1)
    means = [kmeans_centres(train, 3, seed) for seed in range(6)]
    away = [torch.cdist(centres.double(), each).min(dim=1).values.max() for each in means]
    assert min(away) < 1
    assert torch.equal(kmeans_centres(train, 3, 0), means[0])


def test_c_t_separates_copies_samples_and_noise(reals):
    metric = CT("samples")
    fresh = metric.compute(reals, points(400, 2), Bootstrap(50))
    copied = metric.compute(reals, copies(reals.train, 3), Bootstrap(50))
    far = metric.compute(reals, 3 * points(400, 4), Bootstrap())
    assert abs(fresh.value) < 3
    assert copied.value < -8
    assert far.value > 3
    assert copied.interval[1] < fresh.interval[0]


def test_auth_pct_separates_copies_from_samples(reals):
    metric = AuthPct("samples")
    fresh = metric.compute(reals, points(400, 2), Bootstrap(50))
    copied = metric.compute(reals, copies(reals.train, 3), Bootstrap())
    assert fresh.interval[0] < fresh.value < fresh.interval[1]
    assert copied.value < 5 < 40 < fresh.value < 90


def test_auth_pct_computed_by_hand():
    """Training points 0, 1, 5 have nearest neighbours at 1, 1, 4. Samples 0.4, 2.5, 5: 0.4 < 1, 1.5 > 1, 0 < 4."""
    train, fake = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0.4], [2.5], [5.0]])
    real = ReferenceSet(fake[:0], train=train)
    assert AuthPct("samples").compute(real, fake, Bootstrap()).value == pytest.approx(100 / 3)
    result = AuthPct("samples").closest(real, fake, samples=2, k=2)
    assert result.sample.tolist() == [2, 0]
    assert result.train.tolist() == [[2, 1], [0, 1]]
    assert result.ratio.tolist() == pytest.approx([0, 0.4])


def test_exact_copy_of_a_duplicated_point_is_a_copy():
    train = torch.tensor([[0.0], [0.0], [5.0]])
    assert AuthPct("samples").compute(ReferenceSet(train, train=train), torch.tensor([[0.0]]), Bootstrap()).value == 0


@pytest.mark.parametrize("metric", [CT("samples"), AuthPct("samples")])
def test_missing_training_reals_are_refused(metric):
    with pytest.raises(DataError, match="needs the training reals"):
        metric.compute(ReferenceSet(points(50, 0)), points(50, 1), Bootstrap())


def test_c_t_without_cells_is_nan(reals):
    assert math.isnan(CT("samples", least=10_000).compute(reals, points(400, 2), Bootstrap()).value)
    assert math.isnan(CT("samples").compute(reals, torch.full((40, 4), math.nan), Bootstrap()).value)
