"""Optimizers: one per network, with settings that can change at every step."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer, RMSprop

from equipoise.core.model import OptimizerSettings


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
