"""One optimizer a network, its settings a function of the moment."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer, RMSprop

from equipoise.core.model import OptimizerSettings


def make(network: nn.Module, settings: OptimizerSettings) -> Optimizer:
    """The optimizer of a network. Only its kind is fixed for good; :func:`turn` sets the rest, step by step."""
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


def turn(optimizer: Optimizer, settings: OptimizerSettings) -> None:
    """Set an optimizer to what it should be at this moment."""
    for group in optimizer.param_groups:
        group["lr"] = settings.lr
        match settings.kind:
            case "adam":
                group["betas"], group["eps"] = (settings.beta1, settings.beta2), settings.eps
            case "rmsprop":
                group["alpha"], group["eps"] = settings.beta2, settings.eps
            case "sgd":
                group["momentum"] = settings.beta1


def weights_of(optimizer: Optimizer) -> list[Tensor]:
    """The weights that an optimizer moves."""
    return [weight for group in optimizer.param_groups for weight in group["params"]]


@torch.no_grad()
def project(weights: Iterable[Tensor], limit: float) -> None:
    """Put every weight back into [-limit, limit] (Arjovsky 2017, algorithm 1, line 7)."""
    torch._foreach_clamp_min_(list(weights), -limit)
    torch._foreach_clamp_max_(list(weights), limit)
