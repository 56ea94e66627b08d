"""Retrieval: whether the caption of a sample is the nearest of all captions, by two networks trained apart."""

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.errors import UndefinedMetricError
from equipoise.metrics import _two_tower


@dataclass(frozen=True, slots=True)
class TowerFeatures:
    """Features of images for retrieval."""

    @property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        return _two_tower.DIGEST

    def __call__(self, samples: Tensor) -> Tensor:
        """Return unit vectors (N, D) float32 of images (N, 1, 3 or 4, H, W) in [-1, 1]."""
        return _two_tower.load().encode_images(samples)


def caption_ranks(images: Tensor, captions: Tensor, own: Tensor) -> Tensor:
    """Return how many captions are nearer to each image than its own: (N,) int64, 0 for the nearest.

    `images`: (N, D), `captions`: (C, D), unit vectors. `own`: (N,) int64, index of the caption of each image. A tie
    counts as half a caption, rounded up, so that equal features are no success.
    """
    cosines = images @ captions.T
    values = cosines.gather(1, own[:, None])
    nearer, equal = (cosines > values).sum(1), (cosines == values).sum(1) - 1
    return nearer + (equal + 1) // 2


def retrieval_share(real: ReferenceSet, fake: Tensor, most: int, bootstrap: Bootstrap) -> MetricResult:
    """Compute the share of samples whose caption is among the `most` nearest of all distinct captions of the reals.

    `fake`: features (N, D), those of sample k for the caption of real k modulo M. Raises UndefinedMetricError without
    captions, and for no more captions than `most`.
    """
    captions = None if real.spec is None else real.spec.captions
    if captions is None or real.condition is None:
        raise UndefinedMetricError("the reals have no captions; choose data with captions")
    distinct, own = real.condition.unique(dim=0, return_inverse=True)
    if len(distinct) <= most:
        raise UndefinedMetricError(f"{len(distinct)} captions are too few to look for one among the {most} nearest")
    features = _two_tower.load().encode_captions(distinct, captions.vocabulary)
    ranks = caption_ranks(fake, features, own[torch.arange(len(fake)) % len(own)])
    chance = f"one of {len(distinct)} captions by chance: {most / len(distinct):.1%}"
    return MetricResult.from_mean((ranks < most).double(), bootstrap, (chance,))


def suits_captions(spec: DataSpec) -> bool:
    """Return whether the data are images with captions in the words that the networks know."""
    if not spec.is_image or spec.shape[0] not in (1, 3, 4) or spec.captions is None:
        return False
    return spec.captions.vocabulary.words == _two_tower.load().words
