"""Changes nothing: the baseline of every comparison."""

from dataclasses import dataclass

from equipoise.core.controller import Turn
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation

__all__ = ["Fixed"]


@dataclass(frozen=True)
class FixedState:
    """Empty state: the controller has no memory."""


@dataclass(frozen=True)
class Fixed:
    """Controller that leaves every knob at the value that the user set."""

    def required_knobs(self) -> frozenset[str]:
        """Return an empty set."""
        return frozenset()

    def initial(self, knobs: Knobs) -> FixedState:
        """Return the empty state."""
        return FixedState()

    def update(self, state: FixedState, observation: Observation) -> Turn[FixedState]:
        """Return the knobs unchanged."""
        return Turn(observation.knobs, state)
