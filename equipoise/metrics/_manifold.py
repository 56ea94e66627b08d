"""Balls around samples, as far as their k-th nearest neighbour: who lies in whose, and who is whose nearest.

Distances are Euclidean, computed in float64 from inner products, so that a proportion does not hang on rounding.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.errors import DataError

ROWS = 1024
"""Rows of distances at once: 80 MB for 10,000 samples."""
UNEQUAL = 1.25
"""How many times as many there may be of one side before that is told."""


class Neighbours(NamedTuple):
    """The nearest of each row: `distance` (N, k) float64 from the nearest on, `row` (N, k) int64."""

    distance: Tensor
    row: Tensor


def pieces(first: Tensor, second: Tensor) -> Iterator[Tensor]:
    """Distances (rows, N) of features (M, D) to features (N, D), some rows at a time."""
    first, second = first.double(), second.double()
    squares = second.square().sum(dim=1)
    for part in torch.split(first, ROWS):
        square = part.square().sum(dim=1, keepdim=True) + squares - 2 * part @ second.T
        yield square.clamp_(min=0).sqrt_()


def nearest(points: Tensor, others: Tensor, k: int) -> Neighbours:
    """The k nearest of `others` (N, D) to each of `points` (M, D). Raises DataError for fewer than k."""
    if len(others) < k:
        raise DataError(f"there are {len(others)} samples, too few for {k} neighbours; take more of them")
    result = [piece.topk(k, largest=False) for piece in pieces(points, others)]
    return Neighbours(torch.cat([one.values for one in result]), torch.cat([one.indices for one in result]))


def radii(features: Tensor, k: int) -> Tensor:
    """(N,) float64: how far the k-th nearest other row of features (N, D) is from each. DataError for k or fewer."""
    if len(features) <= k:
        raise DataError(f"there are {len(features)} samples, too few for {k} neighbours each; take more of them")
    return torch.cat([piece.topk(k + 1, largest=False).values[:, k] for piece in pieces(features, features)])


def balls_around(points: Tensor, centres: Tensor, radius: Tensor, border: bool) -> Tensor:
    """(M,) float64: in how many balls (N centres, N radii) each point lies; `border`: also on the surface."""
    result = []
    for piece in pieces(points, centres):
        result.append((piece <= radius if border else piece < radius).sum(dim=1))
    return torch.cat(result).double()


def mean_of(each: Tensor, draws: Bootstrap, side: int, doubts: tuple[str, ...] = ()) -> MetricResult:
    """The mean of numbers (N,), one a sample, with its draws; balls stay what they are."""
    drawn = draws.weights(len(each), side).double() @ each / len(each) if draws.count else None
    return MetricResult(each.mean().item(), drawn, doubts)


def unequal(real: Tensor, fake: Tensor) -> tuple[str, ...]:
    """A doubt, where there are many more of one side: balls are smaller where there are more of them."""
    if max(len(real), len(fake)) <= UNEQUAL * min(len(real), len(fake)):
        return ()
    return (f"{len(fake):,} samples beside {len(real):,} reals: compare it at the same two counts only",)
