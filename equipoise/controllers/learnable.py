"""A learned policy: a small network that maps signals to changes of a few knobs, trained over many short runs.

`residual` adjusts the requests of `rank`: the ratio and the pace of the learning rates, the penalties, the instance
noise. With all outputs at 0 it equals `rank`, bit for bit. `brief` has the features, knobs, bounds and initial values
of the brief, for comparison. `suite` was trained on whole runs of small images (benchmarks/control/suite.toml), also on
`rank`. Policies are trained with `equipoise train-policy`, by evolution strategies on the
distance to held-out reals: the gradient of the players' losses would favour policies that disable the discriminator
(shown in the tests).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from equipoise.controllers import _bandit
from equipoise.controllers._bandit import BanditState
from equipoise.controllers._learned_controller import (
    LearnedController,
    PolicyState,
    known_facts,
    open_policy,
    resolve_facts,
)
from equipoise.core import validation
from equipoise.core.controller import RunFacts, Turn
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation
from equipoise.policy.files import Policy

__all__ = ["Learnable"]


@dataclass(frozen=True)
class LearnableState(PolicyState):
    """State of the policy. `adapting`: state of the bandit, None unless the controller adapts."""

    adapting: BanditState | None = None


@dataclass(frozen=True)
class Learnable:
    """Controller that follows a policy. Raises SettingError if the policy does not exist or has other features.

    `policy`: the name of a shipped policy, or a file. `features`: the feature set that it must have. `knobs`: the knobs
    of the policy to change; default: all that act. `adapt`: learn within the run how far to follow the policy. `seed`:
    of the exploration of `adapt`. `epochs`: how often the run sees each training sample. `held_out_samples`: their
    number. `digest`: of the policy. The last three are filled in by the program, the first two of them only for
    policies on the features `suite`.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "residual": {"policy": "residual", "features": "residual"},
        "brief": {"policy": "brief", "features": "brief"},
        "suite": {"policy": "suite", "features": "suite"},
    }

    policy: str = "residual"
    features: str = "residual"
    knobs: tuple[str, ...] | None = None
    adapt: bool = False
    seed: int = 0
    epochs: float | None = None
    held_out_samples: int | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        validation.check_seeds(seed=self.seed)
        validation.check_above(0, epochs=self.epochs, held_out_samples=self.held_out_samples)
        object.__setattr__(self, "digest", open_policy(self.policy, self.digest, self.features).digest)
        self.required_knobs()

    @cached_property
    def _controller(self) -> LearnedController:
        policy = open_policy(self.policy, self.digest, self.features).policy
        return LearnedController.of(policy, self.policy, self.knobs, known_facts(self))

    def resolve(self, facts: RunFacts) -> "Learnable":
        """Return the controller with the facts of a run that the features of its policy use."""
        return dataclasses.replace(self, **resolve_facts(self, facts)._asdict())

    @staticmethod
    def from_policy(policy: Policy, facts: Mapping[str, float | None] | None = None) -> LearnedController:
        """Return a controller that follows a policy in memory, for training one. `facts`: see FeatureSet.compute."""
        return LearnedController.of(policy, "policy", facts=facts)

    def required_knobs(self) -> frozenset[str]:
        """Return the knobs named by the user, the learning rates of the policy, and those that its base requires."""
        return self._controller.required_knobs()

    def scheduled_knobs(self) -> frozenset[str]:
        """Return the knobs with a schedule that the policy does not change."""
        return self._controller.scheduled_knobs()

    def initial(self, knobs: Knobs) -> LearnableState:
        """Return the state before the first decision."""
        state = self._controller.initial(knobs)
        return _with_bandit(state, _bandit.initial_state() if self.adapt else None)

    def update(self, state: LearnableState, observation: Observation) -> Turn[LearnableState]:
        """Return the request of the base controller, adjusted by the policy."""
        inputs = self._controller.observe(state, observation)
        action, bandit = self._controller.follow(inputs), state.adapting
        if bandit is not None:
            bandit = _bandit.update(bandit, observation.signals, self.seed)
            action = None if action is None else _bandit.gain(bandit) * np.asarray(action)
        turn = self._controller.decide(inputs, action)
        return Turn(turn.knobs, _with_bandit(turn.state, bandit), turn.reasons, turn.reward)


def _with_bandit(state: PolicyState, bandit: BanditState | None) -> LearnableState:
    values = {item.name: getattr(state, item.name) for item in dataclasses.fields(PolicyState)}
    return LearnableState(**values, adapting=bandit)
