"""Conditional batch normalisation: scale and shift depend on a label or a vector, and statistics for given inputs.

Dumoulin, Shlens and Kudlur 2017, "A Learned Representation for Artistic Style", equation 5; in generators: Miyato and
Koyama 2018, section 4.
"""

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from equipoise.nn.batch_norm import WholeBatchNorm2d

Affine = Callable[[int], nn.Module]
"""Function (channels) -> module that maps conditions (B, ...) to one number per channel (B, channels)."""


class ConditionalBatchNorm(nn.Module):
    """Layer (1 + g(c)) norm(x) + b(c), where norm has mean 0 and variance 1 per channel, and g, b are learned.

    With g = b = 0 it is batch normalisation: without the 1, a network starts with maps near 0. `affine`: creates g and
    b, for example embeddings of labels; None for a weight, at first 1, and a bias per channel and no condition.
    """

    def __init__(self, channels: int, affine: Affine | None) -> None:
        super().__init__()
        self.norm = WholeBatchNorm2d(channels, affine=affine is None)
        self.gain = None if affine is None else affine(channels)
        self.bias = None if affine is None else affine(channels)

    def forward(self, maps: Tensor, condition: Tensor | None) -> Tensor:
        """Normalise (B, C, H, W); `condition`: an input of g and b, (B,) int64 or (B, K), ignored without `affine`."""
        normal: Tensor = self.norm(maps)
        if self.gain is None or self.bias is None:
            return normal
        gain: Tensor = self.gain(condition)
        bias: Tensor = self.bias(condition)
        return (1 + gain)[:, :, None, None] * normal + bias[:, :, None, None]


@torch.no_grad()
def standing_statistics(network: nn.Module, inputs: Iterable[tuple[Tensor, Tensor | None]]) -> dict[str, Tensor]:
    """Estimate the statistics of all batch normalisations of a network for inputs of its own; keys as in its state.

    `inputs`: batches of arguments of the network. Each batch is normalised by its own statistics, and the means and
    (unbiased) variances of the batches are averaged with equal weights: "standing statistics" of Brock 2019, appendix
    C.1. The network is not changed; use the result with `torch.func.functional_call`. If layers see inputs unlike those
    of training, such as truncated latents, their running statistics do not fit.
    """
    copied = copy.deepcopy(network).eval()
    norms = {name: module for name, module in copied.named_modules() if isinstance(module, nn.BatchNorm2d)}
    for norm in norms.values():
        norm.reset_running_stats()
        norm.momentum = None  # the average of all batches
        norm.train()
    for arguments in inputs:
        copied(*arguments)
    buffers = ((f"{name}.{key}", value) for name, norm in norms.items() for key, value in norm.named_buffers())
    return {name: value for name, value in buffers if value.is_floating_point()}
