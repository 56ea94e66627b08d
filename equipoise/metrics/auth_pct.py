"""Share of samples, in percent, that are not copies of training reals: higher is better, at most 100.

Authenticity of Alaa et al. 2022, "How Faithful is your Synthetic Data?", section 4, in percent as in Stein et al. 2023,
"Exposing flaws of generative model evaluation metrics". A sample counts as a copy if it is closer to its nearest
training real than that real is to any other training real.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.errors import DataError
from equipoise.metrics._feature_metric import FeatureKind, SelectableFeaturesMixin
from equipoise.metrics._manifold import nearest_neighbours, radii
from equipoise.metrics._memorisation import feature_warnings

__all__ = ["AuthPct"]


class NearestTrainingSamples(NamedTuple):
    """The training reals nearest to samples, the most suspicious sample first.

    `sample` (S,) int64, `train` (S, k) int64 in ascending order of distance, `ratio` (S,) float64: distance to the
    nearest training real divided by that real's own nearest-neighbour distance; below 1, the sample counts as a copy.
    """

    sample: Tensor
    train: Tensor
    ratio: Tensor


@dataclass(frozen=True, slots=True)
class AuthPct(SelectableFeaturesMixin):
    """Share of authentic samples in percent. Perfect samples stay below 100: see the real-vs-real reference."""

    features_from: FeatureKind = "pixels"
    """digits, efficientnet_lite0, mobilenet_v2, inception, pixels or samples"""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    needs_train: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.check_features("auth_pct")

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from features (T, D) of training reals and (N, D) of samples.

        Raises DataError without training reals.
        """
        is_new = (_ratio(_train(real), fake) > 1) & fake.flatten(1).isfinite().all(dim=1)
        return MetricResult.from_mean(
            100 * is_new.double(), bootstrap, feature_warnings("auth_pct", self.features_from)
        )

    def closest(self, real: ReferenceSet, fake: Tensor, samples: int, k: int) -> NearestTrainingSamples:
        """Return the samples nearest to training reals, `samples` of them, each with its k nearest training reals."""
        ratio = _ratio(_train(real), fake)
        order = ratio.argsort()[:samples]
        return NearestTrainingSamples(order, nearest_neighbours(fake[order], _train(real), k).row, ratio[order])


def _train(real: ReferenceSet) -> Tensor:
    if real.train is None:
        raise DataError("auth_pct needs the training reals; name the training data with --against")
    return real.train


def _ratio(train: Tensor, fake: Tensor) -> Tensor:
    """Return (N,) float64: distance to the nearest training real, divided by that real's nearest-neighbour distance.

    A training real that occurs several times counts once: otherwise its nearest-neighbour distance would be 0, and
    every sample except an exact copy would be farther. Raises UndefinedMetricError for one distinct training real.
    """
    distinct = train[_first_rows(train)]
    neighbours = nearest_neighbours(fake, distinct, 1)
    spacing = radii(distinct, 1)[neighbours.row[:, 0]]
    return torch.where(neighbours.distance[:, 0] == 0, 0.0, neighbours.distance[:, 0] / spacing)


def _first_rows(features: Tensor) -> list[int]:
    """Return the index of the first occurrence of each distinct row of features (N, D), in ascending order."""
    first: dict[bytes, int] = {}
    for index, row in enumerate(features):
        first.setdefault(row.contiguous().numpy().tobytes(), index)
    return list(first.values())
