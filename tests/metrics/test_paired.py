"""Paired metrics compare each sample with its own real, by pixels and by features."""

import pytest
import torch

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, PairedMetric, ReferenceSet
from equipoise.errors import DataError
from equipoise.metrics.paired_efficientnet_lite0 import PairedEfficientnetLite0
from equipoise.metrics.paired_l1 import PairedL1
from equipoise.metrics.perceptual_efficientnet_lite0 import PerceptualEfficientnetLite0

PAIRS = DataSpec((3, 32, 32), source=(1, 32, 32), paired=("train", "held_out"))


def pictures(count, seed):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_paired_l1_compares_in_order():
    real, fake = pictures(5, 0), pictures(5, 1)
    metric = PairedL1()
    by_hand = sum(float((real[n] - fake[n]).abs().mean()) for n in range(5)) / 5
    assert metric.value(metric.statistics(ReferenceSet(real)), fake) == pytest.approx(by_hand, rel=1e-6)
    assert metric.value(metric.statistics(ReferenceSet(real)), real) == 0
    assert metric.value(metric.statistics(ReferenceSet(real)), real.flip(0)) > 0.3
    assert metric.value(metric.statistics(ReferenceSet(torch.ones(2, 3, 4, 4))), -torch.ones(2, 3, 4, 4)) == 2


def test_interval_resamples_pairs():
    real = torch.zeros(400, 1, 2, 2)
    fake = torch.rand(400, 1, 1, 1, generator=torch.Generator().manual_seed(0)).expand(-1, 1, 2, 2)
    metric = PairedL1()
    result = metric.compute(metric.statistics(ReferenceSet(real)), metric.features(fake), Bootstrap(500, 0))
    low, high = result.interval
    wide = 2 * 1.96 * fake[:, 0, 0, 0].std().item() / 20  # of a mean of 400
    assert low < result.value < high
    assert high - low == pytest.approx(wide, rel=0.2)


def test_paired_distance_equals_the_perceptual_distance():
    real, fake = pictures(3, 0), pictures(3, 1)
    metric, other = PairedEfficientnetLite0(), PerceptualEfficientnetLite0()
    by_hand = other.distance(fake, real).double().mean().item()
    assert metric.value(metric.statistics(ReferenceSet(real)), fake) == pytest.approx(by_hand, rel=1e-5)
    assert metric.value(metric.statistics(ReferenceSet(real)), real) == pytest.approx(0, abs=1e-6)
    assert metric.features_digest == other.features_digest


@pytest.mark.parametrize("metric", [PairedL1(), PairedEfficientnetLite0()])
def test_suits_data_with_held_out_pairs(metric):
    assert isinstance(metric, PairedMetric)
    assert metric.suits(PAIRS)
    assert metric.suits(DataSpec((3, 32, 32), source=(1, 32, 32), paired=("held_out",)))
    assert not metric.suits(DataSpec((3, 32, 32), source=(1, 32, 32)))
    assert not metric.suits(DataSpec((3, 32, 32)))
    assert not isinstance(PerceptualEfficientnetLite0(), PairedMetric)


def test_fewer_reals_than_samples_are_refused():
    metric = PairedL1()
    statistics = metric.statistics(ReferenceSet(pictures(4, 0)))
    with pytest.raises(DataError, match="5 samples and 4 reals"):
        metric.value(statistics, pictures(5, 1))
    assert metric.value(statistics, pictures(4, 0)[:2]) == 0
