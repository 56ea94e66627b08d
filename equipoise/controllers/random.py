"""Placebo: moves the actuators of `rank` over the same range at random, to measure the effect of movement alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random as Source

from equipoise.controllers._feedback import RATIO_OCTAVES, actuator_base, learning_rates, regularization
from equipoise.core import validation
from equipoise.core.controller import Turn, request
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation

__all__ = ["Random"]

STEPS = 16
"""Steps between the bounds of an actuator; each is a quarter of an octave of the ratio, or 0.05 of augment_p."""


@dataclass(frozen=True)
class RandomState:
    """State of `random`. `base`: the user's values. `count`: decisions so far.

    `balance`, `strength`: positions of the two actuators, from 0 to STEPS.
    """

    base: Mapping[str, float]
    count: int
    balance: int
    strength: int


@dataclass(frozen=True)
class Random:
    """Random walk within the bounds of `rank`: at each decision each actuator moves one step down, up or not at all.

    No signal is used. `seed`: of the random numbers; the same seed gives the same walk in every run. `pace`: share of
    the run between two decisions, 1/40 as for learned controllers. `warm_up`: share of the run before the first one.
    """

    seed: int = 0
    pace: float = 0.025
    warm_up: float = 0.05

    def __post_init__(self) -> None:
        validation.check_within(1e-4, 1, pace=self.pace)
        validation.check_within(0, 1, warm_up=self.warm_up)

    def required_knobs(self) -> frozenset[str]:
        """Return both learning rates, as `rank` does; the regularisation is changed where it acts."""
        return frozenset({"lr_g", "lr_d"})

    def initial(self, knobs: Knobs) -> RandomState:
        """Return the state with both actuators at the initial positions of `rank`: the middle, and the lower bound."""
        return RandomState(actuator_base(knobs), count=0, balance=STEPS // 2, strength=0)

    def update(self, state: RandomState, observation: Observation) -> Turn[RandomState]:
        """Move the actuators by the random steps that are due."""
        balance, strength = state.balance, state.strength
        due = max(0, math.floor((observation.progress - self.warm_up) / self.pace + 1e-9) + 1)
        count = min(state.count, due)  # progress decreases where a run is resumed with more steps
        if due == count:
            return Turn(observation.knobs, RandomState(state.base, count, balance, strength))
        while count < due:
            # A new source for each step, so that the state needs only the count.
            source = Source(f"{self.seed}:{count}")
            balance = min(max(balance + math.floor(3 * source.random()) - 1, 0), STEPS)
            strength = min(max(strength + math.floor(3 * source.random()) - 1, 0), STEPS)
            count += 1
        values = learning_rates(state.base, RATIO_OCTAVES * (2 * balance / STEPS - 1))
        values |= regularization(state.base, observation, strength / STEPS)
        reasons = dict.fromkeys(values, f"random step {count} with seed {self.seed}")
        return Turn(request(observation.knobs, values), RandomState(state.base, count, balance, strength), reasons)
