"""Two tasks with points in the plane for short runs, and their score: shared by the benchmarks of control.

Eight Gaussians on a ring and nine on a grid, with only 500 training points, the same for every seed, so that the
discriminator can memorise them. Perceptrons of width 32, batch size 32, 1,000 steps: half a second per run, stacked. A
run of this length finds the 25 modes of PacGAN, but matches none precisely.
"""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))

from equipoise.core import catalog
from equipoise.core.controller import AnyController
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.meta.stacked import MAX_STACK, StackedRun, StackedTraining
from equipoise.metrics.mixture_modes import MixtureModes
from equipoise.training import probe

HERE = Path(__file__).resolve().parent
POINTS, STEPS, WIDTH, BATCH = 500, 1000, 32, 32
READ_EVERY = 25
"""Steps between two readings, and so between two decisions: forty per run (also at its start, to save time)."""
TASKS: Mapping[str, Mapping[str, Any]] = {
    "ring": {"training_points": POINTS, "std": 0.03},
    "grid": {"training_points": POINTS, "side": 3, "spacing": 1.0, "std": 0.05},
}
TUNING: Mapping[str, Mapping[str, Any]] = {
    "wide ring": {"training_points": POINTS, "modes": 6, "radius": 1.5, "std": 0.05},
    "fine grid": {"training_points": POINTS, "side": 4, "spacing": 0.75, "std": 0.05},
}
"""Similar to the tasks, but different: for tuning."""
SAMPLES = 2500
"""As many as PacGAN uses (Lin 2018)."""
PERFECT = 1 - math.exp(-9 / 2)
"""Share of samples of a perfect sampler within three standard deviations, in the plane."""


Run = tuple[int, Mapping[str, float], AnyController]
"""Seed, knobs, controller."""


@cache
def experiment(task: str, monitored: bool = False) -> Experiment:
    """Return a run of a task, seed 0, without control. `monitored`: measure coverage of held-out points ten times."""
    return complete(
        Experiment(
            data=data_of(task),
            model=PlugSpec("mlp", {"width": WIDTH}),
            controller=PlugSpec("fixed"),
            metric=PlugSpec("coverage:samples" if monitored else "none"),
            steps=STEPS,
            batch_size=BATCH,
            seed=0,
            threads=1,
            device="cpu",
            precision="fp32",
            repair=False,
        )
    )


def data_of(task: str) -> PlugSpec:
    """Return the data of a task, given by the last word of its name."""
    return PlugSpec(task.split()[-1], {**TASKS, **TUNING}[task])


def scores(task: str, runs: Sequence[Run], monitored: bool = False) -> dict[str, Any]:
    """Train runs of a task together; return scores, numbers of diverged runs, and processor time."""
    torch.set_num_threads(1)
    start_time, results = time.process_time(), []
    for start in range(0, len(runs), MAX_STACK):
        part = runs[start : start + MAX_STACK]
        experiments = [replace(experiment(task, monitored), seed=seed, knobs=knobs) for seed, knobs, _ in part]
        group = StackedTraining(experiments, [controller for *_, controller in part])
        for training in group.trainings:
            training.pilot.sense_every, training.pilot.dense_steps = READ_EVERY, 0
        for _ in group.readings():
            pass
        results += group.results()
    return {
        "scores": [score(task, result) for result in results],
        "diverged": [number for number, result in enumerate(results) if result.reason == "diverged"],
        "cpu_seconds": time.process_time() - start_time,
    }


def score(task: str, run: StackedRun) -> float:
    """Return the score from 0 (one mode, noise, or diverged) to 1 (a perfect sampler), of 2,500 averaged samples.

    modes / K times high quality / 0.9889 times 1 - KL(p || uniform) / ln K; see metrics/_mixture.py for the three.
    """
    if run.reason == "diverged":
        return 0.0
    metric = MixtureModes()
    reference = metric.statistics(_real(task))
    latents = run.training.state.model.latent(SAMPLES, torch.Generator().manual_seed(1), None)
    counts = metric.counts(reference, probe.generate_samples(run.training.state, latents, None))
    modes = len(reference.means)
    evenness = 1 - counts.reverse_kl / math.log(modes)
    return counts.modes / modes * min(1.0, counts.high_quality / PERFECT) * evenness


@cache
def _real(task: str) -> Any:
    return catalog.build("data", data_of(task).name, data_of(task).options).stream("held_out", 10_000, 0).batch(0)
