"""Fréchet Inception distance to held-out reals: lower is better.

Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", on the
Inception v3 of 2015 as in torch-fidelity. Published values use 50,000 samples; fewer samples bias it upward. Needs the
extra `metrics`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _frechet
from equipoise.metrics._feature_metric import FeatureMetricMixin, is_grey_or_colour
from equipoise.metrics._features_inception import PACKAGE, POOLED, InceptionFeatures
from equipoise.metrics._weights import require_package

__all__ = ["Fid"]


@dataclass(frozen=True, slots=True)
class Fid(FeatureMetricMixin):
    """Fréchet Inception distance; minutes per 1,000 images on one core. Weights (96 MB) are downloaded once."""

    weights: str | None = None
    """path of the weights; default: torch's hub folder, downloaded if missing"""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    suited_to: ClassVar[str] = "grey or colour images"

    def __post_init__(self) -> None:
        require_package(PACKAGE, "fid")

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
        return _frechet.compute(real.real[:, :POOLED], fake[:, :POOLED], bootstrap, alternative="kid")
