"""Batch normalisation over the whole batch, also where several processes have a share of it each."""

import torch
from torch import Tensor, nn

from equipoise.core.world import World, batch_world


class WholeBatchNorm1d(nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` whose statistics in a training step are those of the shares of all processes."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C) or (B, C, L)."""
        world = batch_world()
        return super().forward(input) if world.size == 1 or not self.training else _normalise(self, input, world)


class WholeBatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` whose statistics in a training step are those of the shares of all processes."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        world = batch_world()
        return super().forward(input) if world.size == 1 or not self.training else _normalise(self, input, world)


def _normalise(norm: nn.BatchNorm1d | nn.BatchNorm2d, maps: Tensor, world: World) -> Tensor:
    """Normalise by mean and variance over all processes, and update the running statistics as torch does.

    Written out, because `torch.nn.SyncBatchNorm` runs on CUDA alone. Differentiable twice, for penalties on gradients.
    """
    wide = maps.to(torch.promote_types(maps.dtype, torch.float32))
    axes = [axis for axis in range(maps.dim()) if axis != 1]
    variance, mean = torch.var_mean(wide, axes, correction=0)
    # In float64, in which mean(x^2) - mean(x)^2 of the processes' statistics loses nothing.
    mean, variance = mean.double(), variance.double()
    mean, square = world.mean(torch.stack([mean, variance + mean.square()]))
    variance = square - mean.square()
    _update_running(norm, mean, variance, world.size * maps.numel() // maps.shape[1])
    shape = [-1 if axis == 1 else 1 for axis in range(maps.dim())]
    scale = (variance.clamp_min(0) + norm.eps).rsqrt().to(wide.dtype)
    normal = (wide - mean.to(wide.dtype).view(shape)) * scale.view(shape)
    if norm.affine:
        normal = normal * norm.weight.view(shape) + norm.bias.view(shape)
    result: Tensor = normal.to(maps.dtype)
    return result


@torch.no_grad()
def _update_running(norm: nn.BatchNorm1d | nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move the running statistics towards those of a batch of `count` numbers per channel; the variance unbiased."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share)
    norm.running_var.lerp_((variance * count / max(1, count - 1)).to(norm.running_var.dtype), share)
