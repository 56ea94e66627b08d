"""Share of reals that have a sample near them: higher is better, 1 the most.

Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", equations 3 and 4: a real counts if
a sample is nearer than its fifth nearest real neighbour. Perfect samples, as many as reals, reach 1 - 1/2^5 = 97 %.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core import validation as bounds
from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, Features, MetricResult, ReferenceSet
from equipoise.metrics import _choice
from equipoise.metrics._comparing import Compares
from equipoise.metrics._manifold import mean_of, nearest, radii, unequal

__all__ = ["Coverage"]


@dataclass(frozen=True, slots=True)
class Coverage(Compares):
    """Variety that an outlier among the samples does not spoil."""

    features_from: _choice.Kind = "efficientnet_lite0"
    """digits, efficientnet_lite0, inception or samples"""
    neighbours: int = 5
    """how many neighbours a ball reaches to"""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    presets: ClassVar[Mapping[str, Mapping[str, str]]] = _choice.PRESETS

    def __post_init__(self) -> None:
        bounds.at_least(1, neighbours=self.neighbours)

    @property
    def features(self) -> Features:
        """As chosen."""
        return _choice.KINDS[self.features_from]()

    def suits(self, spec: DataSpec) -> bool:
        """Images, or points for features from the samples themselves."""
        return _choice.suits(self.features_from, spec)

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Features (M, D) of reals, (N, D) of samples; draws are of the reals. Raises DataError for too few."""
        near = nearest(real.real, fake, 1).distance[:, 0] < radii(real.real, self.neighbours)
        return mean_of(near.double(), draws, side=0, doubts=unequal(real.real, fake))
