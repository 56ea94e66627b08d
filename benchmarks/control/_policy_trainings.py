"""The trainings of suite policies: the main one, smaller ones for comparison, and parts of the main one."""

from dataclasses import dataclass

import numpy as np
from _policy_runs import KIND, execute_here, policy_run, quality
from _suite_runs import RunStore

from equipoise.comparison.suite.tasks import Suite
from equipoise.meta.antithetic import (
    AntitheticSettings,
    bounded_difference,
    mirrored_weights,
    sample_directions,
    step_weights,
)
from equipoise.policy.kinds import KINDS, untrained_policy
from equipoise.policy.network import FloatArray

FIRST_SEED = 1000
"""Seed of the data and weights of the first generation; each generation has new ones."""
TASKS = (
    *("emoji_64_short", "emoji_64_long", "emoji_all_long", "emoji_400_fast", "outlines_64_weak", "outlines_400_long"),
    *("outlines_all_fast", "outlines_400_32px", "bursts_64_half", "bursts_400_short", "bursts_400_sngan"),
    *("bursts_64_wgan_gp", "mixtures_64_points"),
)
CHEAP = ("emoji_64_short", "bursts_400_short", "outlines_all_fast", "mixtures_64_points")
"""The tasks of the ablations, of 3 to 5 s."""
SETTINGS = AntitheticSettings()
FEATURES = ("progress", "rank_train_fake", "rank_train_held_out", "distance_increase", "epochs")
"""The features with weights. The other two of the kind stay at 0: fewer weights need fewer runs."""
WITHOUT_PROGRESS = tuple(name for name in FEATURES if name != "progress")
KNOBS = tuple(head.name for head in KINDS[KIND].heads)
HALVES = 2
"""A generation trains on every second task, in turn."""


@dataclass(frozen=True)
class PolicyTraining:
    """A training. `features`: those with weights, besides the constant. `heads`: those with weights.

    `scale`: factor of the trained weights.
    """

    generations: int
    tasks: tuple[str, ...] = TASKS
    features: tuple[str, ...] = FEATURES
    heads: tuple[str, ...] = KNOBS
    settings: AntitheticSettings = SETTINGS
    scale: float = 1.0

    @property
    def pairs(self) -> int:
        """Number of pairs of runs of all generations."""
        return sum(len(self.tasks_of(generation)) for generation in range(self.generations))

    def tasks_of(self, generation: int) -> tuple[str, ...]:
        """Return the tasks of a generation."""
        return self.tasks[generation % HALVES :: HALVES]

    @property
    def mask(self) -> FloatArray:
        """1 for each weight that is trained, 0 for the others (w,)."""
        names = untrained_policy(KIND).feature_names
        heads = np.array([knob in self.heads for knob in KNOBS], np.float64)
        rows = np.array([[name in self.features for name in names]] * len(KNOBS), np.float64)
        return np.concatenate([(rows * heads[:, None]).ravel(), heads])


HALF = 0.5
"""Chosen among 0.5 and 1 by one run of each training task with seed 5000: at 1 the rates ruin `bursts_400_sngan`."""
TRAININGS: dict[str, PolicyTraining] = {
    "main": PolicyTraining(8, scale=HALF),
    "small": PolicyTraining(6, CHEAP),
    "small, progress alone": PolicyTraining(6, CHEAP, ("progress",)),
    "small, without progress": PolicyTraining(6, CHEAP, WITHOUT_PROGRESS),
    "small, half of the tasks": PolicyTraining(6, CHEAP[:2]),
    **{f"small, {knob} alone": PolicyTraining(6, CHEAP, heads=(knob,)) for knob in KNOBS},
}
PARTS: dict[str, PolicyTraining] = {
    **{f"main, {knob} alone": PolicyTraining(0, heads=(knob,)) for knob in KNOBS},
    "main, progress alone": PolicyTraining(0, features=("progress",)),
    "main, without progress": PolicyTraining(0, features=WITHOUT_PROGRESS),
}
"""Parts of the main policy: its other weights are set to 0, without training."""


def train(store: RunStore, suite: Suite, name: str) -> FloatArray:
    """Return the weights (w,) after all generations; trains what the store does not contain."""
    if name in PARTS:
        return train(store, suite, "main") * PARTS[name].mask
    training, settings = TRAININGS[name], TRAININGS[name].settings
    weights, measured = untrained_policy(KIND).actor.flat(), []
    for generation in range(training.generations):
        tasks = training.tasks_of(generation)
        directions = sample_directions(settings, generation, len(tasks), training.mask)
        pairs = [mirrored_weights(weights, direction, settings.sigma) for direction in directions]
        runs = [
            policy_run(task, side, FIRST_SEED + generation, name)
            for task, pair in zip(tasks, pairs, strict=True)
            for side in pair
        ]
        results = [quality(result) for result in execute_here(store, suite, runs, f"{name}, generation {generation}")]
        differences = [bounded_difference(*results[start : start + 2]) for start in range(0, len(results), 2)]
        measured.append((directions, differences))
        weights = step_weights(weights, measured, settings)
        size = float(np.linalg.norm(weights))
        print(f"{name}: {generation + 1} of {training.generations} done; |weights| {size:.2f}", flush=True)
    return np.round(training.scale * np.round(weights, 6), 6)
