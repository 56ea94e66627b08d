"""Whether samples are copies of what was trained on: distances to the nearest training reals."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.metrics._manifold import nearest

ROUNDS = 20
"""Rounds of Lloyd's algorithm; cells need not be optimal, only the same for all."""


class Nearness(NamedTuple):
    """How far samples are from training reals: `distance` (N,) float64 to the nearest, the `cell` (N,) it lies in."""

    distance: Tensor
    cell: Tensor


def cells(train: Tensor, count: int, seed: int) -> Tensor:
    """Means (count, D) of the cells that Lloyd's k-means divides features (T, D) into; starts are drawn by `seed`."""
    rows = train.double()
    start = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:count]
    means = rows[start]
    for _ in range(ROUNDS):
        cell = nearest(rows, means, 1).row[:, 0]
        sizes = torch.bincount(cell, minlength=len(means)).double()
        sums = torch.zeros_like(means).index_add_(0, cell, rows)
        means = torch.where(sizes[:, None] > 0, sums / sizes[:, None].clamp(min=1), means)
    return means


def nearness(features: Tensor, train: Tensor, means: Tensor) -> Nearness:
    """Of features (N, D) to those trained on (T, D)."""
    return Nearness(nearest(features, train, 1).distance[:, 0], nearest(features, means, 1).row[:, 0])


def rank_z(fake: Tensor, held_out: Tensor) -> float:
    """Mann and Whitney's z of distances (N,) over distances (M,): below 0 if the samples' are the smaller.

    U = Σ_{i,j} [fake_i > held_out_j] + ½ [fake_i = held_out_j],   z = (U - m n / 2) / √(m n (m + n + 1) / 12)
    """
    fake, ordered = fake.contiguous(), held_out.sort().values
    below = torch.searchsorted(ordered, fake) + torch.searchsorted(ordered, fake, right=True)
    count, others = len(fake), len(held_out)
    spread = math.sqrt(count * others * (count + others + 1) / 12)
    return (below.sum().item() / 2 - count * others / 2) / spread


def copying(fake: Nearness, held_out: Nearness, least: int) -> float:
    """Mean of z over cells, weighted by the share of held-out reals, but for cells with fewer than `least` samples.

    Not a number if no cell is left.
    """
    total = weight = 0.0
    for cell in sorted(set(held_out.cell.tolist())):
        ours, theirs = fake.distance[fake.cell == cell], held_out.distance[held_out.cell == cell]
        if len(ours) >= least:
            total += len(theirs) * rank_z(ours, theirs)
            weight += len(theirs)
    return total / weight if weight else math.nan
