"""Optimizers, one per network with settings that can change at every step; mixed precision."""

from collections.abc import Iterable
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer, RMSprop

from equipoise.core.model import OptimizerSettings
from equipoise.errors import SettingError


def make_optimizer(network: nn.Module, settings: OptimizerSettings) -> Optimizer:
    """Create the optimizer of a network. Only its kind is fixed: :func:`apply_settings` sets the rest in each step."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    match settings.kind:
        case "adam":
            fused = all(weight.device.type in ("cpu", "cuda") for weight in weights)
            betas = (settings.beta1, settings.beta2)
            return Adam(weights, lr=settings.lr, betas=betas, eps=settings.eps, fused=fused)
        case "rmsprop":
            return RMSprop(weights, lr=settings.lr, alpha=settings.beta2, eps=settings.eps)
        case "sgd":
            return SGD(weights, lr=settings.lr, momentum=settings.beta1)


def apply_settings(optimizer: Optimizer, settings: OptimizerSettings) -> None:
    """Set the hyperparameters of an optimizer for this moment."""
    for group in optimizer.param_groups:
        group["lr"] = settings.lr
        match settings.kind:
            case "adam":
                group["betas"], group["eps"] = (settings.beta1, settings.beta2), settings.eps
            case "rmsprop":
                group["alpha"], group["eps"] = settings.beta2, settings.eps
            case "sgd":
                group["momentum"] = settings.beta1


def optimizer_weights(optimizer: Optimizer) -> list[Tensor]:
    """Return the weights that an optimizer updates."""
    return [weight for group in optimizer.param_groups for weight in group["params"]]


@torch.no_grad()
def clip_weights(weights: Iterable[Tensor], limit: float) -> None:
    """Clamp every weight to [-limit, limit] in place (Arjovsky et al. 2017, algorithm 1, line 7)."""
    torch._foreach_clamp_min_(list(weights), -limit)
    torch._foreach_clamp_max_(list(weights), limit)


PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
NumberFormat = Literal["fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_precision(name: str, device: torch.device, mixed: bool) -> NumberFormat:
    """Resolve "auto" to the low precision that the device has matrix units for, else fp32.

    `mixed`: whether the model tolerates low precision. Raises SettingError for an unknown name.
    """
    if name not in get_args(PrecisionName):
        raise SettingError(f"there is no precision '{name}'; choose one of {', '.join(get_args(PrecisionName))}")
    if name != "auto":
        return cast(NumberFormat, name)
    if not mixed:
        return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "cpu" and torch.cpu._is_amx_tile_supported():
        return "bf16"
    return "fp32"


def autocast(precision: NumberFormat, device: torch.device) -> torch.autocast:
    """Return the autocast context for forward passes; it is disabled for fp32."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")


def make_scaler(precision: NumberFormat, device: torch.device) -> torch.amp.GradScaler:
    """Return the loss scaler that fp16 needs; it is disabled for other formats."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
