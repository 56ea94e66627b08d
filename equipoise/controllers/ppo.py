"""A policy learned by reinforcement (PPO): the learning rate and beta1 of both players, every 50 steps.

For parity with the brief: it sees progress, pixel FID and both losses, and sets one learning rate within 1e-4 to 3e-4
and beta1 within 0.3 to 0.7. Policies are trained by `equipoise train-policy` with Stable-Baselines3 (the extra `rl`);
following one, and learning on within a run, needs numpy alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from equipoise.controllers import _learning as learning
from equipoise.controllers._policy import Steering, opened
from equipoise.core import validation as bounds
from equipoise.core.knobs import Knobs
from equipoise.core.observations import ControllerState, Observation, Turn
from equipoise.policy.features import distance
from equipoise.policy.reward import reward

__all__ = ["PPO"]


@dataclass(frozen=True)
class PPO:
    """Follows a policy, and says what each decision has earned. Raises SettingError if there is none, or another kind.

    `policy`: a shipped one by its name, or a file. `knobs`: which of its knobs to turn, None for all that act.
    `learn`: explore, and learn on within the run. `rollout`: decisions that are learned from at a time. `leash`: how
    far learning may lead from the file, as a Kullback-Leibler divergence. `seed`: of exploring. `digest`: of the
    policy; written by the program.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"brief": {"policy": "ppo"}, "learning": {"learn": True}}
    sees_distance: ClassVar[bool] = True
    """It steers by a metric of which less is better, and is blind without; other controllers do not."""

    policy: str = "ppo"
    knobs: tuple[str, ...] | None = None
    learn: bool = False
    rollout: int = 8
    leash: float = 0.5
    seed: int = 0
    digest: str | None = None

    def __post_init__(self) -> None:
        bounds.at_least(1, rollout=self.rollout)
        bounds.above(0, leash=self.leash)
        bounds.seeds(seed=self.seed)
        object.__setattr__(self, "digest", opened(self.policy, self.digest, "ppo").digest)
        self.turns()

    @cached_property
    def _steering(self) -> Steering:
        return Steering.of(opened(self.policy, self.digest, "ppo").policy, self.policy, self.knobs)

    def turns(self) -> frozenset[str]:
        """The policy's knobs."""
        return self._steering.turns()

    def initial(self, knobs: Knobs) -> ControllerState:
        """Where the user set the knobs; what was learned, if it learns."""
        learned = {"learning": learning.unlearned(self._steering.policy)} if self.learn else {}
        return {**self._steering.initial(knobs), "distance": None, **learned}

    def update(self, state: ControllerState, observation: Observation[Any]) -> Turn:
        """What the policy makes of what it sees, when it is time, and the reward of what it made before."""
        look = self._steering.look(state, observation)
        if not look.due:
            return self._steering.decided(look, None)
        earned = reward(state["distance"], observation.signals, observation.progress)
        look.state["distance"] = distance(observation.signals)
        if not self.learn:
            return self._steering.decided(look, self._steering.policy.actor(look.vector), earned)
        look.state["learning"], action = self._learned(state["learning"], look.vector, earned)
        return self._steering.decided(look, [min(1.0, max(-1.0, number)) for number in action], earned)

    def _learned(
        self, state: Mapping[str, Any], vector: tuple[float, ...], earned: float
    ) -> tuple[dict[str, Any], list[float]]:
        """What is remembered after one more decision, and its action (k,), not clipped."""
        policy, kept = self._steering.policy, dict(state)
        if kept["steps"]:
            kept["steps"] = [*kept["steps"][:-1], {**kept["steps"][-1], "reward": earned}]
        if len(kept["steps"]) >= self.rollout:
            kept = learning.learned(kept, policy, vector, self.leash)
        here = learning.learner(policy).with_flat(kept["weights"])
        action, log = learning.sampled(here, vector, (self.seed, kept["decisions"]))
        step = {"seen": list(vector), "action": action.tolist(), "log": log}
        return {**kept, "decisions": kept["decisions"] + 1, "steps": [*kept["steps"], step]}, action.tolist()
