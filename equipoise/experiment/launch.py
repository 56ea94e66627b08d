"""Starting and resuming runs: runs the training loop and writes its events to a run folder."""

import contextlib
import dataclasses
import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from equipoise.core.events import Event, Finished
from equipoise.errors import CheckpointError, RunError, SettingError, unwritable
from equipoise.experiment.assembly import EVALUATIONS, assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.files import load_run_experiment
from equipoise.experiment.settings import Experiment, require
from equipoise.runs.artifacts import write_text
from equipoise.runs.folders import create_run
from equipoise.runs.log import Log
from equipoise.runs.run import CHECKPOINTS_FOLDER, EXPERIMENT_FILE, Run
from equipoise.training import checkpoint, evaluation_cost, weight_files
from equipoise.training.loop import Training, restore, train
from equipoise.training.plan import never_interrupted
from equipoise.training.rollback import initial_tensors
from equipoise.training.state import TrainingState

MIN_SHARE = 0.05
"""Smallest share of a network that must fit; below it, the checkpoint is probably of another model or width."""


def start(experiment: Experiment, folder: Path, interrupted: Callable[[], bool] = never_interrupted) -> Iterator[Event]:
    """Run an experiment in a new folder, yielding its events after they are logged.

    Raises EquipoiseError for an invalid experiment, before the folder is created.
    """
    experiment = choose_evaluation_interval(complete(experiment))
    training = assemble(experiment, folder / CHECKPOINTS_FOLDER, interrupted)
    load_initial_weights(training, experiment)
    create_run(folder, experiment.to_json())
    _seed_global_generators(require(experiment.seed, "seed"))
    with _disk_errors(folder), Log(folder) as log:
        yield from _record_events(training, log)


def resume(
    folder: str | Path, steps: int | None = None, interrupted: Callable[[], bool] = never_interrupted
) -> Iterator[Event]:
    """Resume a run from its last checkpoint, or from the start if it has none.

    `steps`: new length of the whole run, which removes its limits of images and seconds and the stop at equilibrium.
    Raises RunError if another process uses the run, or the weights that it starts from no longer exist.
    """
    folder = Path(folder)
    run, experiment = Run(folder), load_run_experiment(folder)
    if steps is not None:
        experiment = dataclasses.replace(experiment, steps=steps, images=None, seconds=None, stop_at_equilibrium=False)
    training = assemble(experiment, run.checkpoints, interrupted)
    with _disk_errors(folder), Log(folder) as log:
        saved = checkpoint.find(run.checkpoints)
        _reload_initial_weights(training, experiment, folder, has_checkpoint=bool(saved))
        _seed_global_generators(require(experiment.seed, "seed"))
        if saved:
            _restore(training, saved[-1])
        if steps is not None:
            finished_steps = training.state.step
            if steps <= finished_steps:
                raise SettingError(f"{folder} has finished {finished_steps} steps; give --steps a larger number")
            write_text(folder / EXPERIMENT_FILE, json.dumps(experiment.to_json(), indent=2) + "\n")
        yield from _record_events(training, log)


def choose_evaluation_interval(experiment: Experiment) -> Experiment:
    """Set `evaluate_every` of a completed experiment if it is None, so that evaluations take little of the time."""
    if experiment.evaluate_every is not None:
        return experiment
    training = assemble(experiment, None)
    if training.evaluation is None:
        return experiment
    every = evaluation_cost.choose_evaluate_every(training, training.evaluation, EVALUATIONS)
    return dataclasses.replace(experiment, evaluate_every=every)


def load_initial_weights(training: Training, experiment: Experiment) -> None:
    """Load the weights of another run if the experiment names one; store the initial weights for rollbacks."""
    if experiment.start_from:
        training.transferred = transfer_weights(training.state, Path(experiment.start_from))
    if training.pilot.settings.repair is not None:
        training.rollback_points.initial = initial_tensors(training.state)


def _reload_initial_weights(training: Training, experiment: Experiment, folder: Path, *, has_checkpoint: bool) -> None:
    """Load the initial weights of a resumed run. Those of another run may be missing if the run has a checkpoint."""
    try:
        load_initial_weights(training, experiment)
    except (RunError, CheckpointError) as error:
        if not has_checkpoint:
            raise RunError(
                f"{folder} has no checkpoint yet, and the weights that it starts from are no longer in "
                f"{experiment.start_from}; restore them, or start a new run"
            ) from error


def _restore(training: Training, saved: Path) -> None:
    try:
        restore(training, saved)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{saved.name}/{checkpoint.STATE} was altered; delete that folder to resume from the checkpoint before "
            f"it: {saved}"
        ) from error


def _seed_global_generators(seed: int) -> None:
    """Seed the global generators: this package does not use them, but a custom model or data set may."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _record_events(training: Training, log: Log) -> Iterator[Event]:
    for event in train(training):
        if isinstance(event, Finished) and event.reason not in ("interrupted", "diverged"):
            write_final_weights(training, log.run.folder)
        log.record(event)
        yield event


def transfer_weights(state: TrainingState, start: Path) -> dict[str, float]:
    """Load the weights of another run that fit; returns the share of each network that was loaded, from 0 to 1.

    `start`: a checkpoint, or a run, whose last checkpoint is used. Raises CheckpointError if there is none, or if
    less than MIN_SHARE of every network fits.
    """
    path = checkpoint.latest(start)
    if path is None:
        raise CheckpointError(f"{start} has no checkpoint to start from; give --from the folder of a run")
    shares = state.transfer_weights(checkpoint.read(path).tensors)
    if max(shares.values()) < MIN_SHARE:
        summary = " and ".join(f"{share:.0%} of the {name}" for name, share in shares.items())
        raise CheckpointError(f"{path} fits only {summary}; use the same model and width as that run")
    return shares


def write_final_weights(training: Training, folder: Path) -> None:
    """Write the final weights, one safetensors file per network; for the generator, its running average.

    These are the weights of the best evaluation if the run keeps them and their checkpoint is intact, else the last.
    """
    state, plan, best = training.state, training.plan, training.best.step
    networks: dict[str, Mapping[str, Tensor]] = {
        name: network.state_dict() for name, network in state.sampling_networks.items()
    }
    step = state.step
    if plan.keep_best and plan.checkpoints and best is not None and best != step:
        with contextlib.suppress(CheckpointError):
            saved = checkpoint.read(plan.checkpoints / checkpoint.folder_name(best))
            networks = {name: saved.network(name, averaged=name in state.averages) for name in networks}
            step = best
    weight_files.write_weights(folder, networks, step, state.step)


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Turn an OSError into a RunError with one line for the user."""
    try:
        yield
    except OSError as error:
        raise RunError(unwritable(folder, error)) from error
