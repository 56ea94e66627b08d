"""Kernel Inception distance to held-out reals: lower is better.

Bińkowski et al. 2018, "Demystifying MMD GANs", on Inception v3 and over random subsets as torch-fidelity has both: the
mean of 100 subsets of 1,000. Unbiased, and so often a little below 0 for perfect samples.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from equipoise.core import validation as bounds
from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _kernel
from equipoise.metrics._choice import readable
from equipoise.metrics._comparing import Compares
from equipoise.metrics._features_inception import POOLED, InceptionFeatures

__all__ = ["Kid"]

SUBSET_SEED = 2020
"""torch-fidelity's, so that its subsets are those of here."""


@dataclass(frozen=True, slots=True)
class Kid(Compares):
    """With fewer than 1,000 samples or reals, subsets are as large as the smaller of both."""

    weights: str | None = None
    """path of the weights; left out: torch's folder, or downloaded into it"""
    subsets: int = 100
    """random subsets of both sides"""
    subset_size: int = 1000
    """samples in a subset"""

    better: ClassVar[Literal["lower", "higher"]] = "lower"

    def __post_init__(self) -> None:
        bounds.at_least(1, subsets=self.subsets)
        bounds.at_least(2, subset_size=self.subset_size)

    @property
    def features(self) -> InceptionFeatures:
        """Of Inception."""
        return InceptionFeatures(self.weights)

    def suits(self, spec: DataSpec) -> bool:
        """Grey or colour images of any size."""
        return readable(spec)

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Features (M, 3056) of reals, (N, 3056) of samples. Raises DataError for fewer than 2 of either."""
        ours, theirs = real.real[:, :POOLED], fake[:, :POOLED]
        drawn = _kernel.compare(ours, theirs, draws).drawn if draws.count else None
        few = min(len(ours), len(theirs))
        doubts = (f"subsets of {few:,}, not of {self.subset_size:,}",) if few < self.subset_size else ()
        return MetricResult(subset_distance(ours, theirs, self.subsets, self.subset_size), drawn, doubts)


def subset_distance(real: Tensor, fake: Tensor, subsets: int, size: int) -> float:
    """Mean kernel distance of random subsets of features (M, D) and (N, D), the same that torch-fidelity takes."""
    size = min(size, len(real), len(fake))
    source = np.random.RandomState(SUBSET_SEED)
    result = []
    for _ in range(subsets):
        theirs = source.choice(len(fake), size, replace=False)
        ours = source.choice(len(real), size, replace=False)
        result.append(_kernel.kernel_distance(real[ours], fake[theirs]))
    return float(np.mean(result))
