"""A training run that waits at each decision of a policy for an action."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from equipoise.core.controller import Turn
from equipoise.core.events import Evaluated, Event, Finished, Sensed
from equipoise.core.knobs import Knobs
from equipoise.core.observations import MetricReading, Observation, Signals
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment
from equipoise.meta.stacked import is_evaluation_due, pilot_with_controller
from equipoise.policy.files import Policy
from equipoise.training.loop import Training, train

Vector = npt.NDArray[np.float32]


def decision_interval(every: float, steps: int) -> int:
    """Return the steps between two decisions in a run of `steps` steps that is read after each step.

    `every`: interval of a policy, a number of steps, or a share of the run if below 1.
    """
    interval = every if every >= 1 else every * steps
    return max(1, math.ceil(interval - 1e-9))


def count_decisions(every: float, steps: int) -> int:
    """Return the number of decisions of such a run; there is no decision after the last step."""
    return (steps - 1) // decision_interval(every, steps)


class PolicyInputs(Protocol):
    """Interface of the inputs of a policy: see controllers/_learned_controller.py."""

    @property
    def features(self) -> tuple[float, ...]:
        """Features (n,) in [-1, 1]."""

    @property
    def is_due(self) -> bool:
        """Whether a decision of the policy is due."""


class PolicyController(Protocol):
    """Interface of controllers that follow a policy and accept external actions: controllers/_learned_controller.py."""

    @property
    def policy(self) -> Policy:
        """The policy."""

    def required_knobs(self) -> frozenset[str]:
        """See Controller."""

    def initial(self, knobs: Knobs) -> object:
        """See Controller."""

    def observe(self, state: object, observation: Observation) -> PolicyInputs:
        """Advance the state by one observation, before a decision."""

    def decide(self, inputs: PolicyInputs, action: None) -> Turn[object]:
        """Return a turn that does not move the heads."""

    def act(self, state: object, observation: Observation, action: Sequence[float]) -> Turn[object]:
        """Return the turn for an action (k,) and an observation that `state` already includes."""


@dataclass(frozen=True)
class StepwiseState:
    """State of the policy's controller, and the features (n,) and due flag of its last observation."""

    policy: object
    features: tuple[float, ...] = ()
    is_due: bool = False


@dataclass(frozen=True, eq=False)
class StepwiseController:
    """Controller that observes like a policy without moving the heads; with an `action`, it moves them accordingly."""

    controller: PolicyController
    action: Sequence[float] | None = None

    def required_knobs(self) -> frozenset[str]:
        """Return the knobs that the policy's controller requires."""
        return self.controller.required_knobs()

    def initial(self, knobs: Knobs) -> StepwiseState:
        """Return the state before the first observation."""
        return StepwiseState(self.controller.initial(knobs))

    def update(self, state: StepwiseState, observation: Observation) -> Turn[StepwiseState]:
        """Observe, or with an action move the heads and preserve the features of the last observation."""
        if self.action is not None:
            turn = self.controller.act(state.policy, observation, self.action)
            return Turn(turn.knobs, dataclasses.replace(state, policy=turn.state), turn.reasons, turn.reward)
        inputs = self.controller.observe(state.policy, observation)
        turn = self.controller.decide(inputs, None)
        after = StepwiseState(turn.state, inputs.features, inputs.is_due)
        return Turn(turn.knobs, after, turn.reasons, turn.reward)


@dataclass(slots=True)
class StepwiseRun:
    """A run that waits at each decision of its policy.

    `vector`: features of the last reading, (n,) float32. `signals`: signals of the last reading, with the metrics
    evaluated since then. `observation`: observation of the last reading. `finished`: the last event of an ended run.
    """

    training: Training
    events: Iterator[Event]
    controller: PolicyController
    vector: Vector
    signals: Signals = dataclasses.field(default_factory=Signals)
    progress: float = 0.0
    observation: Observation | None = None
    finished: Finished | None = None

    @classmethod
    def of(cls, experiment: Experiment, controller: PolicyController) -> "StepwiseRun":
        """Prepare a run that is read only at the steps where its policy may decide."""
        training = assemble(complete(experiment), None)
        training.pilot = pilot_with_controller(training, StepwiseController(controller))
        training.pilot.sense_every = decision_interval(controller.policy.every, training.plan.steps)
        training.pilot.dense_steps = 0
        zeros = np.zeros(len(controller.policy.feature_names), np.float32)
        return cls(training, train(training), controller, zeros)

    def advance(self) -> None:
        """Train up to the next decision, or to the end; a run that has diverged ends without another decision.

        A decision follows the evaluation that is due at its step, which is part of the reward of the previous action.
        Its features are those from before the evaluation, as for a controller in a run.
        """
        for event in self.events:
            self._record(event)
            last = Evaluated if is_evaluation_due(self.training, event.step) else Sensed
            if isinstance(event, last) and self._is_decision(event.step):
                return

    def act(self, action: Sequence[float]) -> None:
        """Change the knobs as a controller with this action would have changed them at the last reading."""
        assert self.observation is not None
        pilot = self.training.pilot
        observation = dataclasses.replace(self.observation, knobs=pilot.target)
        pilot.decide(observation, StepwiseController(self.controller, action))

    def _is_decision(self, step: int) -> bool:
        """Whether a decision follows a step: the step was read, a decision is due, and it is not the last step."""
        observation = self.observation
        if observation is None or observation.step != step or observation.health.verdict == "diverged":
            return False
        return self._state().is_due and step < self.training.plan.steps

    def _state(self) -> StepwiseState:
        state = self.training.pilot.controller_state
        assert isinstance(state, StepwiseState)
        return state

    def _record(self, event: Event) -> None:
        match event:
            case Sensed():
                pilot = self.training.pilot
                self.signals, self.progress = event.signals, event.progress
                self.observation = Observation(
                    event.step, event.progress, event.signals, event.health, pilot.target, pilot.turnable
                )
                self.vector = np.asarray(self._state().features, np.float32)
            case Evaluated():
                metrics = {**self.signals.metrics, event.metric: MetricReading(event.value, 0, event.better)}
                self.signals = dataclasses.replace(self.signals, metrics=metrics)
            case Finished():
                self.finished = event
