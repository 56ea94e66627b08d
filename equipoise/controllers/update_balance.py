"""Learning-rate ratio by the sizes of updates: both networks change by the same share of their weights.

x = log2(update_ratio_d / update_ratio_g), smoothed               update ratio: |Δw| / |w| of one step
u <- clip(u + deadband(x - target) Δt / span, ±octaves)           integral control; the rates act on x directly
lr_d = base · 2^(-u/2), lr_g = base · 2^(u/2)                     their geometric mean is unchanged
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from equipoise.controllers._feedback import (
    RATIO_OCTAVES,
    deadband_error,
    elapsed_share,
    finite_or_none,
    learning_rates,
    moving_average,
)
from equipoise.core import validation
from equipoise.core.controller import Turn, request
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation, Signals

__all__ = ["UpdateBalance"]


@dataclass(frozen=True)
class UpdateBalanceState:
    """State of `update_balance`. `base`: the user's learning rates. `level`: smoothed x, None before the first reading.

    `octaves`: u. `progress`: progress of the run at the last reading.
    """

    base: Mapping[str, float]
    level: float | None
    octaves: float
    progress: float


@dataclass(frozen=True)
class UpdateBalance:
    """Controller that holds the ratio of both networks' relative update sizes at a target, in octaves.

    A ratio of two players' step sizes is what two time-scale updates set by hand (Heusel 2017), and the log
    ratio of their gradients was an input of the learned controller of Xu 2019 (AutoLoss). Update sizes
    follow learning rates in proportion, so a learning rate that is set four times too high is detected and corrected
    within a few times `span`. u is bounded, so there is no windup.

    Fails where the better ratio is far from the target, since update sizes do not tell quality: a network with small
    initial weights or with normalised layers moves further for the same effect.

    `target`: of x; 0: both networks change by the same share, 1: the discriminator by twice as much. `deadband`:
    half-width of the range around the target without a change, in octaves. `span`: time constant, as a share of the
    run. `octaves`: largest change of lr_d / lr_g to either side, in factors of 2. `hold`: what does not change: the
    geometric mean of the learning rates, or lr_g. `half_life`: of the moving average of x, a share of the run.
    `warm_up`: share of the run before the first change.
    """

    target: float = 0.0
    deadband: float = 0.5
    span: float = 0.1
    octaves: float = RATIO_OCTAVES
    hold: Literal["mean", "lr_g"] = "mean"
    half_life: float = 0.0125
    warm_up: float = 0.02

    def __post_init__(self) -> None:
        validation.check_within(-6, 6, target=self.target)
        validation.check_at_least(0, deadband=self.deadband)
        validation.check_within(0, 4, octaves=self.octaves)
        validation.check_above(0, span=self.span, half_life=self.half_life)
        validation.check_within(0, 1, warm_up=self.warm_up)

    def required_knobs(self) -> frozenset[str]:
        """Return both learning rates."""
        return frozenset({"lr_g", "lr_d"})

    def initial(self, knobs: Knobs) -> UpdateBalanceState:
        """Return the state before the first reading, with the user's learning rates."""
        return UpdateBalanceState({"lr_g": knobs.lr_g, "lr_d": knobs.lr_d}, level=None, octaves=0.0, progress=0.0)

    def update(self, state: UpdateBalanceState, observation: Observation) -> Turn[UpdateBalanceState]:
        """Advance the integral, if both update sizes are known."""
        value = _log_ratio(observation.signals)
        if value is None:
            return Turn(observation.knobs, state)
        span = elapsed_share(observation.progress, state.progress)
        level = moving_average(state.level, value, span, self.half_life)
        octaves = state.octaves
        if observation.progress >= self.warm_up:
            error = deadband_error(level, self.target, self.deadband)
            # At most the whole error in one decision: a longer gap between readings would overshoot.
            octaves = min(max(octaves + error * min(span / self.span, 1.0), -self.octaves), self.octaves)
        state = UpdateBalanceState(state.base, level, octaves, observation.progress)
        rates = learning_rates(state.base, octaves)
        if self.hold == "lr_g":
            rates = {"lr_g": state.base["lr_g"], "lr_d": state.base["lr_d"] / 2.0**octaves}
        reason = f"updates of the discriminator {2.0**level:.2f} times those of the generator; {octaves:+.2f} octaves"
        return Turn(request(observation.knobs, rates), state, dict.fromkeys(rates, reason))


def _log_ratio(signals: Signals) -> float | None:
    """Return log2 of the ratio of the update sizes, None if one is missing or 0."""
    of_d, of_g = finite_or_none(signals.update_ratio_d), finite_or_none(signals.update_ratio_g)
    return math.log2(of_d / of_g) if of_d and of_g and of_d > 0 and of_g > 0 else None
