"""Train the policies of the suite on its training tasks, and measure what each part of them contributes.

cd benchmarks/control; PYTHONPATH=.. python suite_policies.py --train main      resumes; prints "n of N done"
cd benchmarks/control; PYTHONPATH=.. python suite_policies.py --table           writes suite_policies.md
"""

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from _policy_runs import KIND, RESULTS_FILE, cpu_minutes, execute_here, policy_run, quality
from _suite_runs import SUITE_FILE, RunStore

from equipoise.comparison.suite.tasks import Suite, load_suite
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
HALVES = 2
"""A generation trains on every second task, in turn."""


@dataclass(frozen=True)
class PolicyTraining:
    """A training. `features`: those with weights, besides the constant. `heads`: those with weights."""

    generations: int
    tasks: tuple[str, ...] = TASKS
    features: tuple[str, ...] = FEATURES
    heads: tuple[str, ...] = tuple(head.name for head in KINDS[KIND].heads)
    settings: AntitheticSettings = SETTINGS

    @property
    def mask(self) -> FloatArray:
        """1 for each weight that is trained, 0 for the others (w,)."""
        names = untrained_policy(KIND).feature_names
        rows = np.array([[name in self.features for name in names]] * len(KINDS[KIND].heads), np.float64)
        heads = np.array([head.name in self.heads for head in KINDS[KIND].heads], np.float64)
        return np.concatenate([(rows * heads[:, None]).ravel(), heads])


TRAININGS: dict[str, PolicyTraining] = {
    "main": PolicyTraining(10),
}


def train(store: RunStore, suite: Suite, name: str) -> FloatArray:
    """Return the weights (w,) after all generations."""
    training = TRAININGS[name]
    weights, measured = untrained_policy(KIND).actor.flat(), []
    for generation in range(training.generations):
        tasks = training.tasks[generation % HALVES :: HALVES]
        directions = sample_directions(training.settings, generation, len(tasks), training.mask)
        pairs = [mirrored_weights(weights, direction, training.settings.sigma) for direction in directions]
        runs = [
            policy_run(task, side, FIRST_SEED + generation, name)
            for task, pair in zip(tasks, pairs, strict=True)
            for side in pair
        ]
        results = [quality(result) for result in execute_here(store, suite, runs, f"{name}, generation {generation}")]
        differences = [bounded_difference(*results[start : start + 2]) for start in range(0, len(results), 2)]
        measured.append((directions, differences))
        weights = step_weights(weights, measured, training.settings)
        size = float(np.linalg.norm(weights))
        print(f"{name}: {generation + 1} of {training.generations} done; |weights| {size:.2f}", flush=True)
    return np.round(weights, 6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", nargs="*", default=[], choices=TRAININGS, metavar="NAME")
    args = parser.parse_args()
    torch.set_num_threads(1)
    suite, store = load_suite(SUITE_FILE), RunStore(RESULTS_FILE)
    for name in args.train:
        print(train(store, suite, name).tolist(), f"{cpu_minutes(store):.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
