"""Share of samples, in percent, that are no copies of training reals: higher is better, 100 the most.

Authenticity of Alaa et al. 2022, "How Faithful is your Synthetic Data?", section 4, in percent as in Stein et al.
2023, "Exposing flaws of generative model evaluation metrics". A sample counts as a copy if its nearest training real
is nearer to it than to any other training real.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, Features, MetricResult, ReferenceSet
from equipoise.errors import DataError
from equipoise.metrics import _choice
from equipoise.metrics._comparing import Compares
from equipoise.metrics._manifold import mean_of, nearest, radii

__all__ = ["AuthPct"]


class Closest(NamedTuple):
    """Training reals next to samples, the most suspicious sample first.

    `sample` (S,) int64, `train` (S, k) int64 from the nearest on, `ratio` (S,) float64: distance to the nearest as a
    share of how far that one's own nearest neighbour is; below 1, the sample counts as a copy.
    """

    sample: Tensor
    train: Tensor
    ratio: Tensor


@dataclass(frozen=True, slots=True)
class AuthPct(Compares):
    """Perfect samples do not reach 100: held-out reals lie as near by chance. Compare with the figure of reals."""

    features_from: _choice.Kind = "efficientnet_lite0"
    """digits, efficientnet_lite0, inception or samples"""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    needs_train: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, str]]] = _choice.PRESETS

    @property
    def features(self) -> Features:
        """As chosen."""
        return _choice.KINDS[self.features_from]()

    def suits(self, spec: DataSpec) -> bool:
        """Images, or points for features from the samples themselves."""
        return _choice.suits(self.features_from, spec)

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Features (T, D) of training reals, (N, D) of samples. Raises DataError without training reals."""
        own = (_ratio(_train(real), fake) > 1) & fake.flatten(1).isfinite().all(dim=1)
        return mean_of(100 * own.double(), draws, side=1)

    def closest(self, real: ReferenceSet, fake: Tensor, samples: int, k: int) -> Closest:
        """The `samples` that lie nearest to training reals, for the eye, each with k of these."""
        ratio = _ratio(_train(real), fake)
        order = ratio.argsort()[:samples]
        return Closest(order, nearest(fake[order], _train(real), k).row, ratio[order])


def _train(real: ReferenceSet) -> Tensor:
    if real.train is None:
        raise DataError("auth_pct needs the reals that were trained on, too; name the data with --against")
    return real.train


def _ratio(train: Tensor, fake: Tensor) -> Tensor:
    """Distance of samples to the nearest training real, by that one's own nearest distance: (N,) float64.

    Training reals that are there twice have that distance 0: any sample is then further off, but an exact copy is not.
    """
    near = nearest(fake, train, 1)
    own = radii(train, 1)[near.row[:, 0]]
    return torch.where(near.distance[:, 0] == 0, 0.0, near.distance[:, 0] / own)
