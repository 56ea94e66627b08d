"""The kernel distance on random features: unbiased about 0 for reals, and larger the worse samples are."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from equipoise.comparison.suite.data import SampleSource, SuiteData
from equipoise.comparison.suite.distance import RandomFeatureDistance
from equipoise.core.metric import ReferenceSet

IMAGES: tuple[SampleSource, ...] = ("glyphs", "icons", "bursts", "digits")


def measure(source: SampleSource, samples: Tensor, seed: int = 1) -> float:
    metric = RandomFeatureDistance(seed)
    return metric.value(metric.statistics(ReferenceSet(SuiteData(source).test_reals())), samples)


def reals(source: SampleSource, count: int = 400) -> Tensor:
    return SuiteData(source).rows("train")[:count]


def blurred(samples: Tensor) -> Tensor:
    return interpolate(avg_pool2d(samples, 2), scale_factor=2)


def noisy(samples: Tensor, deviation: float) -> Tensor:
    return samples + deviation * torch.randn(samples.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("source", IMAGES)
def test_reals_are_at_about_0_and_worse_samples_further(source: SampleSource) -> None:
    good = reals(source)
    value = measure(source, good)
    assert abs(value) < 0.02
    assert measure(source, blurred(good)) > value + 0.02
    slightly, strongly = (measure(source, noisy(good, deviation)) for deviation in (0.2, 0.8))
    assert value + 0.002 < slightly < strongly


@pytest.mark.parametrize("source", ["glyphs", "tables", "mixtures"])
def test_missing_variety_is_seen(source: SampleSource) -> None:
    good = reals(source)
    assert measure(source, good[:8].repeat(50, *[1] * (good.dim() - 1))) > measure(source, good) + 0.02


@pytest.mark.parametrize("source", ["bursts", "icons"])
def test_the_distance_of_reals_is_unbiased(source: SampleSource) -> None:
    """Halves of all samples in a random order: means of small sets differ from 0 by less than four standard errors."""
    samples = torch.cat([SuiteData(source).rows("train"), SuiteData(source).test_reals()])
    metric, generator, values = RandomFeatureDistance(1), torch.Generator().manual_seed(0), []
    for _ in range(30):
        order = torch.randperm(len(samples), generator=generator)
        statistics = metric.statistics(ReferenceSet(samples[order[:200]]))
        values.append(metric.value(statistics, samples[order[200:264]]))
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * error
    assert min(values) < 0 < max(values)


def test_the_distance_is_deterministic_and_depends_on_the_seed_of_the_features() -> None:
    good = noisy(reals("icons", 100), 0.3)
    assert measure("icons", good) == measure("icons", good)
    assert measure("icons", good, seed=0) != measure("icons", good, seed=1)
    assert RandomFeatureDistance(0).features_digest != RandomFeatureDistance(1).features_digest


def test_the_order_of_samples_does_not_matter() -> None:
    good = reals("icons", 100)
    assert measure("icons", good.flip(0)) == pytest.approx(measure("icons", good), abs=1e-4)


@pytest.mark.parametrize("source", ["icons", "mixtures"])
def test_samples_that_are_not_finite_have_no_distance(source: SampleSource) -> None:
    samples = reals(source, 50).clone()
    samples[3] = math.nan
    assert math.isnan(measure(source, samples))
