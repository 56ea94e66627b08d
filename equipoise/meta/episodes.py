"""Short runs under a policy, and what they came to: how near samples ended to held-out reals, and how soon.

    phi = -log((max(distance, 0) + eps) / eps)          0 at its best, whatever is below the noise eps earns nothing
    quality = phi at the end + 0.3 mean phi

The advantage of a run is its quality over that of its base on the same task: same weights, same data, same draws. It
lies in [-3, 3]; a run that diverged has -3. A policy is judged by mean + ½ mean of the worst quarter, so that one which
wins on average and ruins a few runs does not do.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from equipoise.core import student_t as student
from equipoise.core.events import Evaluated, Finished
from equipoise.core.observations import Controller
from equipoise.errors import SettingError
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, complete, require
from equipoise.meta.stacked import Group, piloted
from equipoise.training.loop import Training, train

ANYTIME = 0.3
BOUND = 3.0
SURE = 0.95
DECISIONS = 20
"""Even readings of a short run, each of which costs as much as ten steps of perceptrons. A policy that may decide at
every fortieth of a run decides about as often: see :func:`hurry`."""
AT_ONCE = 64


class Episode(NamedTuple):
    """`measured`: (step, distance), as often as the experiment wanted. `diverged`: whether it had to be stopped."""

    measured: tuple[tuple[int, float], ...]
    diverged: bool

    def quality(self, noise: float) -> float | None:
        """See above; None if it diverged. `noise`: eps, twice the standard error of the distance."""
        values = [value for _, value in self.measured]
        if self.diverged or not values or not all(map(math.isfinite, values)):
            return None
        phi = [-math.log((max(value, 0.0) + noise) / noise) for value in values]
        return phi[-1] + ANYTIME * sum(phi) / len(phi)


def play(experiments: Sequence[Experiment], controllers: Sequence[Controller]) -> list[Episode]:
    """Train each experiment under its controller, in memory; perceptrons many at once, other GANs one by one.

    Raises SettingError for an experiment without a metric of which less is better.
    """
    if require(complete(experiments[0]).model, "model").name.partition(":")[0] == "mlp":
        return _stacked(experiments, controllers)
    return [_alone(experiment, controller) for experiment, controller in zip(experiments, controllers, strict=True)]


def check_distance(training: Training) -> None:
    """Raise SettingError for a run without a metric of which less is better."""
    if training.evaluation is None:
        raise SettingError("policies are trained by a distance: say a metric, such as equipoise.meta.held_out")
    if training.evaluation.metric.better != "lower":
        raise SettingError(
            f"of '{training.evaluation.name}' more is better, and policies are trained by a distance: say another "
            "metric, such as equipoise.meta.held_out"
        )


def hurry(training: Training) -> None:
    """Let a short run be read DECISIONS times, and after each step of its first twentieth, not of its first hundred.

    Of 300 steps: after each of the first 15, and every 15 from then on, 34 readings in all; a policy that may decide
    each 7.5 steps does so after step 8, then at the reading of step 30 and each one after it, 20 times.
    """
    pilot = training.pilot
    pilot.sense_every = max(1, training.plan.steps // DECISIONS)
    pilot.eager = pilot.sense_every


def advantages(episodes: Sequence[Episode], bases: Sequence[Episode], noise: float) -> list[float]:
    """Of each episode over that of its base, in [-BOUND, BOUND]."""
    result = []
    for episode, base in zip(episodes, bases, strict=True):
        mine, theirs = episode.quality(noise), base.quality(noise)
        if mine is None or theirs is None:
            result.append(0.0 if mine is theirs else -BOUND if mine is None else BOUND)
        else:
            result.append(min(BOUND, max(-BOUND, mine - theirs)))
    return result


def merit(gains: Sequence[float]) -> float:
    """mean + ½ mean of the worst quarter (conditional value at risk, Rockafellar 2000)."""
    worst = sorted(gains)[: max(1, len(gains) // 4)]
    return float(np.mean(gains)) + 0.5 * float(np.mean(worst))


def least(gains: Sequence[float]) -> float:
    """What the mean of (N,) gains is at least, at 95 %, for normal gains of a deviation not known; N >= 2."""
    error = float(np.std(gains, ddof=1)) / math.sqrt(len(gains))
    return float(np.mean(gains)) - student.quantile(SURE, len(gains) - 1) * error


def _stacked(experiments: Sequence[Experiment], controllers: Sequence[Controller]) -> list[Episode]:
    result: list[Episode] = []
    for start in range(0, len(experiments), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        group = Group(experiments[rows], controllers[rows])
        for training in group.trainings:
            check_distance(training)
            hurry(training)
        for _ in group.readings():
            pass
        result += [Episode(run.measured, run.reason == "diverged") for run in group.results()]
    return result


def _alone(experiment: Experiment, controller: Controller) -> Episode:
    training = launch.assemble(complete(experiment), None)
    training.pilot = piloted(training, controller)
    check_distance(training)
    hurry(training)
    measured, diverged = [], False
    for event in train(training):
        match event:
            case Evaluated():
                measured.append((event.step, event.value))
            case Finished():
                diverged = event.reason == "diverged"
    return Episode(tuple(measured), diverged)
