"""Batch normalisation over the whole batch, also where several processes have a share of it each."""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

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

    Own code, because `torch.nn.SyncBatchNorm` runs on CUDA alone. Differentiable twice, for penalties on gradients.
    """
    wide = maps.to(torch.promote_types(maps.dtype, torch.float32))
    normal, mean, variance = _WholeNorm.apply(wide, norm.weight, norm.bias, norm.eps, world)
    _update_running(norm, mean, variance, world.size * maps.numel() // maps.shape[1])
    result: Tensor = normal.to(maps.dtype)
    return result


class _Context(Protocol):
    """What :class:`_WholeNorm` keeps for its gradient."""

    saved_tensors: tuple[Tensor, ...]
    eps: float
    world: World

    def save_for_backward(self, *tensors: Tensor | None) -> None: ...

    def mark_non_differentiable(self, *tensors: Tensor) -> None: ...


class _WholeNorm(torch.autograd.Function):
    """Normalisation over all processes by torch's kernels for one process, which take a quarter of the time of
    :func:`_written_out`. The latter is used for gradients that are themselves differentiated."""

    @staticmethod
    def forward(
        context: _Context, maps: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, world: World
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = _whole_moments(*torch.batch_norm_update_stats(maps, None, None, 0.0), world)
        normal = functional.batch_norm(maps, mean.to(maps.dtype), variance.to(maps.dtype), weight, bias, eps=eps)
        context.save_for_backward(maps, weight, bias, mean.to(maps.dtype), variance.to(maps.dtype))
        context.mark_non_differentiable(mean, variance)
        context.eps, context.world = eps, world
        return normal, mean, variance

    @staticmethod
    def backward(context: _Context, gradient: Tensor, *others: object) -> tuple[Tensor | None, ...]:
        maps, weight, bias, mean, variance = context.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to be differentiated
            normal = _written_out(maps, weight, bias, context.eps, context.world)
            inputs = (maps, weight, bias)
            needed = [value for value in inputs if value is not None and value.requires_grad]
            gradients = iter(torch.autograd.grad(normal, needed, gradient, create_graph=True))
            return (
                *(next(gradients) if value is not None and value.requires_grad else None for value in inputs),
                None,
                None,
            )
        inverse = (variance + context.eps).rsqrt()
        _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(  # the kernel for CUDA requires all of these
            *(gradient, maps, torch.ones_like(mean), mean, variance, mean, inverse),
            *(False, context.eps, [False, True, True]),
        )
        # Ioffe and Szegedy 2015, section 3: dx = w / s (dy - mean(dy) - x' mean(dy x')), means over all processes.
        sums = context.world.add(torch.stack([of_weight, of_bias]).double())
        along, level = (sums / (context.world.size * maps.numel() // maps.shape[1])).to(maps.dtype)
        scale = inverse if weight is None else weight * inverse
        slope = -scale * inverse * along
        shift = -scale * level - slope * mean
        of_maps = torch.addcmul(_wide(shift, maps), gradient, _wide(scale, maps)).addcmul_(maps, _wide(slope, maps))
        return of_maps, of_weight if weight is not None else None, of_bias if bias is not None else None, None, None


def _written_out(maps: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, world: World) -> Tensor:
    """Normalise by operations that are differentiable any number of times."""
    variance, mean = torch.var_mean(maps, [axis for axis in range(maps.dim()) if axis != 1], correction=0)
    mean, variance = _whole_moments(mean, variance, world)
    scale = (variance + eps).rsqrt().to(maps.dtype)
    normal = (maps - _wide(mean.to(maps.dtype), maps)) * _wide(scale, maps)
    if weight is not None:
        normal = normal * _wide(weight, maps)
    return normal if bias is None else normal + _wide(bias, maps)


def _whole_moments(mean: Tensor, variance: Tensor, world: World) -> Tensor:
    """Return mean and variance over all processes, (2, C), from those of each, (C,).

    In float64, in which mean(x^2) - mean(x)^2 of the processes' statistics loses nothing.
    """
    mean, variance = mean.double(), variance.double()
    mean, square = world.mean(torch.stack([mean, variance + mean.square()]))
    return torch.stack([mean, (square - mean.square()).clamp_min(0)])


def _wide(values: Tensor, maps: Tensor) -> Tensor:
    """View a value per channel (C,) so that it is applied to maps (B, C, ...)."""
    return values.view([-1 if axis == 1 else 1 for axis in range(maps.dim())])


@torch.no_grad()
def _update_running(norm: nn.BatchNorm1d | nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move the running statistics towards those of a batch of `count` numbers per channel; the variance unbiased."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share)
    norm.running_var.lerp_((variance * count / max(1, count - 1)).to(norm.running_var.dtype), share)
