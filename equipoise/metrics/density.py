"""In how many balls around reals a sample lies, for what is expected: higher is better.

Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", equations 3 and 4: balls around
reals reach to the fifth nearest real neighbour; their number around a sample, divided by five. About 1 for reals; it
can be more.
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

__all__ = ["Density"]


@dataclass(frozen=True, slots=True)
class Density(Compares):
    """Fidelity that an outlier among the reals does not spoil."""

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
        """Features (M, D) of reals, (N, D) of samples; draws are of the samples. Raises DataError for too few."""
        around = balls_around(fake, real.real, radii(real.real, self.neighbours), border=False)
        return mean_of(around / self.neighbours, draws, side=1, doubts=unequal(real.real, fake))
