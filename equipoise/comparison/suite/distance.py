"""Kernel distance to reals, on features of a small convolutional network with random weights: lower is better.

The cubic kernel of Bińkowski et al. 2018. Features of random networks are reported to rank generators much as trained
ones do (arXiv 2208.09218; moderately on digits: benchmarks/control/suite_distance.md), and cost milliseconds. Tables
are compared by values and spectra (kd_sequences), points by the Gaussian kernels of equipoise.meta.held_out.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, conv2d, leaky_relu

from equipoise.core import catalog
from equipoise.core.data import Batch, DataSpec
from equipoise.core.metric import Features
from equipoise.meta.held_out import HeldOutDistance, ReferenceKernel, points_kernel

__all__ = ["RandomFeatureDistance"]

CHANNELS = (16, 32, 48)
POOLED = 4
"""Each layer is averaged to 4 × 4 positions, so that features keep where something is."""


class RealStatistics(NamedTuple):
    """Centred features (N, D) divided by `scale`, their mean kernel of two different reals, and their mean before."""

    features: Tensor
    within: float
    mean: Tensor
    scale: float


class FakeKernels(NamedTuple):
    """Kernels of fakes, from which the distance follows. `within`: of two fakes (M, M). `across`: to reals (N, M)."""

    within: Tensor
    across: Tensor


@dataclass(frozen=True, slots=True)
class RandomFeatureDistance:
    """Unbiased squared maximum mean discrepancy on random features; about 0 for perfect samples, often below."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    seed: int = 0
    """seed of the weights: controllers observe seed 0, and quality is reported with seed 1"""

    @property
    def features_digest(self) -> str | None:
        """The seed, which defines the weights."""
        return f"random-{self.seed}"

    def suits(self, spec: DataSpec) -> bool:
        """Whether the data are images, sequences or points."""
        return spec.is_image or spec.is_sequence or spec.is_points

    def statistics(self, real: Batch) -> RealStatistics | ReferenceKernel:
        """Return the statistics of reals (N, ...)."""
        if real.real.dim() == 2:
            return HeldOutDistance().statistics(real)
        features = _features(real.real, self.seed)
        mean = features.mean(0)
        scale = max(float((features - mean).square().mean().sqrt()), 1e-6)
        features = (features - mean) / scale
        return RealStatistics(features, _within(features), mean, scale)

    def value(self, statistics: RealStatistics | ReferenceKernel, fake: Tensor) -> float:
        """Return the distance of fake (N, ...); NaN if any value is not finite."""
        if not fake.isfinite().all():
            return math.nan
        if isinstance(statistics, ReferenceKernel):
            return HeldOutDistance().value(statistics, fake)
        features = (_features(fake, self.seed) - statistics.mean) / statistics.scale
        across = float(_kernel(statistics.features, features).mean())
        return float(statistics.within + _within(features) - 2 * across)

    def kernels(self, statistics: RealStatistics | ReferenceKernel, fake: Tensor) -> FakeKernels:
        """Return the kernels of fake (M, ...), for the uncertainty of a distance."""
        if isinstance(statistics, ReferenceKernel):
            fake = fake.float()
            within = points_kernel(fake, fake, statistics.width)
            return FakeKernels(within, points_kernel(statistics.real, fake, statistics.width))
        features = (_features(fake, self.seed) - statistics.mean) / statistics.scale
        return FakeKernels(_kernel(features, features), _kernel(statistics.features, features))


@torch.no_grad()
def _features(samples: Tensor, seed: int) -> Tensor:
    samples = samples.detach().float().cpu()
    if samples.dim() == 3:
        features: Features = catalog.build("metrics", "kd_sequences").features
        return features(samples)
    layers = []
    for weight in _weights(samples.shape[1], samples.shape[2], seed):
        samples = leaky_relu(conv2d(samples, weight, stride=2, padding=1), 0.2)
        layers.append(adaptive_avg_pool2d(samples, POOLED).flatten(1))
    return torch.cat(layers, 1)


@lru_cache(maxsize=16)
def _weights(channels: int, size: int, seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(7919 * (seed + 1))
    widths = (channels, *CHANNELS[: int(math.log2(size / POOLED))])
    return tuple(
        torch.randn(after, before, 3, 3, generator=generator) * math.sqrt(2 / (9 * before))
        for before, after in pairwise(widths)
    )


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    return (first @ second.T / first.shape[1] + 1) ** 3


def _within(features: Tensor) -> float:
    kernel, count = _kernel(features, features), len(features)
    return float((kernel.sum(dtype=torch.float64) - kernel.diagonal().sum(dtype=torch.float64)) / (count * (count - 1)))
