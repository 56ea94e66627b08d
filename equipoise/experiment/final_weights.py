"""The weights of a finished run: RUN/generator.safetensors, RUN/discriminator.safetensors."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from equipoise.errors import CheckpointError
from equipoise.runs.run import CHECKPOINTS_FOLDER
from equipoise.training import checkpoint, weight_files
from equipoise.training.loop import Training


def write_final_weights(training: Training, folder: Path) -> None:
    """Write the final weights, one safetensors file per network; for the generator, its running average.

    These are the weights of the best evaluation if the run keeps them and they are intact, else the last.
    """
    state, plan, best = training.state, training.plan, training.best.step
    networks: dict[str, Mapping[str, Tensor]] = {
        name: network.state_dict() for name, network in {**state.trained_networks, **state.averages}.items()
    }
    step = state.step
    if plan.keep_best and plan.checkpoints and best is not None and best != step:
        with contextlib.suppress(CheckpointError):
            networks, step = _read_best_weights(training, folder, best), best
    weight_files.write_weights(folder, networks, step, state.step)


def _read_best_weights(training: Training, folder: Path, step: int) -> dict[str, Mapping[str, Tensor]]:
    """Read the weights of a step from its checkpoint, or from the final weights that an earlier end of the run wrote.

    Raises CheckpointError if both are missing or damaged.
    """
    state, path = training.state, folder / CHECKPOINTS_FOLDER / checkpoint.folder_name(step)
    if path.is_dir():
        saved = checkpoint.read(path)
        return {name: saved.network(name, averaged=name in state.averages) for name in state.sampling_networks}
    final = {
        name: weight_files.read_weights(weight_files.weights_path(folder, name)) for name in state.sampling_networks
    }
    if any(weights.step != step for weights in final.values()):
        raise CheckpointError(f"{folder} has no weights of step {step}")
    return {name: weights.tensors for name, weights in final.items()}
