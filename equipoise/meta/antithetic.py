"""Antithetic evolution strategy: a gradient from pairs of runs with opposite changes of the weights.

    Δ_i = clip(q(θ + σ ε_i) - q(θ - σ ε_i)),   g = (EᵀE + ridge · I)⁻¹ Eᵀ Δ / rms(Δ),   θ <- θ + rate · g

(Salimans 2017, arXiv 1703.03864, with mirrored sampling; least squares over all pairs of the last generations, instead
of the mean of Δ_i ε_i, because there are few pairs.) Both runs of a pair share task, seed, data and random numbers, so
that the advantage over any base run is the same subtraction and cancels. Each pair has its own task: with noisy runs of
seconds, many directions measured once give more than few directions measured often. `q` is the quality of a run, the
negative logarithm of a distance.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from equipoise.core import validation
from equipoise.policy.network import FloatArray

LARGEST_DIFFERENCE = 1.0
"""Bound of |Δ|: a factor of e between the two distances. A run that diverged counts as the bound."""
SMALLEST_SCALE = 0.02
"""Lower bound of rms(Δ), so that a generation in which no change mattered does not amplify noise."""


@dataclass(frozen=True, slots=True)
class AntitheticSettings:
    """Settings of the strategy.

    `sigma`: standard deviation of the changes of weights. `rate`: length of a step on which all pairs agree. `ridge`:
    ridge penalty on the gradient, in pairs. `window`: generations whose pairs a step uses. `seed`: of all
    changes.
    """

    sigma: float = 0.4
    rate: float = 0.4
    ridge: float = 8.0
    window: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        validation.check_above(0, sigma=self.sigma, rate=self.rate, ridge=self.ridge)
        validation.check_at_least(1, window=self.window)
        validation.check_seeds(seed=self.seed)


def sample_directions(settings: AntitheticSettings, generation: int, pairs: int, mask: FloatArray) -> FloatArray:
    """Return ε (pairs, w) of N(0, 1), 0 where `mask` (w,) is 0. The same generation gives the same directions."""
    generator = np.random.default_rng([settings.seed, 3, generation])
    return generator.standard_normal((pairs, len(mask))) * mask


def mirrored_weights(weights: FloatArray, direction: FloatArray, sigma: float) -> tuple[FloatArray, FloatArray]:
    """Return θ + σ ε and θ - σ ε, rounded to six digits, so that they are the same after a detour through JSON."""
    return np.round(weights + sigma * direction, 6), np.round(weights - sigma * direction, 6)


def bounded_difference(plus: float | None, minus: float | None) -> float:
    """Return Δ of the qualities of a pair; None for a run that diverged."""
    if plus is None or minus is None:
        return LARGEST_DIFFERENCE * ((plus is not None) - (minus is not None))
    return min(LARGEST_DIFFERENCE, max(-LARGEST_DIFFERENCE, plus - minus))


def step_weights(
    weights: FloatArray,
    generations: Sequence[tuple[FloatArray, Sequence[float]]],
    settings: AntitheticSettings,
) -> FloatArray:
    """Return θ (w,) after generations with directions (n, w) and Δ (n,) each; the last `window` of them count."""
    latest = generations[-settings.window :]
    directions = np.concatenate([directions for directions, _ in latest])
    delta = np.concatenate([np.asarray(differences, np.float64) for _, differences in latest])
    scale = max(SMALLEST_SCALE, math.sqrt(float(np.mean(delta**2))))
    matrix = directions.T @ directions + settings.ridge * np.eye(len(weights))
    gradient: FloatArray = np.linalg.solve(matrix, directions.T @ delta) / scale
    return weights + settings.rate * gradient
