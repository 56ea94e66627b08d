"""A run that stands still at each decision of a policy, until it is told what to do."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from equipoise.core.events import Evaluated, Event, Finished, Sensed
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Controller, ControllerState, MetricReading, Observation, Signals, Turn
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, complete
from equipoise.meta.stacked import is_measured, piloted
from equipoise.policy.files import Policy
from equipoise.training.loop import Training, train

Vector = npt.NDArray[np.float32]


def interval(every: float, steps: int) -> int:
    """Steps between decisions, of a policy's `every`, in a run of so many that is read after each of them."""
    wanted = every if every >= 1 else every * steps
    return max(1, math.ceil(wanted - 1e-9))


def decisions(every: float, steps: int) -> int:
    """How many decisions such a run has; what would be decided after its last step is none."""
    return (steps - 1) // interval(every, steps)


class Steered(Controller, Protocol):
    """A controller that follows a policy, and may be led by hand: see controllers/_policy.py."""

    @property
    def policy(self) -> Policy:
        """What it follows."""

    def look(self, state: ControllerState, observation: Observation[Any]) -> Any:
        """What is to be seen, whether it is time to decide, and the state after that."""

    def decided(self, look: Any, action: None) -> Turn:
        """The turn that leaves the heads where they are."""

    def act(self, state: ControllerState, observation: Observation[Any], action: Sequence[float]) -> Turn:
        """The turn that an action (k,) comes to, upon an observation that was looked at already."""


@dataclass(slots=True)
class PausedRun:
    """A run that stands still. `vector`: what was seen last, (n,) float32; `signals`: with what was measured after."""

    training: Training
    events: Iterator[Event]
    steering: Steered
    vector: Vector
    signals: Signals = dataclasses.field(default_factory=Signals)
    progress: float = 0.0
    seen: Observation[Any] | None = None
    finished: Finished | None = None

    @classmethod
    def of(cls, experiment: Experiment, steering: Steered) -> "PausedRun":
        """A run that has not begun, and will be read where its policy may decide and nowhere else."""
        training = launch.assemble(complete(experiment), None)
        training.pilot = piloted(training, _Led(steering))
        training.pilot.sense_every = interval(steering.policy.every, training.plan.steps)
        training.pilot.eager = 0
        nothing = np.zeros(len(steering.policy.names), np.float32)
        return cls(training, train(training), steering, nothing)

    def go_on(self) -> None:
        """Train up to the next decision, or to the end; a run that has diverged ends without another decision.

        A decision lies behind the measurement that is due at its step, for the action before it has earned that one.
        What is seen there is of before the measurement, as a controller in a run sees it.
        """
        for event in self.events:
            self._take(event)
            last = Evaluated if is_measured(self.training, event.step) else Sensed
            if isinstance(event, last) and self._decides(event.step):
                return

    def act(self, action: Sequence[float]) -> None:
        """Turn the knobs as a controller with this action would have done at the last reading."""
        assert self.seen is not None
        pilot = self.training.pilot
        pilot.controller = _Led(self.steering, action)
        pilot.decide(dataclasses.replace(self.seen, knobs=pilot.wish))
        pilot.controller = _Led(self.steering)

    def _decides(self, step: int) -> bool:
        """Whether there is a decision after a step: read, due, and with steps to come that it can change."""
        seen = self.seen
        if seen is None or seen.step != step or seen.health.verdict == "diverged":
            return False
        return bool(self._memory()["due"]) and step < self.training.plan.steps

    def _memory(self) -> ControllerState:
        memory: ControllerState = self.training.pilot.state()[1]["controller"]
        return memory

    def _take(self, event: Event) -> None:
        match event:
            case Sensed():
                pilot = self.training.pilot
                self.signals, self.progress = event.signals, event.progress
                known = event.step, event.progress, event.signals, event.health
                self.seen = Observation(*known, pilot.wish, pilot.acting)
                self.vector = np.asarray(self._memory()["vector"], np.float32)
            case Evaluated():
                metrics = {**self.signals.metrics, event.metric: MetricReading(event.value, 0, event.better)}
                self.signals = dataclasses.replace(self.signals, metrics=metrics)
            case Finished():
                self.finished = event


@dataclass(frozen=True, eq=False)
class _Led:
    """Looks as a policy does, leaves the heads where they are, and says in its state what was seen.

    With an `action` it acts upon what was looked at.
    """

    steering: Steered
    action: Sequence[float] | None = None

    def turns(self) -> frozenset[str]:
        return self.steering.turns()

    def initial(self, knobs: Knobs) -> ControllerState:
        return {**self.steering.initial(knobs), "vector": [], "due": False}

    def update(self, state: ControllerState, observation: Observation[Any]) -> Turn:
        if self.action is not None:
            return self.steering.act(state, observation, self.action)
        look = self.steering.look(state, observation)
        look.state.update(vector=list(look.vector), due=look.due)
        return self.steering.decided(look, None)
