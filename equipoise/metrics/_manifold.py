"""Nearest neighbours, and balls around samples whose radius is the distance to the k-th nearest neighbour.

Distances are Euclidean, computed in float64 from inner products, so that proportions do not depend on rounding.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.errors import UndefinedMetricError

ROWS = 1024
"""Number of distance rows computed at once: 80 MB for 10,000 samples."""
UNEQUAL = 1.25
"""Ratio of the two counts above which a warning is given."""


class Neighbours(NamedTuple):
    """The nearest rows, in ascending order of distance: `distance` (N, k) float64, `row` (N, k) int64."""

    distance: Tensor
    row: Tensor


def iter_distances(first: Tensor, second: Tensor) -> Iterator[Tensor]:
    """Yield distances (rows, N) of features (M, D) to features (N, D), in blocks of rows."""
    first, second = first.double(), second.double()
    squares = second.square().sum(dim=1)
    for part in torch.split(first, ROWS):
        square = part.square().sum(dim=1, keepdim=True) + squares - 2 * part @ second.T
        yield square.clamp_(min=0).sqrt_()


def nearest_neighbours(points: Tensor, candidates: Tensor, k: int) -> Neighbours:
    """Return the k nearest of `candidates` (N, D) to each of `points` (M, D). Raises DataError for fewer than k."""
    if len(candidates) < k:
        raise UndefinedMetricError(f"there are {len(candidates)} samples, too few for {k} neighbours; increase --count")
    result = [block.topk(k, largest=False) for block in iter_distances(points, candidates)]
    return Neighbours(
        torch.cat([nearest.values for nearest in result]), torch.cat([nearest.indices for nearest in result])
    )


def radii(features: Tensor, k: int) -> Tensor:
    """Return the distance of each row (N, D) to its k-th nearest other row: (N,) float64. DataError for N <= k."""
    if len(features) <= k:
        raise UndefinedMetricError(
            f"there are {len(features)} samples, too few for {k} neighbours each; increase --count"
        )
    return torch.cat([block.topk(k + 1, largest=False).values[:, k] for block in iter_distances(features, features)])


def count_balls(points: Tensor, centres: Tensor, radius: Tensor, border: bool) -> Tensor:
    """Count the balls (N centres, N radii) that contain each point: (M,) float64; `border`: include their surface."""
    result = []
    for block in iter_distances(points, centres):
        result.append((block <= radius if border else block < radius).sum(dim=1))
    return torch.cat(result).double()


def count_warnings(real: Tensor, fake: Tensor) -> tuple[str, ...]:
    """Return a warning if the counts differ much: with more samples, balls are smaller."""
    if max(len(real), len(fake)) <= UNEQUAL * min(len(real), len(fake)):
        return ()
    return (
        f"{len(fake):,} samples, but {len(real):,} reals: comparable only between evaluations with the same two counts",
    )
