"""The law of `rank`: proportional-integral control of how well the discriminator ranks. Others may build on it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from equipoise.controllers._levers import OCTAVES, base_of, rates, regularized
from equipoise.controllers._sensing import elapsed, known, outside, smoothed, told
from equipoise.core import validation as bounds
from equipoise.core.knobs import Knobs
from equipoise.core.observations import ControllerState, Observation, Turn
from equipoise.errors import SettingError

Axis = Mapping[str, Any]
"""One loop: the smoothed `level` of its signal, None at first; its `integral`; the `progress` of its last reading."""


@dataclass(frozen=True)
class RankLaw:
    """Slows the player that is ahead, and regularizes a discriminator that learns by heart.

    Two loops, each u = proportional · e + integral, e how far a smoothed rank lies beyond its target ± deadband, in
    units of `reach`, at most 1. Where u is at its bound the integral stands still (anti-windup). The first reads
    rank_train_fake and turns lr_d / lr_g by up to 4 to either side; the second reads rank_train_held_out and turns
    augment_p up to 0.8 or, where that does not act, r1_gamma up to eightfold. Ranks mean the same for every loss.

    `balance`: target of rank_train_fake. `balance_band`: its deadband. `overfit`: target of rank_train_held_out.
    `overfit_band`: its deadband. `reach`: a rank so far beyond its band is an error of 1. `proportional`: gain of the
    error. `span`: share of the run in which an error of 1 takes the integral from 0 to its bound. `half_life`: of the
    running means of both ranks, a share of the run. `warm_up`: share of the run before which nothing is turned.
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
        bounds.above(0, reach=self.reach, span=self.span, half_life=self.half_life)
        bounds.at_least(0, proportional=self.proportional)
        bounds.within(0, 1, warm_up=self.warm_up)
        for target, band in ((self.balance, self.balance_band), (self.overfit, self.overfit_band)):
            if not (band >= 0 and target >= 0 and target + band < 1):
                raise SettingError(f"a rank is wanted within {target:g} ± {band:g}: it must be below 1, and above 0")

    def turns(self) -> frozenset[str]:
        """Both learning rates; the regularization where it acts."""
        return frozenset({"lr_g", "lr_d"})

    def initial(self, knobs: Knobs) -> ControllerState:
        """Both loops at rest, at the user's base."""
        rest = {"level": None, "integral": 0.0, "progress": 0.0}
        return {"base": base_of(knobs), "balance": rest, "overfit": rest}

    def update(self, state: ControllerState, observation: Observation[Any]) -> Turn:
        """Each loop whose signal is there goes on; the other stands."""
        signals, progress = observation.signals, observation.progress
        values: dict[str, float] = {}
        why: dict[str, str] = {}
        loops: dict[str, Axis] = {"balance": state["balance"], "overfit": state["overfit"]}
        if (rank := known(signals.rank_train_fake)) is not None:
            axis, u = self._loop(loops["balance"], rank, progress, self.balance, self.balance_band)
            loops["balance"] = axis
            text = told("rank_train_fake", axis["level"], self.balance, self.balance_band)
            turned = rates(state["base"], OCTAVES * u)
            values |= turned
            why |= dict.fromkeys(turned, text)
        if (rank := known(signals.rank_train_held_out)) is not None:
            axis, u = self._loop(loops["overfit"], rank, progress, self.overfit, self.overfit_band, low=0.0)
            loops["overfit"] = axis
            text = told("rank_train_held_out", axis["level"], self.overfit, self.overfit_band)
            turned = regularized(state["base"], observation, u)
            values |= turned
            why |= dict.fromkeys(turned, text)
        return Turn(dataclasses.replace(observation.knobs, **values), {"base": state["base"], **loops}, why)

    def _loop(
        self, axis: Axis, value: float, progress: float, target: float, band: float, low: float = -1.0
    ) -> tuple[Axis, float]:
        """One loop after one more reading: its memory, and its output from `low` to 1."""
        span = elapsed(progress, axis["progress"])
        level = smoothed(axis["level"], value, span, self.half_life)
        if progress < self.warm_up:
            return {"level": level, "integral": 0.0, "progress": progress}, 0.0
        error = min(max(outside(level, target, band) / self.reach, -1.0), 1.0)
        integral, u = _pi(axis["integral"], error, self.proportional, span / self.span, low)
        return {"level": level, "integral": integral, "progress": progress}, u


def _pi(integral: float, error: float, gain: float, span: float, low: float) -> tuple[float, float]:
    """Proportional-integral control with anti-windup by clamping: the integral, and the output from `low` to 1."""
    grown = integral + error * span
    wanted = gain * error + grown
    if (wanted > 1 and error > 0) or (wanted < low and error < 0):
        grown = integral
    u = min(max(gain * error + grown, low), 1.0)
    return grown, u
