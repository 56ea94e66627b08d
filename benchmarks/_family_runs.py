"""Runs of the benchmark of the model family: steps that fit into CPU seconds, training in memory, samples."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from _digit_samples import in_memory
from _family_arms import Arm

from equipoise.core.data import DataSet
from equipoise.core.events import Finished
from equipoise.experiment.settings import Experiment, PlugSpec, build_data
from equipoise.inference.generator import Generator
from equipoise.training.loop import Training, train
from equipoise.training.step import run_step

PERIOD = 8
"""Steps that are timed at once: lazy penalties are due once in it."""
REFERENCE = "dcgan"
"""Model that is timed with every other one, so that two tables of costs can be put on one scale."""
MANY_STEPS = 1_000_000


@dataclass(frozen=True)
class TrainedArm:
    """An arm after training. `initial`: the same experiment before training, for comparisons."""

    arm: Arm
    training: Training
    initial: Training
    data: DataSet
    generator: Generator


def experiment_of(arm: Arm, seed: int, steps: int) -> Experiment:
    """Return the experiment of an arm: learning rates that fall along a cosine, no repair, fp32, one thread."""
    return Experiment(
        data=PlugSpec(arm.data, arm.data_options),
        model=PlugSpec(arm.model, arm.options),
        controller=PlugSpec("annealed"),
        knobs=arm.knobs,
        repair=False,
        steps=steps,
        batch_size=arm.batch_size,
        seed=seed,
        precision="fp32",
        threads=1,
        device="cpu",
    )


def train_arm(arm: Arm, seed: int, steps: int) -> tuple[TrainedArm, dict[str, Any]]:
    """Train an arm; return it with its costs: CPU seconds include monitoring, but not building the networks."""
    experiment = experiment_of(arm, seed, steps)
    training, initial = in_memory(experiment), in_memory(experiment)
    cpu, clock = time.process_time(), time.monotonic()
    *_, finished = train(training)
    costs: dict[str, Any] = {
        "cpu_seconds": time.process_time() - cpu,
        "seconds": time.monotonic() - clock,
        "steps": training.state.step,
        "ended": finished.reason if isinstance(finished, Finished) else "unknown",
        "verdict": training.verdict,
        "parameters": {
            name: sum(weight.numel() for weight in network.parameters())
            for name, network in training.state.trained_networks.items()
        },
    }
    data = build_data(experiment).resolve()
    state = training.state
    generator = Generator(state.model, dict(state.sampling_networks), data.spec, state.step)
    return TrainedArm(arm, training, initial, data, generator), costs


def step_costs(arms: Sequence[Arm]) -> dict[str, float]:
    """Return CPU seconds per step by `cost_key`, of arms that are timed in turn in one process.

    The cost of networks that grow is the mean over the run, for which they are visited at several moments. Readings of
    the monitoring are not included.
    """
    by_key = {arm.cost_key: arm for arm in arms}
    durations: dict[str, list[float]] = {key: [] for key in by_key}
    trainings = {key: in_memory(experiment_of(arm, 0, MANY_STEPS)) for key, arm in by_key.items()}
    for visit in range(max(len(training.state.model.measured_at) for training in trainings.values())):
        for key, training in trainings.items():
            if visit < len(training.state.model.measured_at):
                durations[key].append(_seconds_per_step(training, training.state.model.measured_at[visit]))
    return {key: sum(values) / len(values) for key, values in durations.items()}


def _seconds_per_step(training: Training, share: float) -> float:
    training.state.step = round(share * training.plan.steps) // PERIOD * PERIOD
    run_step(training.state, training.streams.train, training.pilot.knobs, share)
    start = time.process_time()
    for _ in range(PERIOD):
        run_step(training.state, training.streams.train, training.pilot.knobs, share)
    return (time.process_time() - start) / PERIOD


def on_one_scale(tables: Sequence[Mapping[str, float]], reference: str) -> dict[str, float]:
    """Combine tables of costs; those after the first are multiplied so that the cost of `reference` is the same."""
    combined: dict[str, float] = {}
    for table in tables:
        factor = combined[reference] / table[reference] if combined else 1.0
        combined = {**{key: factor * seconds for key, seconds in table.items()}, **combined}
    return combined


def reference_arm() -> Arm:
    """Return the arm that every table of costs contains."""
    return Arm(row="cost", name="reference", model=REFERENCE, seconds=0, measures=())


def set_threads() -> None:
    """Use one thread."""
    torch.set_num_threads(1)
