"""Validation of the arguments of the brief's classes: epoch, losses, networks, device."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.errors import SettingError

Losses = Mapping[str, Tensor | float | None]
"""Player, "g" or "d" -> the mean loss of the epoch, one number."""

StateDict = Mapping[str, Any]
"""A state dict, as saved in a checkpoint."""


def epoch_progress(epoch: int, total_epochs: int) -> float:
    """Return the progress: 0 in the first epoch, 1 in the last. Raises SettingError for an epoch out of range."""
    if total_epochs < 1:
        raise SettingError(f"total_epochs = {total_epochs}: it must be at least 1")
    if not 0 <= epoch < total_epochs:
        raise SettingError(f"epoch = {epoch}: it must be from 0 to {total_epochs - 1}")
    return epoch / max(1, total_epochs - 1)


def finite_number(value: Tensor | float | None, name: str, when: str) -> float:
    """Return a loss as a number. `when`: the epoch or batch, for the message.

    Raises SettingError if the value is missing, has more than one element, or is not finite.
    """
    if value is None:
        raise SettingError(f"{name} is missing in {when}: pass both losses, one number each")
    if isinstance(value, Tensor) and value.numel() != 1:
        raise SettingError(f"{name} must be one number, not a tensor of shape {tuple(value.shape)}; take its mean")
    if not isinstance(value, Tensor | int | float):
        raise SettingError(f"{name} must be one number, not {type(value).__name__}")
    result = float(value.detach() if isinstance(value, Tensor) else value)
    if not math.isfinite(result):
        raise SettingError(
            f"{name} is {result} in {when}: the networks have diverged; nothing was updated, restart with smaller "
            "learning rates"
        )
    return result


def validate_losses(losses: Losses | None, epoch: int) -> dict[str, float]:
    """Return both losses as numbers, by "g" and "d". Raises SettingError if one is missing or not finite."""
    return {
        player: finite_number((losses or {}).get(player), f"losses['{player}']", f"epoch {epoch}")
        for player in ("g", "d")
    }


def gradient_norm(network: nn.Module | None) -> float | None:
    """Return the Euclidean norm of a network's current gradient; None without a gradient or without a network."""
    gradients = [] if network is None else [w.grad for w in network.parameters() if w.grad is not None]
    return torch.nn.utils.get_total_norm(gradients).item() if gradients else None


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device of a name. Raises SettingError if this machine has no such device."""
    try:
        result = torch.device(device)
        torch.empty(0, device=result)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingError(f"there is no device '{device}' on this machine; use device='cpu'") from error
    return result
