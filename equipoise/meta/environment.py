"""Training as an environment of Gymnasium: `equipoise/GanTraining-v0`.

    import gymnasium
    import equipoise.meta
    env = gymnasium.make("equipoise/GanTraining-v0", cutoff=6)

An episode is a run, drawn from the instance set (a contextual Markov decision process; Biedenkapp 2020, Dynamic
Algorithm Configuration). What is seen and turned is that of a kind of policy, as in a run with a controller: an action
moves the same heads in the same way, so that what is learned here is what acts there. Two things differ:

- A run is read at its decisions alone here, as soon as the policy may make one. Elsewhere it is read after each of its
  first hundred steps, which would take most of the time, and every fifty from then on; a policy that may decide sooner
  than that waits for a reading there.
- An action earns what was measured up to its end, that of the next decision's own step included, which is not seen
  there yet. The controller `ppo` in a run is paid by what it sees: by measurements before the step of a decision, so
  that what an action brought in its last stretch is credited to the next one.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from equipoise.core import catalog
from equipoise.core import validation as bounds
from equipoise.errors import SettingError
from equipoise.experiment.settings import Experiment, from_values
from equipoise.meta.episodes import BOUND
from equipoise.meta.paused import PausedRun, Vector
from equipoise.policy.blank import blank
from equipoise.policy.features import distance
from equipoise.policy.reward import reward

INSTANCES: Sequence[Mapping[str, Any]] = tuple(
    {
        "data": {"name": "equipoise.meta.points", "shape": shape},
        "model": {"name": "mlp", "width": 16},
        "metric": "equipoise.meta.held_out",
        "steps": 150,
        "batch_size": 32,
        "evaluate_every": 10,
    }
    for shape in ("moons", "spirals", "pinwheel", "clusters")
)
"""Runs of a second each."""
NOISE = 0.002
DRAWS = 10
"""Runs that may diverge before their first decision, one after the other, until an episode is given up."""

Info = dict[str, Any]


class GanTraining(gymnasium.Env[Vector, Vector]):
    """One run an episode, one decision a step.

    Observations: the features of `kind`, (n,) float32 in [-1, 1]. Actions: where its heads are wanted, (k,) float32 in
    [-1, 1]; knobs come to lie within the heads' bounds. An episode is `terminated` by the end of the run or by its
    divergence, which costs the action before it `crash_penalty`, and `truncated` after `cutoff` decisions.

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

        Raises SettingError for an empty instance set, a cutoff below 1 or an `every` that is not above 0,
        UnknownNameError for an unknown kind.
        """
        if not instance_set:
            raise SettingError("the instance set is empty; give at least one experiment")
        if cutoff < 1:
            raise SettingError(f"cutoff = {cutoff}: it must be at least 1")
        if reward not in ("brief", "distance"):
            raise SettingError(f"reward = '{reward}': it is either brief or distance")
        bounds.above(0, every=every)
        self.metadata = {"render_modes": []}
        policy = blank(kind)
        self.policy = policy if every is None else dataclasses.replace(policy, every=every)
        self.instance_set = [_experiment(one) for one in instance_set]
        self.cutoff, self.paid = cutoff, reward
        self._steering = catalog.load("controllers", "learnable").steered(self.policy)
        self.observation_space = Box(-1.0, 1.0, (len(self.policy.names),), np.float32)
        self.action_space = Box(-1.0, 1.0, (len(self.policy.heads),), np.float32)
        self._run: PausedRun | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Vector, Info]:
        """Begin a run and train up to the first decision.

        `options`: {"instance": number} for a certain one; otherwise drawn, as is the seed of the run. Both are told. A
        run that diverges before there is anything to decide is drawn anew. Raises SettingError for a number that there
        is not, and for runs that all end before their first decision.
        """
        super().reset(seed=seed)
        self.close()
        for _ in range(DRAWS):
            number, drawn = self._instance(options or {}), int(self.np_random.integers(2**31))
            run = PausedRun.of(dataclasses.replace(self.instance_set[number], seed=drawn), self._steering)
            run.go_on()
            if run.finished is None:
                self._run, self._decisions, self._before = run, 0, distance(run.signals)
                return run.vector.copy(), {**self._info(run), "instance": number, "seed": drawn}
            if run.finished.reason != "diverged":
                raise SettingError(f"instance {number} ends at step {run.finished.step}, before its first decision")
        raise SettingError(f"{DRAWS} runs diverged before their first decision, instance {number} the last of them")

    def step(self, action: Vector) -> tuple[Vector, float, bool, bool, Info]:
        """Act, and train up to the next decision.

        Raises SettingError before a reset, after the end, and for an action that is not of (k,) finite numbers.
        """
        run, wanted = self._run, np.asarray(action, np.float64)
        if run is None or run.finished is not None:
            raise SettingError("the episode has not begun or is over; call reset() first")
        if wanted.shape != self.action_space.shape or not np.isfinite(wanted).all():
            raise SettingError(f"action = {wanted.tolist()}: it must be {len(self.policy.heads)} numbers from -1 to 1")
        run.act(wanted.tolist())
        run.go_on()
        self._decisions += 1
        earned = self._earned(run)
        over = run.finished is not None
        return run.vector.copy(), earned, over, not over and self._decisions >= self.cutoff, self._info(run)

    def close(self) -> None:
        """Let go of the run."""
        self._run = None

    def _instance(self, options: Mapping[str, Any]) -> int:
        drawn, count = int(self.np_random.integers(len(self.instance_set))), len(self.instance_set)
        number = options.get("instance", drawn)
        if number not in range(count):
            raise SettingError(f"instance = {number!r}: it must be from 0 to {count - 1}")
        return int(number)

    def _earned(self, run: PausedRun) -> float:
        if run.finished is not None and run.finished.reason == "diverged":
            return self.crash_penalty
        before, now = self._before, distance(run.signals)
        self._before = now
        if self.paid == "brief":
            return reward(before, run.signals, run.progress)
        if before is None or now is None:
            return 0.0
        return math.log((max(before, 0.0) + NOISE) / (max(now, 0.0) + NOISE))

    def _info(self, run: PausedRun) -> Info:
        state, pilot = run.training.state, run.training.pilot
        known: Info = {"step": state.step, "knobs": pilot.knobs.values()}
        result = distance(run.signals)
        return known if result is None else {**known, "distance": result}


def _experiment(one: Experiment | Mapping[str, Any]) -> Experiment:
    made = one if isinstance(one, Experiment) else from_values(one, "the instance set")
    return dataclasses.replace(made, repair=False, threads=made.threads or 1)
