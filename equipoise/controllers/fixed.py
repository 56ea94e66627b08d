"""Turns nothing: the baseline of every comparison."""

from dataclasses import dataclass

from equipoise.core.knobs import Knobs
from equipoise.core.observations import ControllerState, Observation, Turn

__all__ = ["Fixed"]


@dataclass(frozen=True)
class Fixed:
    """Leaves every knob where the user set it."""

    def turns(self) -> frozenset[str]:
        """No knob."""
        return frozenset()

    def initial(self, knobs: Knobs) -> ControllerState:
        """Nothing is remembered."""
        return {}

    def update(self, state: ControllerState, observation: Observation[Knobs]) -> Turn:
        """The knobs as they are."""
        return Turn(observation.knobs, state)
