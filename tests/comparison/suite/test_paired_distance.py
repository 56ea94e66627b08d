"""The noise of a difference of two distances: nothing for equal samples, about the true one otherwise."""

import torch

from equipoise.comparison.suite.distance import FakeKernels, RandomFeatureDistance
from equipoise.comparison.suite.paired_distance import difference_noise
from equipoise.core.data import Batch

METRIC = RandomFeatureDistance()


def measure(seed: int) -> tuple[float, FakeKernels, FakeKernels]:
    """Return the difference of distances of two generators from the same latents, and their kernels."""
    generator = torch.Generator().manual_seed(seed)
    statistics = METRIC.statistics(Batch(torch.randn(40, 2, generator=generator)))
    latents = torch.randn(96, 2, generator=generator)
    first, second = latents + 0.3, latents * 1.2
    difference = METRIC.value(statistics, first) - METRIC.value(statistics, second)
    return difference, METRIC.kernels(statistics, first), METRIC.kernels(statistics, second)


def test_equal_samples_have_no_noise() -> None:
    _, first, _ = measure(0)
    assert difference_noise(first, FakeKernels(first.within.clone(), first.across.clone())) == 0


def test_the_noise_is_the_deviation_of_the_difference() -> None:
    results = [measure(seed) for seed in range(40)]
    true = torch.tensor([difference for difference, _, _ in results]).std()
    noise = torch.tensor([difference_noise(first, second) for _, first, second in results]).mean()
    assert 0.7 < float(noise / true) < 1.5


def test_it_does_not_change_the_kernels_and_is_deterministic() -> None:
    _, first, second = measure(0)
    before = first.within.clone()
    assert difference_noise(first, second) == difference_noise(first, second) > 0
    assert torch.equal(first.within, before)


def test_kernels_give_the_distance_of_pictures() -> None:
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.rand(24, 1, 16, 16, generator=generator), torch.rand(32, 1, 16, 16, generator=generator)
    statistics = METRIC.statistics(Batch(real))
    kernels, count = METRIC.kernels(statistics, fake), 32
    within = (kernels.within.sum() - kernels.within.diagonal().sum()) / (count * (count - 1))
    expected = statistics.within + within - 2 * kernels.across.mean()
    assert abs(METRIC.value(statistics, fake) - float(expected)) < 1e-4
