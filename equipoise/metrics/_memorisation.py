"""Tests for copies of training data, based on distances to the nearest training reals."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.metrics._manifold import nearest_neighbours

ROUNDS = 20
"""Number of iterations of Lloyd's algorithm; cells need not be optimal, only the same for both sets."""


NETWORKS = ("efficientnet_lite0", "mobilenet_v2", "inception")
"""Features that respond to the traces of compression more than to the picture."""


def feature_warnings(metric: str, features_from: str) -> tuple[str, ...]:
    """Return a warning for features with which re-saved copies look new, see benchmarks/metrics/copies.md."""
    if features_from not in NETWORKS:
        return ()
    return (f"copies that were re-saved as JPEG look new to {features_from}; {metric}:pixels recognises them",)


class NearestDistances(NamedTuple):
    """Nearest training reals of N samples. `distance`: (N,) float64. `cell`: (N,) int64, k-means cell of the sample."""

    distance: Tensor
    cell: Tensor


def kmeans_centres(train: Tensor, count: int, seed: int) -> Tensor:
    """Return the centres (count, D) of Lloyd's k-means on features (T, D), initialised at random with `seed`."""
    rows = train.double()
    start = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:count]
    means = rows[start]
    for _ in range(ROUNDS):
        cell = nearest_neighbours(rows, means, 1).row[:, 0]
        sizes = torch.bincount(cell, minlength=len(means)).double()
        sums = torch.zeros_like(means).index_add_(0, cell, rows)
        means = torch.where(sizes[:, None] > 0, sums / sizes[:, None].clamp(min=1), means)
    return means


def nearest_distances(features: Tensor, train: Tensor, means: Tensor) -> NearestDistances:
    """Return the distances of features (N, D) to training features (T, D)."""
    return NearestDistances(
        nearest_neighbours(features, train, 1).distance[:, 0], nearest_neighbours(features, means, 1).row[:, 0]
    )


def rank_z(fake: Tensor, held_out: Tensor) -> float:
    """Return the Mann-Whitney z of distances (N,) against distances (M,): negative if those of `fake` are smaller.

    U = Σ_{i,j} [fake_i > held_out_j] + ½ [fake_i = held_out_j],   z = (U - m n / 2) / √(m n (m + n + 1) / 12)
    """
    fake, ordered = fake.contiguous(), held_out.sort().values
    ranks = torch.searchsorted(ordered, fake) + torch.searchsorted(ordered, fake, right=True)
    m, n = len(fake), len(held_out)
    spread = math.sqrt(m * n * (m + n + 1) / 12)
    return (ranks.sum().item() / 2 - m * n / 2) / spread


def copying_score(fake: NearestDistances, held_out: NearestDistances, least: int) -> float:
    """Return the mean z over cells, weighted by held-out reals; cells with fewer than `least` samples are skipped.

    NaN if no cell remains.
    """
    total = weight = 0.0
    for cell in sorted(set(held_out.cell.tolist())):
        of_fake, of_held_out = fake.distance[fake.cell == cell], held_out.distance[held_out.cell == cell]
        if len(of_fake) >= least:
            total += len(of_held_out) * rank_z(of_fake, of_held_out)
            weight += len(of_held_out)
    return total / weight if weight else math.nan
