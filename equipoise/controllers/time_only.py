"""A learned schedule: a policy whose only input is the progress of the run.

It adjusts the requests of `annealed`, with the heads of `learnable`. Compare learned controllers with it: one that uses
signals and is no better has only learned a schedule.
"""

from dataclasses import dataclass
from functools import cached_property

from equipoise.controllers._learned_controller import LearnedController, PolicyState, open_policy
from equipoise.core.controller import Turn
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation

__all__ = ["TimeOnly"]


@dataclass(frozen=True)
class TimeOnly:
    """Controller that follows a policy whose only feature is progress.

    Raises SettingError if the policy does not exist or has other features.

    `policy`: the name of a shipped policy, or a file. `knobs`: the knobs of the policy to change; default: all that
    act. `digest`: of the policy; filled in by the program.
    """

    policy: str = "time_only"
    knobs: tuple[str, ...] | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", open_policy(self.policy, self.digest, "time_only").digest)
        self.required_knobs()

    @cached_property
    def _controller(self) -> LearnedController:
        policy = open_policy(self.policy, self.digest, "time_only").policy
        return LearnedController.of(policy, self.policy, self.knobs)

    def required_knobs(self) -> frozenset[str]:
        """Return the knobs named by the user, and both learning rates."""
        return self._controller.required_knobs()

    def scheduled_knobs(self) -> frozenset[str]:
        """Return all knobs that the policy changes: its only input is the progress."""
        return self._controller.changed_knobs

    def initial(self, knobs: Knobs) -> PolicyState:
        """Return the state before the first decision."""
        return self._controller.initial(knobs)

    def update(self, state: PolicyState, observation: Observation) -> Turn[PolicyState]:
        """Return the request of `annealed`, adjusted by the policy."""
        return self._controller.update(state, observation)
