"""Placebo: pulls at what `rank` pulls at, as far and as often, by lot. What it wins is won by moving alone."""

import dataclasses
import math
from dataclasses import dataclass
from random import Random as Source
from typing import Any

from equipoise.controllers._levers import OCTAVES, base_of, rates, regularized
from equipoise.core import validation as bounds
from equipoise.core.knobs import Knobs
from equipoise.core.observations import ControllerState, Observation, Turn

__all__ = ["Random"]

STEPS = 16
"""Steps from one bound of a lever to the other: a quarter of an octave of the ratio, 0.05 of augment_p."""


@dataclass(frozen=True)
class Random:
    """Walks at random between the bounds of rank: at each decision each lever goes a step down, up or stays.

    It reads no signal. `seed`: of the walk; the same seed walks the same way in every run. `pace`: share of the run
    between two decisions, the fortieth that learned controllers have. `warm_up`: share of the run before the first.
    """

    seed: int = 0
    pace: float = 0.025
    warm_up: float = 0.05

    def __post_init__(self) -> None:
        bounds.within(1e-4, 1, pace=self.pace)
        bounds.within(0, 1, warm_up=self.warm_up)

    def turns(self) -> frozenset[str]:
        """As of rank: both learning rates; the regularization where it acts."""
        return frozenset({"lr_g", "lr_d"})

    def initial(self, knobs: Knobs) -> ControllerState:
        """Both levers where rank has them at rest: in the middle, and at the bottom."""
        return {"base": base_of(knobs), "count": 0, "balance": STEPS // 2, "strength": 0}

    def update(self, state: ControllerState, observation: Observation[Any]) -> Turn:
        """As many steps as are due by now."""
        balance, strength = state["balance"], state["strength"]
        due = max(0, math.floor((observation.progress - self.warm_up) / self.pace + 1e-9) + 1)
        count = min(state["count"], due)  # progress goes back where a run is resumed with more steps
        if due == count:
            return Turn(observation.knobs, {**state, "count": count})
        while count < due:
            # A source of its own for every step: nothing but the count need be remembered.
            lot = Source(f"{self.seed}:{count}")
            balance = min(max(balance + math.floor(3 * lot.random()) - 1, 0), STEPS)
            strength = min(max(strength + math.floor(3 * lot.random()) - 1, 0), STEPS)
            count += 1
        values = rates(state["base"], OCTAVES * (2 * balance / STEPS - 1))
        values |= regularized(state["base"], observation, strength / STEPS)
        why = dict.fromkeys(values, f"by lot, number {count} of seed {self.seed}")
        state = {"base": state["base"], "count": count, "balance": balance, "strength": strength}
        return Turn(dataclasses.replace(observation.knobs, **values), state, why)
