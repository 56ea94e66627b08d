"""Mode counts, compared with samples whose counts are known."""

import math

import pytest
import torch

from equipoise.core.data import Batch, DataSpec
from equipoise.data.grid import Grid
from equipoise.data.ring import Ring
from equipoise.errors import DataError
from equipoise.metrics._mixture import GaussianMixture
from equipoise.metrics.mixture_modes import MixtureModes

metric = MixtureModes()


def truth(data):
    return GaussianMixture(data.stream("train", 1, 0).means.double(), data.std)


@pytest.mark.parametrize("data", [Ring(), Grid()])
def test_perfect_samples_reach_the_maximum(data):
    """P(|n| < 3) of a normal pair is 1 - exp(-9/2) = 98.89 %."""
    ceiling = 1 - math.exp(-4.5)
    assert ceiling == pytest.approx(0.98889, abs=1e-5)
    counts = metric.counts(truth(data), data.stream("train", 200_000, 0).batch(0).real)
    assert counts.modes == data.spec.classes
    assert counts.high_quality == pytest.approx(ceiling, abs=4.5 * math.sqrt(ceiling * (1 - ceiling) / 200_000))


@pytest.mark.parametrize(("data", "modes"), [(Ring(), 8), (Grid(), 25)])
def test_reverse_kl_of_perfect_samples_equals_theory(data, modes):
    """(K - 1) / (2 N) on average, as N times twice the divergence is nearly a χ² of K - 1 degrees of freedom."""
    size, draws = 2500, 200
    stream, statistics = data.stream("train", size, 0), truth(data)
    result = torch.tensor([metric.counts(statistics, stream.batch(index).real).reverse_kl for index in range(draws)])
    error = math.sqrt(2 * (modes - 1)) / (2 * size) / math.sqrt(draws)
    assert result.mean().item() == pytest.approx((modes - 1) / (2 * size), rel=0.03, abs=4 * error)


@pytest.mark.parametrize("data", [Ring(), Grid()])
def test_statistics_estimate_the_mixture(data):
    result = metric.statistics(data.stream("held_out", 1000, 0).batch(0))
    expected = truth(data)
    assert result.std == pytest.approx(data.std, rel=4.5 / math.sqrt(4 * 1000))
    assert (result.means - expected.means).abs().max() < 5 * data.std / math.sqrt(1000 / data.spec.classes * 0.7)
    assert metric.value(result, data.stream("train", 2500, 0).batch(0).real) == pytest.approx(0.989, abs=0.012)


def test_counts_computed_by_hand():
    """Four modes with std 1; of eight samples four are good, three in one mode and one in another."""
    means = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]], dtype=torch.float64)
    good = [[0.0, 0.0], [2.9, 0.0], [0.0, -2.9], [10.0, 2.9]]
    bad = [[3.1, 0.0], [5.0, 5.0], [math.nan, 0.0], [math.inf, 10.0]]
    counts = metric.counts(GaussianMixture(means, 1.0), torch.tensor(good + bad))
    assert counts.modes == 2
    assert counts.high_quality == 0.5
    assert counts.reverse_kl == pytest.approx(0.75 * math.log(3) + 0.25 * math.log(1))
    assert metric.value(GaussianMixture(means, 1.0), torch.tensor(good + bad)) == pytest.approx(2 / 4 * 0.5)


def test_collapse_to_one_mode_and_to_none():
    statistics = truth(Ring())
    collapsed = metric.counts(statistics, torch.tensor([[1.0, 0.0]]).repeat(100, 1))
    assert collapsed == (1, 1.0, pytest.approx(math.log(8)))
    nowhere = metric.counts(statistics, torch.zeros(100, 2))
    assert nowhere == (0, 0.0, pytest.approx(math.log(8)))
    assert metric.value(statistics, torch.zeros(100, 2)) == 0


def test_statistics_need_every_label_and_enough_samples():
    points = torch.zeros(4, 2)
    with pytest.raises(DataError, match="needs labels of the modes"):
        metric.statistics(Batch(points))
    with pytest.raises(DataError, match="mode 1 has no sample among 4 held-out samples"):
        metric.statistics(Batch(points, torch.tensor([0, 0, 2, 2])))
    with pytest.raises(DataError, match="4 held-out samples are too few for 4 modes"):
        metric.statistics(Batch(points, torch.arange(4)))


def test_suits_labelled_points():
    assert metric.suits(DataSpec((2,), classes=8))
    assert not metric.suits(DataSpec((2,)))
    assert not metric.suits(DataSpec((3,), classes=8))
    assert not metric.suits(DataSpec((1, 32, 32), classes=10))
