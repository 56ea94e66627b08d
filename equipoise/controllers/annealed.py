"""Open loop: a schedule per knob, of the run's progress alone."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from equipoise.knobs import Knobs
from equipoise.observations import ControllerState, Observation, Turn
from equipoise.schedules import parse

__all__ = ["Annealed"]


@dataclass(frozen=True)
class Annealed:
    """Sets each knob that has a schedule to schedule(progress).

    `schedules`: knob -> schedule of its value, as :mod:`equipoise.schedules` writes it. `factors`: knob -> schedule of
    a factor on the value that the user set. Without either, both learning rates fall to a fiftieth along a cosine:
    the part of the R3GAN recipe (Huang 2024, appendix E) that suits every GAN, with the end that drew the best digits.
    """

    schedules: Mapping[str, str | float] = field(default_factory=dict)
    factors: Mapping[str, str | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.schedules and not self.factors:
            object.__setattr__(self, "factors", {"lr_g": "cosine(1, 0.02)", "lr_d": "cosine(1, 0.02)"})
        for text in (*self.schedules.values(), *self.factors.values()):
            parse(text)

    def turns(self) -> frozenset[str]:
        """The knobs that have a schedule."""
        return frozenset(self.schedules) | frozenset(self.factors)

    def initial(self, knobs: Knobs) -> ControllerState:
        """The values that the user set, which the factors multiply."""
        return {name: getattr(knobs, name) for name in self.factors}

    def update(self, state: ControllerState, observation: Observation[Knobs]) -> Turn:
        """Each schedule at this progress."""
        progress = observation.progress
        values = {name: state[name] * parse(text)(progress) for name, text in self.factors.items()}
        values |= {name: parse(text)(progress) for name, text in self.schedules.items()}
        texts = {**self.factors, **self.schedules}
        why = {name: f"{text} at {progress:.0%} of the run" for name, text in texts.items()}
        return Turn(dataclasses.replace(observation.knobs, **values), state, why)
