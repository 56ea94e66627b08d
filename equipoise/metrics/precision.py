"""Share of samples that lie among the reals: higher is better, 1 the most.

Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models", equation 2: a sample
counts if it lies in a ball around a real that reaches to its third nearest real neighbour. There on VGG-16 and 50,000
of each.
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
from equipoise.metrics._manifold import balls_around, mean_of, radii, unequal

__all__ = ["Precision"]


@dataclass(frozen=True, slots=True)
class Precision(Compares):
    """Fidelity. Compares between equal numbers of reals, features and neighbours only."""

    features_from: _choice.Kind = "efficientnet_lite0"
    """digits, efficientnet_lite0, inception or samples"""
    neighbours: int = 3
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
        """Features (M, D) of reals, (N, D) of samples; draws are of the samples. Raises DataError for too few."""
        around = balls_around(fake, real.real, radii(real.real, self.neighbours), border=True)
        return mean_of((around > 0).double(), draws, side=1, doubts=unequal(real.real, fake))
