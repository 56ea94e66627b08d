"""Gradient penalty as a Lagrange multiplier: as strong as a bound on the held-out rank needs, and no stronger.

λ <- clip(λ + e Δt most / span, 0, most)                           dual ascent on the logarithm of the penalty
e = clip(deadband(r - target, deadband + confidence · se) / reach, -1, 1)
gamma = base · 2^λ                                                 r1_gamma, or gp_weight

Minimise the loss subject to r <= target, r = rank_train_held_out, as the bottleneck of a variational discriminator is
kept at a capacity (Peng 2019, arXiv 1810.00821).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from equipoise.controllers._feedback import (
    deadband_error,
    elapsed_share,
    finite_or_none,
    format_comparison,
    moving_average,
    rank_standard_error,
)
from equipoise.core import validation
from equipoise.core.controller import RunFacts, Turn, request
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation

__all__ = ["RankConstraint"]

PENALTIES = ("r1_gamma", "gp_weight")
"""Penalties of the discriminator's gradient. The first that acts and is on is changed, or the first that acts."""
MAX_OCTAVES = 10.0


@dataclass(frozen=True)
class ConstraintState:
    """State of `constraint`. `base`: the user's penalties. `level`: smoothed rank, None before the first reading.

    `octaves`: λ. `progress`: progress of the run at the last reading.
    """

    base: Mapping[str, float]
    level: float | None
    octaves: float
    progress: float


@dataclass(frozen=True)
class RankConstraint:
    """Controller of r1_gamma, or of gp_weight where r1_gamma does not act, by dual ascent on rank_train_held_out.

    The penalty rises while the rank is above target + band and returns to the user's value while it is below target -
    band; band = deadband + confidence · standard error of the rank. λ is itself the integral and is bounded, so there
    is no windup. Where the user's penalty is 0, it is `start` · 2^λ for λ > 0.

    Fails where the penalty does not reduce overfitting (a discriminator that memorises few samples can do so with small
    gradients), and where a penalty that is too strong already is the problem: it is never lowered below the user's
    value. Without held-out samples, or without a penalty in the model, nothing is changed.

    `target`: largest rank. `deadband`: half-width of the range around the target without a change. `confidence`: number
    of standard errors that widen it. `reach`: a rank this far outside the range is an error of 1. `span`: share of the
    run in which an error of 1 raises λ from 0 to `octaves`. `octaves`: largest increase of the penalty, in factors of
    2. `start`: penalty for λ = 0 where the user's is 0. `half_life`: of the moving average of the rank, a share of the
    run. `warm_up`: share of the run before the first change. `held_out_samples`: number of different held-out samples;
    default: that of the run, or 64 in a custom loop. `training_samples`: the same of training samples; default: that of
    the run, or 256.
    """

    target: float = 0.2
    deadband: float = 0.0
    confidence: float = 1.0
    reach: float = 0.2
    span: float = 0.2
    octaves: float = 4.0
    start: float = 0.1
    half_life: float = 0.025
    warm_up: float = 0.05
    held_out_samples: int | None = None
    training_samples: int | None = None

    def __post_init__(self) -> None:
        validation.check_above(0, reach=self.reach, span=self.span, half_life=self.half_life)
        validation.check_at_least(0, deadband=self.deadband, confidence=self.confidence)
        validation.check_within(-1, 1, target=self.target)
        validation.check_within(0, MAX_OCTAVES, octaves=self.octaves)
        validation.check_within(1e-4, 100, start=self.start)
        validation.check_within(0, 1, warm_up=self.warm_up)
        validation.check_at_least(1, held_out_samples=self.held_out_samples, training_samples=self.training_samples)

    def required_knobs(self) -> frozenset[str]:
        """Return no knob: the penalty is changed where one acts."""
        return frozenset()

    def resolve(self, facts: RunFacts) -> "RankConstraint":
        """Return the controller with the numbers of samples of the run."""
        held_out = facts.held_out_samples if self.held_out_samples is None else self.held_out_samples
        training = facts.training_samples if self.training_samples is None else self.training_samples
        return dataclasses.replace(self, held_out_samples=held_out or None, training_samples=training or None)

    def initial(self, knobs: Knobs) -> ConstraintState:
        """Return the state before the first reading, with the user's penalties."""
        base = {name: value for name, value in knobs.values().items() if name in PENALTIES}
        return ConstraintState(base, level=None, octaves=0.0, progress=0.0)

    def update(self, state: ConstraintState, observation: Observation) -> Turn[ConstraintState]:
        """Move λ by one step of dual ascent, if the rank is available."""
        rank = finite_or_none(observation.signals.rank_train_held_out)
        name = _penalty(state.base, observation)
        if rank is None or name is None:
            return Turn(observation.knobs, state)
        span = elapsed_share(observation.progress, state.progress)
        level = moving_average(state.level, rank, span, self.half_life)
        band = self.deadband + self.confidence * rank_standard_error(self.held_out_samples, self.training_samples)
        octaves = state.octaves
        if observation.progress >= self.warm_up:
            error = min(max(deadband_error(level, self.target, band) / self.reach, -1.0), 1.0)
            octaves = min(max(octaves + error * self.octaves * span / self.span, 0.0), self.octaves)
        state = ConstraintState(state.base, level, octaves, observation.progress)
        value = self._value(state.base[name], octaves)
        reason = f"smoothed {format_comparison('rank_train_held_out', level, self.target, band)}; {octaves:.2f} octaves"
        return Turn(request(observation.knobs, {name: value}), state, {name: reason})

    def _value(self, base: float, octaves: float) -> float:
        if base == 0 and octaves == 0:
            return 0.0
        return float((base or self.start) * 2.0**octaves)


def _penalty(base: Mapping[str, float], observation: Observation) -> str | None:
    """Return the penalty to change: the first that acts and is on, or else the first that acts."""
    acting = [name for name in PENALTIES if name in base and observation.acts(name)]
    return next((name for name in acting if base[name] > 0), acting[0] if acting else None)
