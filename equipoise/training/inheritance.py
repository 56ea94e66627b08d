"""Weights that a model takes from a trained one: its teacher, and what else starts as the teacher (Model.inherits)."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from equipoise.core.teacher import UNTRAINED
from equipoise.errors import CheckpointError
from equipoise.training.checkpoint import Checkpoint, check_shapes
from equipoise.training.state import TrainingState


def digest_of(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and bytes of weights, in the order of their names."""
    result = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        value = tensor.detach().cpu().contiguous()
        result.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        result.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return result.hexdigest()


def averaged_weights(saved: Checkpoint, network: str) -> dict[str, Tensor]:
    """Return the running average of a network in a checkpoint, or its weights if it has no average."""
    return saved.network(network, averaged=True) or saved.network(network, averaged=False)


def inherit_weights(state: TrainingState, saved: Checkpoint, source: str) -> dict[str, float]:
    """Load what the model of `state` inherits from a checkpoint; returns the loaded share of each network, 0 to 1.

    Raises CheckpointError, naming `source`, if the weights have other shapes, or if those of a frozen network have
    another digest than the model records.
    """
    networks, loaded = state.model.networks, dict.fromkeys(state.model.networks, 0)
    for own, theirs in state.model.inherits.items():
        name, _, part = own.partition(".")
        module, weights = networks[name].get_submodule(part), averaged_weights(saved, theirs)
        check_shapes(module.state_dict(), weights, own, source)
        recorded = state.model.frozen.get(name, UNTRAINED)
        if recorded != UNTRAINED and (actual := digest_of(weights)) != recorded:
            raise CheckpointError(
                f"{source} has other weights than those that this run learns from: their SHA-256 is {actual[:8]}…, not "
                f"{recorded[:8]}…; restore that checkpoint, or start a new run"
            )
        module.load_state_dict(weights)
        loaded[name] += sum(weight.numel() for weight in module.parameters())
    for name, average in state.averages.items():
        average.load_state_dict(networks[name].state_dict())
    sizes = {name: sum(weight.numel() for weight in network.parameters()) for name, network in networks.items()}
    return {name: loaded[name] / max(1, size) for name, size in sizes.items()}
