"""Resampling by two with the filter [1, 3, 3, 1], as in StyleGAN 2 (Karras 2020, appendix B; Zhang 2019).

Each filter is one depthwise convolution of 4 x 4 weights. Filters are linear and their weights are constant, so that
the derivative of a filter is its adjoint, another filter of the same kind, at every order. torch's own second
derivative of a depthwise convolution computes gradients of its weights, too, and costs twice as much as the adjoint.
Measured forward and backward, together with the 3 x 3 convolution of stride 2 that follows (32 x 32 x 64 x 64, one
thread, channels last): 29 ms, with one matrix per axis 42 ms; second derivative of R1: 60 and 87 ms, by torch 160 ms.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn.functional import conv2d, conv_transpose2d

TAPS = (1.0, 3.0, 3.0, 1.0)
"""Weights along each axis, before division by their sum."""


class Smoothing(nn.Module):
    """Filter at every position: maps (B, C, H, W) -> (B, C, H + 2 p - 3, W + 2 p - 3).

    `padding`: zeros p around the maps, 0 to 3. `gain`: factor of the result; maps that were doubled by inserting zeros
    need 4. Without parameters; the weights are a buffer outside of the state dict.
    """

    kernel: Tensor

    def __init__(self, padding: int, gain: float = 1.0) -> None:
        super().__init__()
        self.padding = padding
        self.register_buffer("kernel", _kernel(gain), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Filter maps (B, C, H, W)."""
        return _filter(maps, self.kernel, 1, self.padding, is_transposed=False)


class FilteredUpsampling(nn.Module):
    """Double maps (B, C, H, W) -> (B, C, 2 H, 2 W): insert zeros, then filter.

    Linear interpolation between centres of pixels, against zeros beyond the border. Without parameters.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", _kernel(4.0), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Double maps (B, C, H, W)."""
        return _filter(maps, self.kernel, 2, 1, is_transposed=True)


class FilteredDownsampling(nn.Module):
    """Halve maps (B, C, H, W) -> (B, C, H/2, W/2): filter, then keep every second pixel; H and W must be even.

    Constant maps stay constant inside; beyond the border are zeros. Without parameters.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", _kernel(1.0), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Halve maps (B, C, H, W)."""
        return _filter(maps, self.kernel, 2, 1, is_transposed=False)


def _kernel(gain: float) -> Tensor:
    """Return the weights (1, 1, 4, 4), whose sum is `gain`."""
    taps = torch.tensor(TAPS, device="cpu")
    taps = taps / taps.sum()
    return (gain * taps[:, None] * taps)[None, None].to(torch.get_default_device())


def _filter(maps: Tensor, kernel: Tensor, stride: int, padding: int, *, is_transposed: bool) -> Tensor:
    """Convolve each map with a symmetric kernel, or compute the adjoint of that convolution."""
    if torch.is_grad_enabled() and maps.requires_grad:
        result: Tensor = _ConstantFilter.apply(maps, kernel, stride, padding, is_transposed)
        return result
    return _convolve(maps, kernel, stride, padding, is_transposed)


def _convolve(maps: Tensor, kernel: Tensor, stride: int, padding: int, is_transposed: bool) -> Tensor:
    channels = maps.shape[1]
    weights = kernel.to(maps.dtype).expand(channels, 1, -1, -1)
    if not is_transposed:
        return conv2d(maps, weights, stride=stride, padding=padding, groups=channels)
    if stride == 1:  # The kernel is symmetric: its adjoint is a convolution, too.
        return conv2d(maps, weights, padding=kernel.shape[-1] - 1 - padding, groups=channels)
    return conv_transpose2d(maps, weights, stride=stride, padding=padding, groups=channels)


class _ConstantFilter(torch.autograd.Function):
    """A depthwise convolution with constant symmetric weights; its backward pass is its adjoint, of the same class."""

    generate_vmap_rule = True

    @staticmethod
    def forward(maps: Tensor, kernel: Tensor, stride: int, padding: int, is_transposed: bool) -> Tensor:
        return _convolve(maps, kernel, stride, padding, is_transposed)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Tensor, Tensor, int, int, bool], output: Tensor) -> None:
        _, kernel, *ctx.geometry = inputs  # type: ignore[attr-defined]
        ctx.save_for_backward(kernel)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        (kernel,) = ctx.saved_tensors  # type: ignore[attr-defined]
        stride, padding, is_transposed = ctx.geometry  # type: ignore[attr-defined]
        return _filter(gradient, kernel, stride, padding, is_transposed=not is_transposed), None, None, None, None
