"""Gap-aware learning rate (Hazimeh 2023): lr_d by the distance of the discriminator's loss from its ideal value.

lr_d = base · s(V - V*)                                              (Hazimeh 2023, section 3 and algorithm 1)
s(x) = min(fastest^(x / X), fastest) for x >= 0, max(slowest^(-x / X), slowest) for x < 0,  X = band · V*
"""

import dataclasses
import math
from dataclasses import dataclass

from equipoise.controllers._feedback import finite_or_none, moving_average
from equipoise.core import validation
from equipoise.core.controller import Turn, request
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation
from equipoise.errors import SettingError

__all__ = ["GapAware"]


@dataclass(frozen=True)
class GapAwareState:
    """State of `gap_aware`. `lr_d`: the user's value. `level`: moving average of V, None before the first reading.

    `step`: step of the last reading.
    """

    lr_d: float
    level: float | None
    step: int


@dataclass(frozen=True)
class GapAware:
    """Controller of lr_d by s(V - V*): V is the smoothed adversarial loss of the discriminator, V* its ideal value.

    x >= 0: the discriminator is behind; x < 0: it is ahead. Constants are those of the authors' code. V* is the
    value for perfect fakes; it depends on the loss and its labels, so label smoothing changes it; penalties do not
    count. If V* is not known, nothing is changed.

    `decay`: of the moving average of V, per step. `slowest`: the smallest factor. `fastest`: the largest factor.
    `band`: X as a share of V*. `absolute`: X in logits for a loss whose V* is 0, such as Wasserstein's; our choice,
    not tested in the paper.
    """

    decay: float = 0.95
    slowest: float = 0.1
    fastest: float = 2.0
    band: float = 0.1
    absolute: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise SettingError(f"decay = {self.decay:g} is out of range; it must be above 0 and below 1")
        if not (0 < self.slowest <= 1 <= self.fastest):
            raise SettingError(
                f"slowest = {self.slowest:g}, fastest = {self.fastest:g}: slowest must be above 0 and at most 1, "
                "fastest at least 1"
            )
        validation.check_above(0, fastest=self.fastest, band=self.band, absolute=self.absolute)

    def required_knobs(self) -> frozenset[str]:
        """Return the learning rate of the discriminator."""
        return frozenset({"lr_d"})

    def initial(self, knobs: Knobs) -> GapAwareState:
        """Return the state before the first reading."""
        return GapAwareState(knobs.lr_d, level=None, step=0)

    def update(self, state: GapAwareState, observation: Observation) -> Turn[GapAwareState]:
        """Set lr_d to its base times s(V - V*), if both losses are known."""
        loss, ideal = finite_or_none(observation.signals.adversarial_d), finite_or_none(observation.signals.ideal_d)
        if loss is None or ideal is None:
            return Turn(observation.knobs, state)
        # A reading is the mean over the steps since the last one, and is weighted as that many values.
        steps = max(1, observation.step - state.step)
        level = moving_average(state.level, loss, steps, half_life_of(self.decay))
        factor = self.factor(level - ideal, ideal)
        side = "behind" if level >= ideal else "ahead"
        reason = f"adversarial_d {level:.3f}, ideal {ideal:.3f}: discriminator {side}, rate x {factor:.2f}"
        knobs = request(observation.knobs, {"lr_d": state.lr_d * factor})
        return Turn(knobs, dataclasses.replace(state, level=level, step=observation.step), {"lr_d": reason})

    def factor(self, gap: float, ideal: float) -> float:
        """Return s(gap): `fastest` one band above the ideal loss, 1 at it, `slowest` one band below."""
        share = gap / (self.band * ideal if ideal > 0 else self.absolute)
        return float(self.fastest ** min(share, 1.0) if share >= 0 else self.slowest ** min(-share, 1.0))


def half_life_of(decay: float) -> float:
    """Return the half-life, in steps, of an exponential moving average with this decay per step."""
    return math.log(0.5) / math.log(decay)
