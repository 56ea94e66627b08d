"""Fréchet Inception distance to held-out reals: lower is better.

Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", on the
Inception v3 of 2015 as torch-fidelity has it. Published figures are of 50,000 samples; with fewer it is biased upward.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _frechet
from equipoise.metrics._choice import readable
from equipoise.metrics._comparing import Compares
from equipoise.metrics._features_inception import POOLED, InceptionFeatures

__all__ = ["Fid"]


@dataclass(frozen=True, slots=True)
class Fid(Compares):
    """Minutes for 1,000 images on a core; weights of 96 MB are downloaded once, or given."""

    weights: str | None = None
    """path of the weights; left out: torch's folder, or downloaded into it"""

    better: ClassVar[Literal["lower", "higher"]] = "lower"

    @property
    def features(self) -> InceptionFeatures:
        """Of Inception."""
        return InceptionFeatures(self.weights)

    def suits(self, spec: DataSpec) -> bool:
        """Grey or colour images of any size."""
        return readable(spec)

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Features (M, 3056) of reals, (N, 3056) of samples. Raises DataError for fewer than 2 of either."""
        return _frechet.compare(real.real[:, :POOLED], fake[:, :POOLED], draws, instead="kid")
