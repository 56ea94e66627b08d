"""The Fréchet distance between two sets of features, each taken for a Gaussian.

    d²(N(μ₁, Σ₁), N(μ₂, Σ₂)) = |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁^½ Σ₂ Σ₁^½)^½)        (Dowson and Landau 1982)

Heusel et al. 2017 ("GANs Trained by a Two Time-Scale Update Rule") brought it to GANs, on Inception features. The
root's trace is taken from the eigenvalues of a symmetric matrix in float64, where the usual code takes the square root
of a product that is none; both agree to 1e-6 on the same features.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.errors import DataError

DRAWN_WHOLE = 128
"""Features up to which every draw is computed anew; above, its first order is: one draw would take seconds."""
SINGULAR = 1e-10
"""Eigenvalues below this share of the greatest count as 0 where they are divided by."""


class Moments(NamedTuple):
    """Of a set of features: `mean` (D,), `covariance` (D, D), unbiased; float64."""

    mean: Tensor
    covariance: Tensor


def moments(features: Tensor, weights: Tensor | None = None) -> Moments:
    """Of features (N, D), each row counted `weights` (N,) times. Raises DataError for fewer than two rows."""
    if len(features) < 2:
        raise DataError(f"a Fréchet distance needs 2 samples a side or more, not {len(features)}")
    rows = features.double()
    counted = torch.ones(len(rows), dtype=torch.float64) if weights is None else weights.double()
    mean = counted @ rows / counted.sum()
    centred = rows - mean
    return Moments(mean, (centred * counted[:, None]).T @ centred / (counted.sum() - 1))


def frechet_distance(first: Moments, second: Moments) -> float:
    """d² of two Gaussians; not a number if their moments are not."""
    if not all(part.isfinite().all() for part in (*first, *second)):
        return math.nan
    root = _root(first.covariance)
    across = torch.linalg.eigvalsh(root @ second.covariance @ root).clamp(min=0).sqrt().sum()
    apart = (first.mean - second.mean).square().sum()
    return float(apart + first.covariance.trace() + second.covariance.trace() - 2 * across)


def compare(real: Tensor, fake: Tensor, draws: Bootstrap, instead: str) -> MetricResult:
    """The distance between features (M, D) and (N, D), with its draws; in doubt, `instead` is to be trusted."""
    doubts = _doubts(len(real), len(fake), real.shape[1], instead)
    if doubts and real.shape[1] > DRAWN_WHOLE:
        return MetricResult(of_few(real, fake), doubts=doubts)
    value = frechet_distance(moments(real), moments(fake))
    if not draws.count or not math.isfinite(value):
        return MetricResult(value, doubts=doubts)
    return MetricResult(value, _drawn(real, fake, draws, value), doubts)


def of_few(real: Tensor, fake: Tensor) -> float:
    """d² of features (M, D) and (N, D), M or N no more than D: of their few directions alone, which is much faster.

    With centred rows A, B of the covariances Σ₁ = Aᵀ A and Σ₂ = Bᵀ B, tr (Σ₁^½ Σ₂ Σ₁^½)^½ is the sum of the singular
    values of A Bᵀ.
    """
    sets = [rows.double() for rows in (real, fake)]
    if not all(rows.isfinite().all() for rows in sets):
        return math.nan
    if min(map(len, sets)) < 2:
        raise DataError(f"a Fréchet distance needs 2 samples a side or more, not {min(map(len, sets))}")
    first, second = ((rows - rows.mean(dim=0)) / math.sqrt(len(rows) - 1) for rows in sets)
    apart = (sets[0].mean(dim=0) - sets[1].mean(dim=0)).square().sum()
    across = torch.linalg.svdvals(first @ second.T).sum()
    return float(apart + first.square().sum() + second.square().sum() - 2 * across)


def _doubts(reals: int, samples: int, features: int, instead: str) -> tuple[str, ...]:
    """A covariance of fewer samples than features is singular, and the distance mostly bias."""
    few, what = min((reals, "reals"), (samples, "samples"))
    if few > features:
        return ()
    return (f"{few:,} {what} are no more than the {features:,} features, so it is mostly bias: trust {instead}",)


def _drawn(real: Tensor, fake: Tensor, draws: Bootstrap, value: float) -> Tensor:
    """The distance of each draw: (R,) float64."""
    ours, theirs = draws.weights(len(real), 0), draws.weights(len(fake), 1)
    if real.shape[1] <= DRAWN_WHOLE:
        pairs = zip(ours, theirs, strict=True)
        result = [frechet_distance(moments(real, first), moments(fake, second)) for first, second in pairs]
        return torch.tensor(result, dtype=torch.float64)
    first, second = moments(real), moments(fake)
    moved = ours.double() @ _influence(real, first, second) / len(real)
    return value + moved + theirs.double() @ _influence(fake, second, first) / len(fake)


def _influence(features: Tensor, mine: Moments, other: Moments) -> Tensor:
    """How much each row moves d² to first order (von Mises): (N,) float64 of mean 0.

        ψ(x) = 2 (μ - μ')·(x - μ) + (x - μ)ᵀ (I - T) (x - μ) - tr(Σ (I - T)),   T = Σ'^½ (Σ'^½ Σ Σ'^½)^-½ Σ'^½

    T, the map of optimal transport, is the derivative of 2 tr(Σ'^½ Σ Σ'^½)^½ by Σ.
    """
    root = _root(other.covariance)
    values, vectors = torch.linalg.eigh(root @ mine.covariance @ root)
    inverse = torch.where(values > SINGULAR * values.max(), values, math.inf).rsqrt()
    transport = root @ (vectors * inverse) @ vectors.T @ root
    slope = torch.eye(len(root), dtype=torch.float64) - transport
    centred = features.double() - mine.mean
    moved = 2 * centred @ (mine.mean - other.mean) + ((centred @ slope) * centred).sum(dim=1)
    centred_moves: Tensor = moved - moved.mean()
    return centred_moves


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root
