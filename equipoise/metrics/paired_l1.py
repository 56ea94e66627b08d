"""Mean difference of each sample from the real that it should be, pixel by pixel: lower is better.

What pix2pix minimises beside its game (Isola et al. 2017, equation 3), in the range of the data, here of held-out
pairs. A blurred mean of all that might be does well by it: look at a distance of distributions beside it.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _pairwise
from equipoise.metrics._comparing import Compares
from equipoise.metrics._features_samples import Flat

__all__ = ["PairedL1"]


@dataclass(frozen=True, slots=True)
class PairedL1(Compares):
    """On [-1, 1]; 2 is black for white."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    of_pairs: ClassVar[Literal[True]] = True

    @property
    def features(self) -> Flat:
        """Pixels."""
        return Flat()

    def suits(self, spec: DataSpec) -> bool:
        """Data whose held-out inputs belong to samples."""
        return "held_out" in spec.paired

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Pixels (M, D) of reals, (N, D) of samples, in the same order. Raises DataError for fewer reals."""
        each = (_pairwise.as_many(real.real, fake) - fake).abs().double().mean(dim=1)
        return _pairwise.figure(each, draws)
