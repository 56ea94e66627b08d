"""Gymnasium environment in which an episode is the training of a GAN: `equipoise/GanTraining-v0`.

    import gymnasium
    import equipoise.meta
    env = gymnasium.make("equipoise/GanTraining-v0", cutoff=6)

An episode is a run, sampled from the instance set (a contextual Markov decision process; Biedenkapp 2020, Dynamic
Algorithm Configuration). Observations and actions are the features and heads of a kind of policy, as in a run with a
controller, so a policy that is trained in the environment can be used by a controller. There are two differences:

- Readings. The environment reads a run only when the policy may decide. Other runs are read after each of the first
  hundred steps, which would take most of the time in short runs, and every fifty steps afterwards; a policy that may
  decide more often waits for the next reading.
- Rewards. The reward of an action includes all measurements up to the step of the next decision, that step included.
  The controller `ppo` observes only the measurements before the step of a decision, so a late effect of an action is
  credited to the next action.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal, SupportsFloat, cast

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from equipoise.core import catalog
from equipoise.core import validation as bounds
from equipoise.errors import SettingError
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.settings import Experiment
from equipoise.meta.episodes import BOUND
from equipoise.meta.stepwise_run import StepwiseRun, Vector
from equipoise.policy.features import distance
from equipoise.policy.kinds import untrained_policy
from equipoise.policy.reward import reward

INSTANCES: Sequence[Mapping[str, object]] = tuple(
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
"""Default instances: runs of about a second each."""
NOISE = 0.002
MAX_RESTARTS = 10
"""Maximum number of consecutive runs that diverge before their first decision; after these, `reset` fails."""

Info = dict[str, object]


class GanTraining(gymnasium.Env[Vector, Vector]):
    """Environment in which an episode is one run and a step one decision.

    Observations: the features of `kind`, (n,) float32 in [-1, 1]. Actions: positions of its heads, (k,) float32 in
    [-1, 1], which map to knobs within the bounds of the heads. An episode is `terminated` by the end of the run or by
    its divergence, for which the last action gets `crash_penalty`, and `truncated` after `cutoff` decisions.

    `instance_set`: experiments, or their settings as in a file; their controllers are ignored. `reward`: "brief" as in
    policy/reward.py; or "distance", the decrease of log(distance + noise) since the last decision.
    """

    crash_penalty = -BOUND

    def __init__(
        self,
        instance_set: Sequence[Experiment | Mapping[str, object]] = INSTANCES,
        kind: str = "ppo",
        cutoff: int = 1000,
        reward: Literal["brief", "distance"] = "brief",
        every: float | None = None,
    ) -> None:
        """`every`: steps between decisions, or a share of the run if below 1; default: the interval of the kind.

        Raises SettingError for an empty instance set, a cutoff below 1 or an `every` that is not positive,
        UnknownNameError for an unknown kind.
        """
        if not instance_set:
            raise SettingError("the instance set is empty; add at least one experiment")
        if cutoff < 1:
            raise SettingError(f"cutoff = {cutoff}: it must be at least 1")
        if reward not in ("brief", "distance"):
            raise SettingError(f"reward = '{reward}': it must be brief or distance")
        bounds.check_above(0, every=every)
        self.metadata = {"render_modes": []}
        policy = untrained_policy(kind)
        self.policy = policy if every is None else dataclasses.replace(policy, every=every)
        self.instance_set = [_parse_instance(instance) for instance in instance_set]
        self.cutoff, self.reward = cutoff, reward
        self._controller = catalog.load("controllers", "learnable").from_policy(self.policy)
        self.observation_space = Box(-1.0, 1.0, (len(self.policy.feature_names),), np.float32)
        self.action_space = Box(-1.0, 1.0, (len(self.policy.heads),), np.float32)
        self._run: StepwiseRun | None = None
        self._decisions = 0
        self._last_distance: float | None = None

    def reset(self, *, seed: int | None = None, options: Mapping[str, object] | None = None) -> tuple[Vector, Info]:
        """Start a run and train to its first decision.

        `options`: {"instance": number} selects an instance; by default it is sampled, as is the seed of the run. Both
        are in the info. A run that diverges before its first decision is replaced. Raises SettingError for an unknown
        instance, and if all runs end before their first decision.
        """
        super().reset(seed=seed)
        self.close()
        for _ in range(MAX_RESTARTS):
            number, run_seed = self._select_instance(options or {}), int(self.np_random.integers(2**31))
            run = StepwiseRun.of(dataclasses.replace(self.instance_set[number], seed=run_seed), self._controller)
            run.advance()
            if run.finished is None:
                self._run, self._decisions, self._last_distance = run, 0, distance(run.signals)
                return run.vector.copy(), {**_info(run), "instance": number, "seed": run_seed}
            if run.finished.reason != "diverged":
                raise SettingError(
                    f"instance {number} ends at step {run.finished.step}, before its first decision; increase steps"
                )
        raise SettingError(
            f"{MAX_RESTARTS} runs diverged before their first decision, the last of instance {number}; reduce its lr_g "
            "and lr_d"
        )

    def step(self, action: Vector) -> tuple[Vector, float, bool, bool, Info]:
        """Apply an action, and train to the next decision.

        Raises SettingError before a reset, after the end, and for an action that is not (k,) finite numbers.
        """
        run, positions = self._run, np.asarray(action, np.float64)
        if run is None or run.finished is not None:
            raise SettingError("the episode has not started or has ended; call reset() first")
        if positions.shape != self.action_space.shape or not np.isfinite(positions).all():
            count = len(self.policy.heads)
            raise SettingError(f"action = {positions.tolist()}: it must be {count} numbers from -1 to 1")
        run.act(positions.tolist())
        run.advance()
        self._decisions += 1
        reward = self._compute_reward(run)
        terminated = run.finished is not None
        truncated = not terminated and self._decisions >= self.cutoff
        return run.vector.copy(), reward, terminated, truncated, _info(run)

    def close(self) -> None:
        """Release the run."""
        self._run = None

    def _select_instance(self, options: Mapping[str, object]) -> int:
        count = len(self.instance_set)
        sampled = int(self.np_random.integers(count))
        number = options.get("instance", sampled)
        if number not in range(count):
            raise SettingError(f"instance = {number!r}: it must be from 0 to {count - 1}")
        return int(cast(int, number))

    def _compute_reward(self, run: StepwiseRun) -> float:
        if run.finished is not None and run.finished.reason == "diverged":
            return self.crash_penalty
        before, now = self._last_distance, distance(run.signals)
        self._last_distance = now
        if self.reward == "brief":
            return reward(before, run.signals, run.progress)
        if before is None or now is None:
            return 0.0
        return math.log((max(before, 0.0) + NOISE) / (max(now, 0.0) + NOISE))


class RecordRewards(gymnasium.Wrapper[Vector, Vector, Vector, Vector]):
    """Wrapper that selects the instances in order, and records the reward of each decision in `rewards`."""

    def __init__(self, env: GanTraining) -> None:
        super().__init__(env)
        self.rewards: list[float] = []
        self._count = len(env.instance_set)
        self._next = 0

    def reset(self, *, seed: int | None = None, options: Mapping[str, object] | None = None) -> tuple[Vector, Info]:
        """Start the next instance; after the last one, the first again."""
        number = self._next % self._count
        self._next += 1
        return self.env.reset(seed=seed, options={**(options or {}), "instance": number})

    def step(self, action: Vector) -> tuple[Vector, SupportsFloat, bool, bool, Info]:
        """Apply an action and record its reward."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.rewards.append(float(reward))
        return observation, float(reward), terminated, truncated, info


def _info(run: StepwiseRun) -> Info:
    info: Info = {"step": run.training.state.step, "knobs": run.training.pilot.knobs.values()}
    current = distance(run.signals)
    return info if current is None else {**info, "distance": current}


def _parse_instance(instance: Experiment | Mapping[str, object]) -> Experiment:
    experiment = instance if isinstance(instance, Experiment) else parse_experiment(instance, "the instance set")
    return dataclasses.replace(experiment, repair=False, threads=experiment.threads or 1)
