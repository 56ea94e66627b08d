"""Training as an environment of Gymnasium: `equipoise/GanTraining-v0`.

    import gymnasium
    import equipoise.meta
    env = gymnasium.make("equipoise/GanTraining-v0", cutoff=6)

An episode is a run, drawn from the instance set (a contextual Markov decision process; Biedenkapp 2020, Dynamic
Algorithm Configuration). What is seen and turned is that of a kind of policy, exactly as in a run with a controller: an
action moves the same heads at the same steps, so that what is learned here is what acts there. Only, a run is read at
its decisions alone here, and not at each of its first hundred steps, which would take most of the time.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box

from equipoise import catalog, launch
from equipoise.errors import SettingError
from equipoise.events import Evaluated, Event, Finished, Sensed
from equipoise.experiment import Experiment, complete, from_values
from equipoise.knobs import Knobs
from equipoise.meta.episodes import BOUND
from equipoise.meta.stacked import piloted
from equipoise.observations import ControllerState, MetricReading, Observation, Signals, Turn
from equipoise.policy.blank import blank
from equipoise.policy.features import distance
from equipoise.policy.reward import reward
from equipoise.training.loop import Training, train

INSTANCES: Sequence[Mapping[str, Any]] = tuple(
    {
        "data": {"name": "equipoise.meta.points", "shape": shape},
        "gan": {"name": "mlp", "width": 16},
        "metric": "equipoise.meta.held_out",
        "steps": 150,
        "batch_size": 32,
        "evaluate_every": 10,
    }
    for shape in ("moons", "spirals", "pinwheel", "clusters")
)
"""Runs of a second each."""
NOISE = 0.002

Vector = npt.NDArray[np.float32]
Info = dict[str, Any]


class GanTraining(gymnasium.Env[Vector, Vector]):
    """One run an episode, one decision a step.

    Observations: the features of `kind`, (n,) float32 in [-1, 1]. Actions: where its heads are wanted, (k,) float32 in
    [-1, 1]; knobs come to lie within the heads' bounds. An episode is `terminated` by the end of the run or by its
    divergence, which costs `crash_penalty`, and `truncated` after `cutoff` decisions.

    `instance_set`: experiments, or their settings as a file has them; their controllers do not count. `reward`: "brief"
    as in policy/reward.py; or "distance", the fall of log(distance + noise) since the last decision, which adds up to
    what the run came to.
    """

    crash_penalty = -BOUND

    def __init__(
        self,
        instance_set: Sequence[Experiment | Mapping[str, Any]] = INSTANCES,
        kind: str = "ppo",
        cutoff: int = 1000,
        reward: Literal["brief", "distance"] = "brief",
        every: float | None = None,
    ) -> None:
        """`every`: steps, or below 1 the share of the run, between decisions; None for that of the kind.

        Raises SettingError for an empty instance set or a cutoff below 1, UnknownNameError for an unknown kind.
        """
        if not instance_set:
            raise SettingError("the instance set is empty; give at least one experiment")
        if cutoff < 1:
            raise SettingError(f"cutoff = {cutoff}: it must be at least 1")
        if reward not in ("brief", "distance"):
            raise SettingError(f"reward = '{reward}': it is either brief or distance")
        self.metadata = {"render_modes": []}
        policy = blank(kind)
        self.policy = dataclasses.replace(policy, every=every or policy.every)
        self.instance_set = [_experiment(one) for one in instance_set]
        self.cutoff, self.paid = cutoff, reward
        self._steering = catalog.load("controllers", "learnable").steered(self.policy)
        self.observation_space = Box(-1.0, 1.0, (len(self.policy.names),), np.float32)
        self.action_space = Box(-1.0, 1.0, (len(self.policy.heads),), np.float32)
        self._run: _Run | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Vector, Info]:
        """Begin a run and train up to the first decision.

        `options`: {"instance": number} for a certain one; otherwise drawn, as is the seed of the run. Both are told.
        """
        super().reset(seed=seed)
        self.close()
        number = int(self.np_random.integers(len(self.instance_set)))
        number = int((options or {}).get("instance", number))
        drawn = int(self.np_random.integers(2**31))
        experiment = dataclasses.replace(self.instance_set[number], seed=drawn)
        self._run = _Run.of(experiment, self._steering)
        self._run.go_on()
        self._decisions, self._before = 0, distance(self._run.signals)
        return self._run.vector.copy(), {**self._info(), "instance": number, "seed": drawn}

    def step(self, action: Vector) -> tuple[Vector, float, bool, bool, Info]:
        """Act, and train up to the next decision. Raises SettingError before a reset, or after the end."""
        run = self._run
        if run is None or run.finished is not None:
            raise SettingError("the episode has not begun or is over; call reset() first")
        run.act(action)
        run.go_on()
        self._decisions += 1
        earned = self._earned(run)
        over = run.finished is not None
        return run.vector.copy(), earned, over, not over and self._decisions >= self.cutoff, self._info()

    def close(self) -> None:
        """Let go of the run."""
        if self._run is not None:
            self._run.events.close()
        self._run = None

    def _earned(self, run: "_Run") -> float:
        if run.finished is not None and run.finished.reason == "diverged":
            return self.crash_penalty
        before, now = self._before, distance(run.signals)
        self._before = now
        if self.paid == "brief":
            return reward(before, run.signals, run.progress)
        if before is None or now is None:
            return 0.0
        return math.log((max(before, 0.0) + NOISE) / (max(now, 0.0) + NOISE))

    def _info(self) -> Info:
        assert self._run is not None
        training = self._run.training
        known: Info = {"step": training.state.step, "knobs": training.pilot.knobs.values()}
        found = distance(self._run.signals)
        return known if found is None else {**known, "distance": found}


@dataclass(slots=True)
class _Run:
    """A run that stands still at each decision."""

    training: Training
    events: Any
    steering: Any
    vector: Vector
    signals: Signals = dataclasses.field(default_factory=Signals)
    progress: float = 0.0
    seen: Observation[Any] | None = None
    finished: Finished | None = None

    @classmethod
    def of(cls, experiment: Experiment, steering: Any) -> "_Run":
        training = launch.assemble(complete(experiment), None)
        training.pilot = piloted(training, _Watching(steering))
        every = steering.policy.every
        training.pilot.sense_every = max(1, int(every if every >= 1 else every * training.plan.steps))
        training.pilot.eager = 0
        nothing = np.zeros(len(steering.policy.names), np.float32)
        return cls(training, train(training), steering, nothing)

    def go_on(self) -> None:
        """Train up to the next decision, or to the end."""
        for event in self.events:
            self._take(event)
            if isinstance(event, Sensed) and self._due() and event.step < self.training.plan.steps:
                return

    def act(self, action: Vector) -> None:
        """Turn the knobs as a controller with this action would have done at the last reading."""
        assert self.seen is not None
        pilot = self.training.pilot
        pilot.controller = _Acting(self.steering, tuple(float(number) for number in action))
        pilot.decide(dataclasses.replace(self.seen, knobs=pilot.wish))
        pilot.controller = _Watching(self.steering)

    def _due(self) -> bool:
        return bool(self._memory()["due"])

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
            case Evaluated():  # the last one comes after the last reading
                metrics = {**self.signals.metrics, event.metric: MetricReading(event.value, 0, event.better)}
                self.signals = dataclasses.replace(self.signals, metrics=metrics)
            case Finished():
                self.finished = event


@dataclass(frozen=True, eq=False)
class _Watching:
    """Looks as a policy does, and leaves the heads where they are; says in its state what was seen."""

    steering: Any

    def turns(self) -> frozenset[str]:
        knobs: frozenset[str] = self.steering.turns()
        return knobs

    def initial(self, knobs: Knobs) -> ControllerState:
        return {**self.steering.initial(knobs), "vector": [], "due": False}

    def update(self, state: ControllerState, observation: Observation[Any]) -> Turn:
        look = self.steering.look(state, observation)
        look.state.update(vector=list(look.vector), due=look.due)
        turn: Turn = self.steering.decided(look, None)
        return turn


@dataclass(frozen=True, eq=False)
class _Acting:
    """Acts upon what was looked at."""

    steering: Any
    action: tuple[float, ...]

    def turns(self) -> frozenset[str]:
        knobs: frozenset[str] = self.steering.turns()
        return knobs

    def initial(self, knobs: Knobs) -> ControllerState:
        return {**self.steering.initial(knobs), "vector": [], "due": False}

    def update(self, state: ControllerState, observation: Observation[Any]) -> Turn:
        turn: Turn = self.steering.act(state, observation, self.action)
        return turn


def _experiment(one: Experiment | Mapping[str, Any]) -> Experiment:
    made = one if isinstance(one, Experiment) else from_values(one, "the instance set")
    return dataclasses.replace(made, repair=False, threads=made.threads or 1)
