"""Gap-aware learning rate (Hazimeh 2023): lr_d by the distance of the discriminator's loss from its ideal."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from equipoise.controllers._sensing import known, smoothed
from equipoise.core import validation as bounds
from equipoise.core.knobs import Knobs
from equipoise.core.observations import ControllerState, Observation, Turn
from equipoise.errors import SettingError

__all__ = ["GapAware"]


@dataclass(frozen=True)
class GapAware:
    """lr_d = base · s(V - V*), V the adversarial loss of the discriminator, smoothed, V* its value where fakes are as
    reals are (Hazimeh 2023, section 3 and algorithm 1; constants as in their released code).

    s(x) = min(fastest^(x / X), fastest) for x >= 0, a discriminator behind; max(slowest^(-x / X), slowest) for x < 0,
    one ahead; X = band · V*. V* belongs to the loss and its labels, so label smoothing moves it; penalties do not
    count. Where V* is not known, nothing is turned.

    `decay`: of the running mean of V, a step. `slowest`: the least factor. `fastest`: the greatest factor. `band`: X as
    a share of V*. `absolute`: X for a loss whose V* is 0, Wasserstein's; in logits, ours, and untested in the paper.
    """

    decay: float = 0.95
    slowest: float = 0.1
    fastest: float = 2.0
    band: float = 0.1
    absolute: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise SettingError(f"decay = {self.decay:g}: above 0 and below 1")
        if not (0 < self.slowest <= 1 <= self.fastest):
            raise SettingError(f"slowest = {self.slowest:g}, fastest = {self.fastest:g}: below and above 1")
        bounds.above(0, fastest=self.fastest, band=self.band, absolute=self.absolute)

    def turns(self) -> frozenset[str]:
        """The discriminator's learning rate."""
        return frozenset({"lr_d"})

    def initial(self, knobs: Knobs) -> ControllerState:
        """The rate that the user set, and nothing read."""
        return {"lr_d": knobs.lr_d, "level": None, "step": 0}

    def update(self, state: ControllerState, observation: Observation[Any]) -> Turn:
        """The base rate times s, if the gap is known."""
        loss, ideal = known(observation.signals.adversarial_d), known(observation.signals.ideal_d)
        if loss is None or ideal is None:
            return Turn(observation.knobs, state)
        # A reading is the mean of the steps since the last one: it weighs as much as all of them.
        steps = max(1, observation.step - state["step"])
        level = smoothed(state["level"], loss, steps, steps_to_half(self.decay))
        factor = self.factor(level - ideal, ideal)
        side = "behind" if level >= ideal else "ahead"
        why = f"adversarial_d {level:.3f}, ideal {ideal:.3f}: discriminator {side}, rate x {factor:.2f}"
        knobs = dataclasses.replace(observation.knobs, lr_d=state["lr_d"] * factor)
        return Turn(knobs, {**state, "level": level, "step": observation.step}, {"lr_d": why})

    def factor(self, gap: float, ideal: float) -> float:
        """s of V - V*: `fastest` a band above the ideal, 1 at it, `slowest` a band below."""
        share = gap / (self.band * ideal if ideal > 0 else self.absolute)
        return float(self.fastest ** min(share, 1.0) if share >= 0 else self.slowest ** min(-share, 1.0))


def steps_to_half(decay: float) -> float:
    """The half-life of an exponential mean, in steps."""
    return math.log(0.5) / math.log(decay)
