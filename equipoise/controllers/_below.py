"""The controllers that learned policies stand on."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from equipoise.controllers._rank import RankLaw
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Controller, ControllerState, Observation, Turn
from equipoise.core.schedules import cosine
from equipoise.policy.files import Base

FALLS = cosine(1, 0.02)


def controller_below(base: Base) -> Controller | None:
    """The controller of this name as it is without options; None for `fixed`, which leaves knobs where they are."""
    match base:
        case "fixed":
            return None
        case "annealed":
            return Annealing()
        case "rank":
            return RankLaw()


@dataclass(frozen=True)
class Annealing:
    """What `annealed` does without options: both learning rates fall to a fiftieth along a cosine."""

    def turns(self) -> frozenset[str]:
        """Both learning rates."""
        return frozenset({"lr_g", "lr_d"})

    def initial(self, knobs: Knobs) -> ControllerState:
        """Where the user set them."""
        return {"lr_g": knobs.lr_g, "lr_d": knobs.lr_d}

    def update(self, state: ControllerState, observation: Observation[Any]) -> Turn:
        """The cosine at this progress."""
        factor = FALLS(observation.progress)
        values = {name: start * factor for name, start in state.items()}
        why = dict.fromkeys(values, f"cosine(1, 0.02) at {observation.progress:.0%} of the run")
        return Turn(dataclasses.replace(observation.knobs, **values), state, why)
