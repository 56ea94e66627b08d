"""Fréchet distance between two sets of features, each modelled as a Gaussian.

    d²(N(μ₁, Σ₁), N(μ₂, Σ₂)) = |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁^½ Σ₂ Σ₁^½)^½)        (Dowson and Landau 1982)

Introduced for GANs by Heusel et al. 2017 ("GANs Trained by a Two Time-Scale Update Rule"), on Inception features. The
trace of the root is computed from the eigenvalues of a symmetric matrix in float64; the usual implementation takes the
square root of a non-symmetric product. Both agree to 1e-6 on the same features.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.errors import UndefinedMetricError

MAX_EXACT_FEATURES = 128
"""Largest number of features for which resamples are computed exactly; otherwise to first order, which is faster."""
SINGULAR = 1e-10
"""Eigenvalues below this share of the largest are treated as 0 in a division."""


class GaussianMoments(NamedTuple):
    """Moments of a set of features, float64: `mean` (D,) and unbiased `covariance` (D, D)."""

    mean: Tensor
    covariance: Tensor


def compute_moments(features: Tensor, weights: Tensor | None = None) -> GaussianMoments:
    """Compute moments of features (N, D), rows weighted by `weights` (N,). Raises DataError for fewer than two rows."""
    if len(features) < 2:
        raise UndefinedMetricError(f"a Fréchet distance needs at least 2 samples on each side, not {len(features)}")
    rows = features.double()
    counts = torch.ones(len(rows), dtype=torch.float64) if weights is None else weights.double()
    mean = counts @ rows / counts.sum()
    centred = rows - mean
    return GaussianMoments(mean, (centred * counts[:, None]).T @ centred / (counts.sum() - 1))


def frechet_distance(first: GaussianMoments, second: GaussianMoments) -> float:
    """Return d² between two Gaussians; NaN if a moment is not finite."""
    if not all(part.isfinite().all() for part in (*first, *second)):
        return math.nan
    root = _root(first.covariance)
    root_trace = torch.linalg.eigvalsh(root @ second.covariance @ root).clamp(min=0).sqrt().sum()
    mean_distance = (first.mean - second.mean).square().sum()
    return float(mean_distance + first.covariance.trace() + second.covariance.trace() - 2 * root_trace)


def compute(real: Tensor, fake: Tensor, bootstrap: Bootstrap, alternative: str) -> MetricResult:
    """Compute the distance between features (M, D) and (N, D). A warning recommends `alternative` for small samples."""
    warnings = _size_warnings(len(real), len(fake), real.shape[1], alternative)
    if warnings and real.shape[1] > MAX_EXACT_FEATURES:
        return MetricResult(low_rank_distance(real, fake), warnings=warnings)
    value = frechet_distance(compute_moments(real), compute_moments(fake))
    if not bootstrap.count or not math.isfinite(value):
        return MetricResult(value, warnings=warnings)
    return MetricResult(value, _resample(real, fake, bootstrap, value), warnings)


def low_rank_distance(real: Tensor, fake: Tensor) -> float:
    """Compute d² of features (M, D) and (N, D) in the subspace they span, if M or N is at most D; much faster.

    With centred rows A, B of the covariances Σ₁ = Aᵀ A and Σ₂ = Bᵀ B, tr (Σ₁^½ Σ₂ Σ₁^½)^½ is the sum of the singular
    values of A Bᵀ.
    """
    sets = [rows.double() for rows in (real, fake)]
    if not all(rows.isfinite().all() for rows in sets):
        return math.nan
    if min(map(len, sets)) < 2:
        raise UndefinedMetricError(
            f"a Fréchet distance needs at least 2 samples on each side, not {min(map(len, sets))}"
        )
    first, second = ((rows - rows.mean(dim=0)) / math.sqrt(len(rows) - 1) for rows in sets)
    mean_distance = (sets[0].mean(dim=0) - sets[1].mean(dim=0)).square().sum()
    root_trace = torch.linalg.svdvals(first @ second.T).sum()
    return float(mean_distance + first.square().sum() + second.square().sum() - 2 * root_trace)


def _size_warnings(reals: int, samples: int, features: int, alternative: str) -> tuple[str, ...]:
    """Warn of fewer samples than features: the covariance is singular, and the distance mostly bias."""
    count, noun = min((reals, "reals"), (samples, "samples"))
    if count > features:
        return ()
    return (f"only {count:,} {noun} for {features:,} features: the value is mostly bias; use {alternative} instead",)


def _resample(real: Tensor, fake: Tensor, bootstrap: Bootstrap, value: float) -> Tensor:
    """Return the distance of each resample: (R,) float64."""
    real_weights, fake_weights = bootstrap.weights(len(real), 0), bootstrap.weights(len(fake), 1)
    if real.shape[1] <= MAX_EXACT_FEATURES:
        pairs = zip(real_weights, fake_weights, strict=True)
        result = [
            frechet_distance(compute_moments(real, first), compute_moments(fake, second)) for first, second in pairs
        ]
        return torch.tensor(result, dtype=torch.float64)
    first, second = compute_moments(real), compute_moments(fake)
    change = real_weights.double() @ _influence(real, first, second) / len(real)
    return value + change + fake_weights.double() @ _influence(fake, second, first) / len(fake)


def _influence(features: Tensor, moments: GaussianMoments, other: GaussianMoments) -> Tensor:
    """Return the first-order influence of each row on d² (von Mises): (N,) float64 with mean 0.

        ψ(x) = 2 (μ - μ')·(x - μ) + (x - μ)ᵀ (I - T) (x - μ) - tr(Σ (I - T)),   T = Σ'^½ (Σ'^½ Σ Σ'^½)^-½ Σ'^½

    T, the optimal transport map, is the derivative of 2 tr(Σ'^½ Σ Σ'^½)^½ with respect to Σ.
    """
    root = _root(other.covariance)
    values, vectors = torch.linalg.eigh(root @ moments.covariance @ root)
    inverse = torch.where(values > SINGULAR * values.max(), values, math.inf).rsqrt()
    transport = root @ (vectors * inverse) @ vectors.T @ root
    slope = torch.eye(len(root), dtype=torch.float64) - transport
    centred = features.double() - moments.mean
    influence = 2 * centred @ (moments.mean - other.mean) + ((centred @ slope) * centred).sum(dim=1)
    result: Tensor = influence - influence.mean()
    return result


def _root(covariance: Tensor) -> Tensor:
    """Return the symmetric square root of a covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root
