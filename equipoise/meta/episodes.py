"""Short runs under a policy, and their quality, which depends on the distance to held-out reals over the run.

    phi = -log((max(distance, 0) + eps) / eps)          at most 0; distances below the noise eps gain little
    quality = phi at the end + 0.3 mean phi

The advantage of a run is its quality minus the quality of its base policy on the same task: same weights, data and
random numbers. It is clipped to [-3, 3]; a diverged run has -3. The merit of a policy is mean + ½ mean of the worst
quarter, so that a policy that is better on average but ruins a few runs is not selected.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from equipoise.core.controller import AnyController
from equipoise.core.events import Evaluated, Finished
from equipoise.core.student_t import student_t_quantile
from equipoise.errors import SettingError
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, require
from equipoise.meta.stacked import StackedTraining, pilot_with_controller
from equipoise.training.loop import Training, train

ANYTIME = 0.3
BOUND = 3.0
CONFIDENCE = 0.95
READINGS = 20
"""Number of readings of a short run, each of which costs as much as ten steps of a perceptron. A policy that may decide
every fortieth of a run makes about this number of decisions: see :func:`set_short_run_readings`."""
STACK_SIZE = 64


class EpisodeResult(NamedTuple):
    """Result of a run. `distances`: (step, distance) of each evaluation. `diverged`: whether the run diverged."""

    distances: tuple[tuple[int, float], ...]
    diverged: bool

    def quality(self, noise: float) -> float | None:
        """Return the quality as defined above; None if the run diverged. `noise`: eps, twice the standard error."""
        values = [value for _, value in self.distances]
        if self.diverged or not values or not all(map(math.isfinite, values)):
            return None
        phi = [-math.log((max(value, 0.0) + noise) / noise) for value in values]
        return phi[-1] + ANYTIME * sum(phi) / len(phi)


def play_episodes(experiments: Sequence[Experiment], controllers: Sequence[AnyController]) -> list[EpisodeResult]:
    """Train each experiment under its controller, in memory: perceptrons in stacks, other models one by one.

    Raises SettingError for an experiment without a metric where lower is better.
    """
    if is_stacked(experiments[0]):
        return _play_stacked(experiments, controllers)
    return [_play_one(experiment, controller) for experiment, controller in zip(experiments, controllers, strict=True)]


def is_stacked(experiment: Experiment) -> bool:
    """Whether episodes of an experiment are trained in stacks."""
    return require(complete(experiment).model, "model").name.partition(":")[0] == "mlp"


def check_distance_metric(training: Training) -> None:
    """Raise SettingError for a run without a metric where lower is better."""
    if training.evaluation is None:
        raise SettingError(
            "policies are trained on a distance, and the run has no metric; set one, such as equipoise.meta.held_out"
        )
    if training.evaluation.metric.better != "lower":
        raise SettingError(
            f"policies are trained on a distance, but for '{training.evaluation.name}' higher is better; set another "
            "metric, such as equipoise.meta.held_out"
        )


def set_short_run_readings(training: Training) -> None:
    """Read a short run READINGS times, and after each step of its first twentieth instead of its first hundred steps.

    A run of 300 steps has 34 readings: after each of the first 15 steps, and every 15 steps afterwards. A policy that
    may decide every 7.5 steps then decides 20 times: after step 8, and at each reading from step 30 on.
    """
    pilot = training.pilot
    pilot.sense_every = max(1, training.plan.steps // READINGS)
    pilot.dense_steps = pilot.sense_every


def compute_advantages(episodes: Sequence[EpisodeResult], bases: Sequence[EpisodeResult], noise: float) -> list[float]:
    """Return the advantage of each episode over its base, in [-BOUND, BOUND]."""
    result = []
    for episode, base in zip(episodes, bases, strict=True):
        quality, base_quality = episode.quality(noise), base.quality(noise)
        if quality is None or base_quality is None:
            result.append(0.0 if quality is base_quality else -BOUND if quality is None else BOUND)
        else:
            result.append(min(BOUND, max(-BOUND, quality - base_quality)))
    return result


def compute_merit(advantages: Sequence[float]) -> float:
    """Return mean + ½ mean of the worst quarter (conditional value at risk, Rockafellar 2000)."""
    worst = sorted(advantages)[: max(1, len(advantages) // 4)]
    return float(np.mean(advantages)) + 0.5 * float(np.mean(worst))


def mean_lower_bound(values: Sequence[float]) -> float:
    """Return the one-sided 95 % lower confidence bound of the mean of (N,) normal values, N >= 2."""
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return float(np.mean(values)) - student_t_quantile(CONFIDENCE, len(values) - 1) * error


def _play_stacked(experiments: Sequence[Experiment], controllers: Sequence[AnyController]) -> list[EpisodeResult]:
    result: list[EpisodeResult] = []
    for start in range(0, len(experiments), STACK_SIZE):
        rows = slice(start, start + STACK_SIZE)
        group = StackedTraining(experiments[rows], controllers[rows])
        for training in group.trainings:
            check_distance_metric(training)
            set_short_run_readings(training)
        for _ in group.readings():
            pass
        result += [EpisodeResult(run.metric_values, run.reason == "diverged") for run in group.results()]
    return result


def _play_one(experiment: Experiment, controller: AnyController) -> EpisodeResult:
    training = assemble(complete(experiment), None)
    training.pilot = pilot_with_controller(training, controller)
    check_distance_metric(training)
    set_short_run_readings(training)
    distances, diverged = [], False
    for event in train(training):
        match event:
            case Evaluated():
                distances.append((event.step, event.value))
            case Finished():
                diverged = event.reason == "diverged"
    return EpisodeResult(tuple(distances), diverged)
