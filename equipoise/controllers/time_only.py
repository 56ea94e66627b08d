"""A learned schedule: a policy that sees the progress of the run and nothing else.

It stands on `annealed`, and has the heads of `learnable`. It is what a learned controller is to be compared with: one
that looks and is no better has learned a schedule.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from equipoise.controllers._policy import Steering, opened
from equipoise.core.knobs import Knobs
from equipoise.core.observations import ControllerState, Observation, Turn

__all__ = ["TimeOnly"]


@dataclass(frozen=True)
class TimeOnly:
    """Follows a policy that sees progress alone. Raises SettingError if there is none, or it sees more.

    `policy`: a shipped one by its name, or a file. `knobs`: which of its knobs to turn, None for all that act.
    `digest`: of the policy; written by the program.
    """

    policy: str = "time_only"
    knobs: tuple[str, ...] | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", opened(self.policy, self.digest, "time_only").digest)
        self.turns()

    @cached_property
    def _steering(self) -> Steering:
        return Steering.of(opened(self.policy, self.digest, "time_only").policy, self.policy, self.knobs)

    def turns(self) -> frozenset[str]:
        """The policy's knobs, and both learning rates."""
        return self._steering.turns()

    def initial(self, knobs: Knobs) -> ControllerState:
        """Where the user set the knobs."""
        return self._steering.initial(knobs)

    def update(self, state: ControllerState, observation: Observation[Any]) -> Turn:
        """What `annealed` wants, moved by the learned schedule."""
        return self._steering.update(state, observation)
