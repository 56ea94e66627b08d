"""Bootstrap resamples and the intervals computed from them."""

import math

import pytest
import torch

from equipoise.core.data import Batch
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet, extract_features


def test_resamples_have_the_size_of_the_set():
    weights = Bootstrap(50, seed=3).weights(30, side=1)
    assert weights.shape == (50, 30)
    assert (weights.sum(dim=1) == 30).all()
    assert torch.equal(weights, weights.round())
    assert weights.var(dim=1).mean() == pytest.approx(1, abs=0.15), "each count is nearly Poisson of mean 1"


def test_resamples_depend_only_on_seed_and_side():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = Bootstrap(5, 1).weights(20, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(Bootstrap(5, 1).weights(20, 0), first)
    others = [Bootstrap(5, seed).weights(20, side) for seed, side in ((1, 1), (2, 0), (0, 1))]
    assert not any(torch.equal(other, first) for other in others)
    assert Bootstrap().weights(20, 0).shape == (0, 20)


def test_interval_is_centred_on_the_value():
    """Resamples 1 to 101 have quantiles 3.5 and 98.5 and the mean 51; the interval is moved to be centred on 7."""
    low, high = MetricResult(7.0, torch.arange(1.0, 102.0)).interval
    assert (low, high) == pytest.approx((7 - 47.5, 7 + 47.5))


def test_no_interval_without_finite_resamples():
    assert MetricResult(1.0).interval is None
    assert MetricResult(1.0, torch.tensor([1.0, math.nan])).interval is None


def test_features_are_extracted_from_held_out_and_train():
    def halved(samples):
        return samples / 2

    labels = torch.arange(3)
    both = extract_features(halved, ReferenceSet(torch.full((3, 2), 4.0), labels, train=torch.full((5, 2), 6.0)))
    assert (both.real == 2).all()
    assert (both.train == 3).all()
    assert both.condition is labels
    assert extract_features(halved, Batch(torch.ones(3, 2))).train is None
