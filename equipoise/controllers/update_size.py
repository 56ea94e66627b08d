"""Learning rates by the sizes of updates: each network changes by a target share of its weights per step.

x = log2(update_ratio / (target · f(t))), smoothed                update ratio: |Δw| / |w| of one step
u <- clip(u - deadband(x) Δt / span, ±octaves)                    integral control; the rate acts on x directly
lr = base · 2^u                                                   for each network on its own
f(t) = final + (1 - final) (1 + cos πt) / 2                       the targets decay along a cosine
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from equipoise.controllers._feedback import deadband_error, elapsed_share, finite_or_none, moving_average
from equipoise.core import validation
from equipoise.core.controller import Turn, request
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation

__all__ = ["UpdateSize"]

MAX_OCTAVES = 6.0


@dataclass(frozen=True)
class RateState:
    """State of one learning rate. `level`: smoothed x, None before the first reading. `octaves`: u."""

    level: float | None = None
    octaves: float = 0.0


@dataclass(frozen=True)
class UpdateSizeState:
    """State of `update_size`. `base`: the user's learning rates. `rates`: by knob. `progress`: of the last reading."""

    base: Mapping[str, float]
    rates: Mapping[str, RateState]
    progress: float = 0.0


@dataclass(frozen=True)
class UpdateSize:
    """Controller that holds the relative update size of each network at a target, which decays over the run.

    A relative change of the weights means the same in every architecture, unlike a learning rate. LARS (You 2017), LAMB
    (You 2020) and Fromage (Bernstein 2020) normalise the change of each layer. Here one rate per network is adjusted
    slowly, so that Adam still decides the directions. A rate that is set
    too high or too low is corrected within a few times `span`. u is bounded, so there is no windup.

    Fails where the better size is far from the target, since update sizes say nothing about quality: with batch or
    spectral normalisation, changes of the scale of the weights count although they have no effect, and a network that
    has converged is kept moving unless `final` is small. It cannot end the rotation of a game without damping.

    `target_g`: share of its weights by which a step changes the generator. `target_d`: the same of the discriminator.
    `final`: factor of both at the end of the run; 1: no decay. `deadband`: half-width of the range around the target
    without a change, in octaves. `span`: time constant, as a share of the run. `octaves`: largest change of a rate to
    either side, in factors of 2. `half_life`: of the moving average of x, a share of the run. `warm_up`: share of the
    run before the first change.
    """

    target_g: float = 0.02
    target_d: float = 0.02
    final: float = 0.3
    deadband: float = 0.25
    span: float = 0.05
    octaves: float = 3.0
    half_life: float = 0.0125
    warm_up: float = 0.01

    def __post_init__(self) -> None:
        validation.check_within(1e-5, 1, target_g=self.target_g, target_d=self.target_d)
        validation.check_within(1e-3, 1, final=self.final)
        validation.check_at_least(0, deadband=self.deadband)
        validation.check_within(0, MAX_OCTAVES, octaves=self.octaves)
        validation.check_above(0, span=self.span, half_life=self.half_life)
        validation.check_within(0, 1, warm_up=self.warm_up)

    def required_knobs(self) -> frozenset[str]:
        """Return both learning rates."""
        return frozenset({"lr_g", "lr_d"})

    def initial(self, knobs: Knobs) -> UpdateSizeState:
        """Return the state before the first reading, with the user's learning rates."""
        base = {"lr_g": knobs.lr_g, "lr_d": knobs.lr_d}
        return UpdateSizeState(base, dict.fromkeys(base, RateState()))

    def update(self, state: UpdateSizeState, observation: Observation) -> Turn[UpdateSizeState]:
        """Advance the integral of each network whose update size is known."""
        signals, progress = observation.signals, observation.progress
        sizes = {"lr_g": signals.update_ratio_g, "lr_d": signals.update_ratio_d}
        targets = {"lr_g": self.target_g, "lr_d": self.target_d}
        rates, reasons, values = dict(state.rates), {}, {}
        for name, base in state.base.items():
            size = finite_or_none(sizes[name])
            if not size or size < 0:
                continue
            target = targets[name] * self._decay(progress)
            rates[name] = self._advance(rates[name], math.log2(size / target), progress, state.progress)
            values[name] = base * 2.0 ** rates[name].octaves
            reasons[name] = f"updates change {size:.2%} of the weights, target {target:.2%}"
        state = dataclasses.replace(state, rates=rates, progress=progress if values else state.progress)
        return Turn(request(observation.knobs, values), state, reasons)

    def _decay(self, progress: float) -> float:
        """Return f at a progress of the run, in [final, 1]."""
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0))) / 2

    def _advance(self, rate: RateState, value: float, progress: float, since: float) -> RateState:
        """Return the state of a learning rate after a reading of x."""
        elapsed = elapsed_share(progress, since)
        level = moving_average(rate.level, value, elapsed, self.half_life)
        if progress < self.warm_up:
            return RateState(level, rate.octaves)
        # At most the whole error in one decision: a longer gap between readings would overshoot.
        change = deadband_error(level, 0.0, self.deadband) * min(elapsed / self.span, 1.0)
        return RateState(level, min(max(rate.octaves - change, -self.octaves), self.octaves))
