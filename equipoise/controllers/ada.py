"""Adaptive discriminator augmentation (Karras 2020): augments more while the discriminator learns by heart."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from equipoise.controllers._levers import MOST_AUGMENT
from equipoise.controllers._sensing import elapsed, known, outside, told
from equipoise.core import validation as bounds
from equipoise.core.knobs import Knobs
from equipoise.core.observations import ControllerState, Observation, Turn
from equipoise.errors import SettingError

__all__ = ["ADA"]

Signal = Literal["rank_train_held_out", "sign_real"]
TARGETS: Mapping[Signal, float] = {"rank_train_held_out": 0.2, "sign_real": 0.6}
"""0.6: Karras 2020, section 3.1. 0.2 is ours: four standard errors of 256 logits against 256."""


@dataclass(frozen=True)
class ADA:
    """p <- p + sign(r - target) · (images since the last reading) / ada_kimg, r a measure of overfitting, p augment_p
    (Karras 2020, section 3.1).

    It differs from the paper where short runs and little data need it. ada_kimg is a share of the run: the paper's 500
    kimg of 25,000 would never arrive. p is bounded, and near its target it stands. It is its own integral, so nothing
    winds up.

    `signal`: r. rank_train_held_out means the same for every loss; sign_real is the paper's r_t, for losses whose
    logits have a zero. `target`: of the signal; none is 0.6 for sign_real, 0.2 for rank_train_held_out. `deadband`:
    within so much of the target nothing is turned. `share`: of the run's images, in which p can rise from 0 to 1.
    `step`: the most that one reading turns p, for short runs have few readings. `most`: the bound of p; at most 0.8,
    above which augmentations leak into the samples.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "sign": {"signal": "sign_real"},  # r_t
    }

    signal: Signal = "rank_train_held_out"
    target: float | None = None
    deadband: float = 0.05
    share: float = 0.2
    step: float = 0.1
    most: float = MOST_AUGMENT

    def __post_init__(self) -> None:
        bounds.above(0, share=self.share, step=self.step)
        bounds.at_least(0, deadband=self.deadband)
        bounds.within(-1, 1, target=self.target)
        if not 0 <= self.most <= MOST_AUGMENT:
            raise SettingError(f"most = {self.most:g}: from 0 to {MOST_AUGMENT}, above which augmentations leak")

    def turns(self) -> frozenset[str]:
        """The augmentation: without it there is nothing to adapt."""
        return frozenset({"augment_p"})

    def initial(self, knobs: Knobs) -> ControllerState:
        """Nothing read."""
        return {"progress": 0.0}

    def update(self, state: ControllerState, observation: Observation[Any]) -> Turn:
        """A little more or less augmentation, if the signal is there."""
        value = known(getattr(observation.signals, self.signal))
        if value is None:
            return Turn(observation.knobs, state)
        target = TARGETS[self.signal] if self.target is None else self.target
        beyond = outside(value, target, self.deadband)
        move = min(elapsed(observation.progress, state["progress"]) / self.share, self.step)
        p = observation.knobs.augment_p + (move if beyond > 0 else -move if beyond < 0 else 0.0)
        knobs = dataclasses.replace(observation.knobs, augment_p=min(max(p, 0.0), self.most))
        why = told(self.signal, value, target, self.deadband)
        return Turn(knobs, {"progress": observation.progress}, {"augment_p": why})
