"""Closed loop on ranks: slows the player that is ahead, and regularises a discriminator that overfits. For any loss.

e = clip(deadband(r - target) / reach, -1, 1)        r: a smoothed rank in [-1, 1]
I <- I + e Δt / span                                 anti-windup: unless u is at its bound and e would push it on
u = clip(proportional · e + I)

lr_d = base · 2^(-u), lr_g = base · 2^u              r = rank_train_fake,     u in [-1, 1]
augment_p = base + u (0.8 - base)                    r = rank_train_held_out, u in [0, 1]; where it acts, else
r1_gamma = base · 2^(3 u)
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from equipoise.controllers._feedback import (
    RATIO_OCTAVES,
    actuator_base,
    deadband_error,
    elapsed_share,
    finite_or_none,
    format_comparison,
    learning_rates,
    moving_average,
    regularization,
)
from equipoise.core import validation
from equipoise.core.controller import Turn, request
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation
from equipoise.errors import SettingError

__all__ = ["Rank"]


@dataclass(frozen=True)
class LoopState:
    """State of one control loop. `level`: the smoothed signal, None before the first reading.

    `integral`: in the range of the output. `progress`: progress of the run at the last reading.
    """

    level: float | None = None
    integral: float = 0.0
    progress: float = 0.0


@dataclass(frozen=True)
class RankState:
    """State of `rank`. `base`: the user's values of the knobs. `balance`, `overfit`: states of the two loops."""

    base: Mapping[str, float]
    balance: LoopState
    overfit: LoopState


@dataclass(frozen=True)
class Rank:
    """Proportional-integral control of two ranks, which have the same meaning for every loss.

    The first loop reads rank_train_fake and changes lr_d / lr_g by a factor of up to 4 to either side. The second reads
    rank_train_held_out and raises augment_p up to 0.8 or, where that does not act, r1_gamma up to eightfold. Each is
    u = proportional · e + integral, where e is the distance of the smoothed rank from target ± deadband, in units of
    `reach`, at most 1.

    `balance`: target of rank_train_fake. `balance_band`: its deadband. `overfit`: target of rank_train_held_out.
    `overfit_band`: its deadband. `reach`: a rank this far outside its deadband is an error of 1. `proportional`: gain
    of the error. `span`: share of the run in which an error of 1 takes the integral from 0 to its bound. `half_life`:
    of the moving averages of both ranks, a share of the run. `warm_up`: share of the run before the first change.
    """

    balance: float = 0.5
    balance_band: float = 0.3
    overfit: float = 0.2
    overfit_band: float = 0.05
    reach: float = 0.2
    proportional: float = 0.25
    span: float = 0.2
    half_life: float = 0.025
    warm_up: float = 0.05

    def __post_init__(self) -> None:
        validation.check_above(0, reach=self.reach, span=self.span, half_life=self.half_life)
        validation.check_at_least(0, proportional=self.proportional)
        validation.check_within(0, 1, warm_up=self.warm_up)
        for target, band in ((self.balance, self.balance_band), (self.overfit, self.overfit_band)):
            if not (band >= 0 and target >= 0 and target + band < 1):
                raise SettingError(
                    f"the target range {target:g} ± {band:g} of a rank is invalid; target and deadband must be at "
                    "least 0, and their sum below 1"
                )

    def required_knobs(self) -> frozenset[str]:
        """Return both learning rates; the regularisation is changed where it acts."""
        return frozenset({"lr_g", "lr_d"})

    def initial(self, knobs: Knobs) -> RankState:
        """Return the state before the first reading, with the user's values."""
        return RankState(actuator_base(knobs), LoopState(), LoopState())

    def update(self, state: RankState, observation: Observation) -> Turn[RankState]:
        """Advance each loop whose signal is available."""
        signals, progress = observation.signals, observation.progress
        values: dict[str, float] = {}
        reasons: dict[str, str] = {}
        balance, overfit = state.balance, state.overfit
        if (rank := finite_or_none(signals.rank_train_fake)) is not None:
            balance, u = self._advance(balance, rank, progress, self.balance, self.balance_band)
            changes = learning_rates(state.base, RATIO_OCTAVES * u)
            values |= changes
            reasons |= _reasons(changes, u, "rank_train_fake", balance, self.balance, self.balance_band)
        if (rank := finite_or_none(signals.rank_train_held_out)) is not None:
            overfit, u = self._advance(overfit, rank, progress, self.overfit, self.overfit_band, low=0.0)
            changes = regularization(state.base, observation, u)
            values |= changes
            reasons |= _reasons(changes, u, "rank_train_held_out", overfit, self.overfit, self.overfit_band)
        state = dataclasses.replace(state, balance=balance, overfit=overfit)
        return Turn(request(observation.knobs, values), state, reasons)

    def _advance(
        self, loop: LoopState, value: float, progress: float, target: float, band: float, low: float = -1.0
    ) -> tuple[LoopState, float]:
        """Return the state of a loop after a reading, and its output u in [low, 1]."""
        span = elapsed_share(progress, loop.progress)
        level = moving_average(loop.level, value, span, self.half_life)
        if progress < self.warm_up:
            return LoopState(level, 0.0, progress), 0.0
        error = min(max(deadband_error(level, target, band) / self.reach, -1.0), 1.0)
        integral, u = proportional_integral(loop.integral, error, self.proportional, span / self.span, low)
        return LoopState(level, integral, progress), u


def proportional_integral(integral: float, error: float, gain: float, span: float, low: float) -> tuple[float, float]:
    """Return the new integral and the output u in [low, 1].

    u = gain · e + I; the integral does not grow while u would leave its bounds.
    """
    updated = integral + error * span
    unbounded = gain * error + updated
    if (unbounded > 1 and error > 0) or (unbounded < low and error < 0):
        updated = integral
    u = min(max(gain * error + updated, low), 1.0)
    return updated, u


def _reasons(
    names: Mapping[str, float], u: float, signal: str, loop: LoopState, target: float, band: float
) -> dict[str, str]:
    assert loop.level is not None
    reason = (
        f"smoothed {format_comparison(signal, loop.level, target, band)}; u = {u:.3f} (integral {loop.integral:.3f})"
    )
    return dict.fromkeys(names, reason)
