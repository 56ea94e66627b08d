"""A learned policy: a small network that turns a few scalars by what it sees, trained over many short runs.

`residual` stands on `rank` and moves what that wants: the ratio of the learning rates and their pace, the penalties,
the instance noise. A policy of zeros is `rank`, bit for bit. `brief` has the features, knobs, bounds and initial values
of the brief, for parity. Policies are trained by `equipoise train-policy`, by evolution strategies on the distance to
held-out reals: going down the gradient of the players' own losses learns to blind the discriminator (tests).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from equipoise.controllers import _adapting as adapting
from equipoise.controllers._policy import Steering, opened
from equipoise.core.knobs import Knobs
from equipoise.core.observations import ControllerState, Observation, Turn
from equipoise.errors import SettingError
from equipoise.policy.files import Policy

__all__ = ["Learnable"]


@dataclass(frozen=True)
class Learnable:
    """Follows a policy. Raises SettingError if there is none, or it does not suit.

    `policy`: a shipped one by its name, or a file. `features`: what it must see. `knobs`: which of its knobs to turn,
    None for all that act. `adapt`: find out within the run how far to follow it. `seed`: of what adapting tries.
    `digest`: of the policy; written by the program.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "residual": {"policy": "residual", "features": "residual"},
        "brief": {"policy": "brief", "features": "brief"},
    }

    policy: str = "residual"
    features: str = "residual"
    knobs: tuple[str, ...] | None = None
    adapt: bool = False
    seed: int = 0
    digest: str | None = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise SettingError(f"seed = {self.seed}: it must be at least 0")
        object.__setattr__(self, "digest", opened(self.policy, self.digest, self.features).digest)
        self.turns()

    @cached_property
    def _steering(self) -> Steering:
        policy = opened(self.policy, self.digest, self.features).policy
        return Steering.of(policy, self.policy, self.knobs)

    @staticmethod
    def steered(policy: Policy) -> Steering:
        """A controller that follows a policy that is in no file yet: for training one."""
        return Steering.of(policy, "policy")

    def turns(self) -> frozenset[str]:
        """The policy's knobs, and those of the controller below it."""
        return self._steering.turns()

    def initial(self, knobs: Knobs) -> ControllerState:
        """Where the user set the knobs, and nothing seen."""
        return self._steering.initial(knobs) | ({"adapting": adapting.unlearned()} if self.adapt else {})

    def update(self, state: ControllerState, observation: Observation[Any]) -> Turn:
        """What the controller below wants, moved by the policy where it is time for it to decide."""
        if not self.adapt:
            return self._steering.update(state, observation)
        look = self._steering.look(state, observation)
        look.state["adapting"] = adapting.adapted(state["adapting"], observation.signals, self.seed)
        followed = adapting.gain(look.state["adapting"])
        return self._steering.decided(look, followed * self._steering.policy.actor(look.vector) if look.due else None)
