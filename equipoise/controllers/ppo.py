"""A policy trained by reinforcement learning (PPO): the learning rate and beta1 of both players, every 50 steps.

For comparison with the brief: its features are progress, pixel FID and both losses; it sets one learning rate within
1e-4 to 3e-4 and beta1 within 0.3 to 0.7. Policies are trained by `equipoise train-policy` with Stable-Baselines3 (the
extra `rl`); following a policy, and learning within a run, needs numpy alone.

`ppo:suite` avoids what makes PPO fail at such control (arXiv 2512.03805): it requests one of three values of each knob
(the base's, or the end of the range to either side) instead of a number, and was trained without discount, on the
advantage over the base run on the same task.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from equipoise.controllers import _ppo_update
from equipoise.controllers._learned_controller import (
    LearnedController,
    PolicyState,
    known_facts,
    open_policy,
    resolve_facts,
)
from equipoise.controllers._ppo_update import LearningState, LearningStep
from equipoise.core import validation
from equipoise.core.controller import RunFacts, Turn
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation
from equipoise.errors import SettingError
from equipoise.policy.features import distance
from equipoise.policy.reward import reward

__all__ = ["PPO"]


@dataclass(frozen=True)
class PPOState(PolicyState):
    """State of the policy. `distance`: the metric at the last decision, None if unknown.

    `learning`: state of learning within the run, None unless the controller learns.
    """

    distance: float | None = None
    learning: LearningState | None = None


@dataclass(frozen=True)
class PPO:
    """Controller that follows a policy, and computes the reward of each decision.

    Raises SettingError if the policy does not exist or has other features.

    `policy`: the name of a shipped policy, or a file. `features`: the feature set that it must have. `knobs`: the knobs
    of the policy to change; default: all that act. `learn`: explore, and continue learning within the run. `rollout`:
    decisions per update of the policy. `leash`: the largest Kullback-Leibler divergence of the learned policy from the
    file. `seed`: of the exploration. `epochs`: how often the run sees each training sample. `held_out_samples`: their
    number. `digest`: of the policy. The last three are filled in by the program, the first two of them only for
    policies on the features `suite`.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "brief": {"policy": "ppo"},
        "learning": {"learn": True},
        "suite": {"policy": "ppo_suite", "features": "suite"},
    }
    sees_distance: ClassVar[bool] = True
    """Whether a metric (lower is better) is one of the features. Without one, only the other features are used."""

    policy: str = "ppo"
    features: str = "ppo"
    knobs: tuple[str, ...] | None = None
    learn: bool = False
    rollout: int = 8
    leash: float = 0.5
    seed: int = 0
    epochs: float | None = None
    held_out_samples: int | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        validation.check_at_least(1, rollout=self.rollout)
        validation.check_above(0, leash=self.leash)
        validation.check_seeds(seed=self.seed)
        validation.check_above(0, epochs=self.epochs, held_out_samples=self.held_out_samples)
        loaded = open_policy(self.policy, self.digest, self.features)
        object.__setattr__(self, "digest", loaded.digest)
        self.required_knobs()
        if self.learn and loaded.policy.log_std is None:
            raise SettingError(f"the policy '{self.policy}' cannot learn within a run; omit learn")

    @cached_property
    def _controller(self) -> LearnedController:
        policy = open_policy(self.policy, self.digest, self.features).policy
        return LearnedController.of(policy, self.policy, self.knobs, known_facts(self))

    def resolve(self, facts: RunFacts) -> "PPO":
        """Return the controller with the facts of a run that the features of its policy use."""
        return dataclasses.replace(self, **resolve_facts(self, facts)._asdict())

    def required_knobs(self) -> frozenset[str]:
        """Return the knobs named by the user, and the learning rates of the policy."""
        return self._controller.required_knobs()

    def scheduled_knobs(self) -> frozenset[str]:
        """Return the knobs with a schedule that the policy does not change."""
        return self._controller.scheduled_knobs()

    def initial(self, knobs: Knobs) -> PPOState:
        """Return the state before the first decision."""
        learning = _ppo_update.initial_state(self._controller.policy) if self.learn else None
        return _with_learning(self._controller.initial(knobs), None, learning)

    def update(self, state: PPOState, observation: Observation) -> Turn[PPOState]:
        """Return the action of the policy if a decision is due, and the reward of the previous decision."""
        inputs = self._controller.observe(state, observation)
        if not inputs.is_due:
            turn = self._controller.decide(inputs, None)
            return Turn(turn.knobs, _with_learning(turn.state, state.distance, state.learning), turn.reasons)
        last_reward = reward(state.distance, observation.signals, observation.progress)
        if state.learning is None:
            learning, turn = None, self._controller.decide(inputs, self._controller.follow(inputs), last_reward)
        else:
            learning, action = self._explore(state.learning, inputs.features, last_reward)
            turn = self._controller.decide(inputs, [min(1.0, max(-1.0, number)) for number in action], last_reward)
        updated = _with_learning(turn.state, distance(observation.signals), learning)
        return Turn(turn.knobs, updated, turn.reasons, turn.reward)

    def _explore(
        self, state: LearningState, features: tuple[float, ...], last_reward: float
    ) -> tuple[LearningState, tuple[float, ...]]:
        """Record the reward of the last action, learn if a rollout is complete, and sample an unclipped action (k,)."""
        policy, steps = self._controller.policy, state.steps
        if steps:
            steps = (*steps[:-1], dataclasses.replace(steps[-1], reward=last_reward))
        state = dataclasses.replace(state, steps=steps)
        if len(steps) >= self.rollout:
            state = _ppo_update.learn(state, policy, features, self.leash)
        learner = _ppo_update.learner_of(policy).with_flat(state.weights)
        sample, log_probability = _ppo_update.sample_action(learner, features, (self.seed, state.decisions))
        action = tuple(sample.tolist())
        step = LearningStep(features, action, log_probability)
        return dataclasses.replace(state, decisions=state.decisions + 1, steps=(*state.steps, step)), action


def _with_learning(state: PolicyState, distance: float | None, learning: LearningState | None) -> PPOState:
    values = {item.name: getattr(state, item.name) for item in dataclasses.fields(PolicyState)}
    return PPOState(**values, distance=distance, learning=learning)
