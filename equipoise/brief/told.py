"""What a brief's loop tells of an epoch, checked: the epoch, the losses, the networks' gradients."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from equipoise.errors import SettingError

Losses = Mapping[str, Tensor | float | None]
"""By player, "g" and "d": the mean loss of the epoch, one number each."""


def progress_of(epoch: int, total_epochs: int) -> float:
    """From 0 in the first epoch to 1 in the last. Raises SettingError for an epoch that there is not."""
    if total_epochs < 1:
        raise SettingError(f"total_epochs = {total_epochs}: it must be at least 1")
    if not 0 <= epoch < total_epochs:
        raise SettingError(f"epoch = {epoch}: epochs of {total_epochs} run from 0 to {total_epochs - 1}")
    return epoch / max(1, total_epochs - 1)


def number(value: Tensor | float | None, name: str, when: str) -> float:
    """A loss as a number; `when` is told with what is wrong.

    Raises SettingError if it is missing, of many numbers, or not finite.
    """
    if value is None:
        raise SettingError(f"{name} is missing in {when}: both losses must be told, one number each")
    if isinstance(value, Tensor) and value.numel() != 1:
        raise SettingError(f"{name} must be one number, not a tensor of shape {tuple(value.shape)}; take its mean")
    if not isinstance(value, Tensor | int | float):
        raise SettingError(f"{name} must be one number, not {type(value).__name__}")
    result = float(value.detach() if isinstance(value, Tensor) else value)
    if not math.isfinite(result):
        raise SettingError(f"{name} is {result} in {when}: the networks have diverged; nothing was updated")
    return result


def losses_of(losses: Losses | None, epoch: int) -> dict[str, float]:
    """Both losses as numbers, by "g" and "d". Raises SettingError if one is missing or not finite."""
    return {
        player: number((losses or {}).get(player), f"losses['{player}']", f"epoch {epoch}") for player in ("g", "d")
    }


def gradient_norm(network: nn.Module | None) -> float | None:
    """The Euclidean norm of a network's gradient as it is now; None if it has none, or no network is given."""
    gradients = [] if network is None else [w.grad for w in network.parameters() if w.grad is not None]
    return torch.nn.utils.get_total_norm(gradients).item() if gradients else None


def device_of(device: str | torch.device) -> torch.device:
    """The device by name. Raises SettingError if there is no such device here."""
    try:
        result = torch.device(device)
        torch.empty(0, device=result)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingError(f"there is no device '{device}' here; give device='cpu'") from error
    return result
