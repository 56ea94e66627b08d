"""Kernel Inception distance to held-out reals: lower is better.

Bińkowski et al. 2018, "Demystifying MMD GANs", on Inception v3 and over random subsets, both as in torch-fidelity: the
mean of 100 subsets of 1,000. Unbiased, so often slightly below 0 for perfect samples. Needs the extra `metrics`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from equipoise.core import validation
from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _kernel
from equipoise.metrics._feature_metric import FeatureMetricMixin, is_grey_or_colour
from equipoise.metrics._features_inception import PACKAGE, POOLED, InceptionFeatures
from equipoise.metrics._weights import require_package

__all__ = ["Kid"]

SUBSET_SEED = 2020
"""The seed of torch-fidelity, which gives the same subsets."""


@dataclass(frozen=True, slots=True)
class Kid(FeatureMetricMixin):
    """Kernel Inception distance. With fewer than 1,000 samples or reals, subsets have the size of the smaller set."""

    weights: str | None = None
    """path of the weights; default: torch's hub folder, downloaded if missing"""
    subsets: int = 100
    """number of random subsets"""
    subset_size: int = 1000
    """samples per subset"""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    suited_to: ClassVar[str] = "grey or colour images"

    def __post_init__(self) -> None:
        validation.check_at_least(1, subsets=self.subsets)
        validation.check_at_least(2, subset_size=self.subset_size)
        require_package(PACKAGE, "kid")

    @property
    def features(self) -> InceptionFeatures:
        """Features of Inception v3."""
        return InceptionFeatures(self.weights)

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are grey or colour images, of any size."""
        return is_grey_or_colour(spec)

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from features (M, 3056) of reals and (N, 3056) of samples.

        Raises DataError for fewer than 2 samples or reals.
        """
        real_features, fake_features = real.real[:, :POOLED], fake[:, :POOLED]
        resampled = _kernel.compute(real_features, fake_features, bootstrap).resampled if bootstrap.count else None
        count = min(len(real_features), len(fake_features))
        warnings = (
            (f"subsets of {count:,} samples instead of {self.subset_size:,}",) if count < self.subset_size else ()
        )
        return MetricResult(
            subset_distance(real_features, fake_features, self.subsets, self.subset_size), resampled, warnings
        )


def subset_distance(real: Tensor, fake: Tensor, subsets: int, size: int) -> float:
    """Return the mean kernel distance of random subsets of features (M, D) and (N, D), the same as torch-fidelity's."""
    size = min(size, len(real), len(fake))
    source = np.random.RandomState(SUBSET_SEED)
    result = []
    for _ in range(subsets):
        fake_rows = source.choice(len(fake), size, replace=False)
        real_rows = source.choice(len(real), size, replace=False)
        result.append(_kernel.kernel_distance(real[real_rows], fake[fake_rows]))
    return float(np.mean(result))
