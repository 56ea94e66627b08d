"""Leaky ReLU without aliasing: maps are upsampled, activated and downsampled, with low-pass filters.

    y = (f_down * lrelu(f_up * x))

A pointwise nonlinearity creates frequencies above the limit of the sampling rate. At m times the rate most of them can
be represented, and the second filter removes them before the maps are sampled at the lower rate again (Karras et al.
2021, "Alias-Free Generative Adversarial Networks", section 3.2 and figure 2).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu_

from equipoise.nn.kaiser import lowpass_filter, radial_lowpass_filter

SLOPE = 0.2
GAIN = math.sqrt(2)
"""Slope of negative values, and the factor that keeps the variance (Karras 2020, StyleGAN2)."""
LIMIT = 256.0
"""Largest absolute activation, for numbers of 16 bits (Karras 2021, appendix F)."""
CHUNK = 2**20
"""Upsampled numbers per chunk of a batch on a CPU: 4 MB. Larger maps leave the cache, and their memory is new each
time, which doubles the time of a layer. The result is the same, bit for bit."""
TAPS = 6
"""Taps of a filter, per ratio of the rates (Karras 2021, section 3.2: n = 6)."""


@dataclass(frozen=True, slots=True)
class Band:
    """The frequencies of a map: sampling rate s, cutoff f_c and half width f_h of the transition to the stop band.

    In samples and in cycles per unit length; the unit length is the side of an image (Karras 2021, section 3.2).
    """

    rate: int
    cutoff: float
    half_width: float


class FilteredLeakyReLU(nn.Module):
    """Leaky ReLU (N, C, H, H) -> (N, C, H', H') at m times the larger sampling rate, times sqrt(2), clamped to 256.

    Computed by separable depthwise convolutions, transposed and strided, which are the cheapest form on a CPU for maps
    in channels-last memory format; that of the input is kept. The result equals inserting zeros, padding or cropping,
    filtering and decimating.
    """

    up_filter: Tensor
    down_filter: Tensor

    def __init__(
        self, sizes: tuple[int, int], bands: tuple[Band, Band], *, oversampling: int = 2, radial: bool = False
    ) -> None:
        """`sizes`: H and H'. `bands`: of the input and of the output. `oversampling`: m.

        `radial`: the filter for downsampling passes a disc of frequencies, so that it is the same in every direction.
        """
        super().__init__()
        before, after = bands
        rate = oversampling * max(before.rate, after.rate)
        self.up, self.down = rate // before.rate, rate // after.rate
        up_taps, down_taps = (TAPS * factor if factor > 1 else 1 for factor in (self.up, self.down))
        up_filter = lowpass_filter(up_taps, before.cutoff, 2 * before.half_width, rate) * self.up * math.sqrt(GAIN)
        design = radial_lowpass_filter if radial else lowpass_filter
        down_filter = design(down_taps, after.cutoff, 2 * after.half_width, rate)
        device = torch.get_default_device()
        self.register_buffer("up_filter", up_filter.float().to(device), persistent=False)
        self.register_buffer("down_filter", down_filter.float().to(device), persistent=False)
        self.crop = _crop(sizes, (self.up, self.down), (up_taps, down_taps))

    def forward(self, x: Tensor) -> Tensor:
        """Activate (N, C, H, H) -> (N, C, H', H')."""
        # lrelu(g x) = g lrelu(x) for g > 0, so that the gain is part of the filter.
        if x.device.type != "cpu":
            return self.downsample(activate(self.upsample(x)))
        width = (x.shape[-1] - 1) * self.up + len(self.up_filter) - 2 * self.crop
        samples = max(1, CHUNK // (x.shape[1] * width**2))
        return torch.cat([self.downsample(activate(self.upsample(part))) for part in x.split(samples)])

    def upsample(self, x: Tensor) -> Tensor:
        """Insert zeros between samples and filter, times the gain; what the output does not depend on is cropped."""
        for shape, stride, crop in _per_axis(self.up, self.crop):
            filter = self.up_filter.view(1, 1, *shape).expand(x.shape[1], -1, -1, -1)
            x = conv_transpose2d(x, filter, stride=stride, padding=crop, groups=x.shape[1])
        return x

    def downsample(self, x: Tensor) -> Tensor:
        """Filter without padding, and keep every `down`-th sample."""
        if self.down_filter.ndim == 2:
            return conv2d(x, self.down_filter.expand(x.shape[1], 1, -1, -1), stride=self.down, groups=x.shape[1])
        for shape, stride, _ in _per_axis(self.down, 0):
            filter = self.down_filter.view(1, 1, *shape).expand(x.shape[1], -1, -1, -1)
            x = conv2d(x, filter, stride=stride, groups=x.shape[1])
        return x


def activate(x: Tensor) -> Tensor:
    """Compute clamp(lrelu(x)) in place of x, which must not be used afterwards; with a graph if x has one.

    Both derivatives follow from the result, so that one map is kept for them instead of three. On a CPU, memory for a
    large map takes longer than its arithmetic. The backward pass overwrites the gradient of the result, which must
    therefore have one use, such as a convolution.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        result: Tensor = _Activation.apply(x)
        return result
    return leaky_relu_(x, SLOPE).clamp_(-LIMIT, LIMIT)


class _Activation(torch.autograd.Function):
    """The leaky ReLU and its limit, in place; its backward pass is differentiable."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        leaky_relu_(x, SLOPE).clamp_(-LIMIT, LIMIT)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors  # type: ignore[attr-defined]
        if torch.is_grad_enabled():  # for a second derivative
            inside = torch.ops.aten.hardtanh_backward(gradient, y, -LIMIT, LIMIT)
            result: Tensor = torch.ops.aten.leaky_relu_backward(inside, y, SLOPE, True)
            return result
        # In place, too: the gradient is new memory of the convolution that follows, which nothing else uses.
        torch.ops.aten.hardtanh_backward.grad_input(gradient, y, -LIMIT, LIMIT, grad_input=gradient)
        torch.ops.aten.leaky_relu_backward.grad_input(gradient, y, SLOPE, True, grad_input=gradient)
        return gradient


Pair = tuple[int, int]


def _per_axis(stride: int, crop: int) -> tuple[tuple[Pair, Pair, Pair], tuple[Pair, Pair, Pair]]:
    """Return (shape of the filter, stride, crop) for the vertical and the horizontal axis."""
    return ((-1, 1), (stride, 1), (crop, 0)), ((1, -1), (1, stride), (0, crop))


def _crop(sizes: Pair, factors: Pair, taps: Pair) -> int:
    """Return how many samples to remove at each end of the upsampled map, so that it gives an output of that size.

    The full convolution of the transposed form has (H - 1) up + taps_up samples; H' outputs depend on
    (H' - 1) down + taps_down of them. Both ends lose equally many: Karras 2021 aligns the centres of the maps.
    """
    (before, after), (up, down), (up_taps, down_taps) = sizes, factors, taps
    surplus = (before - 1) * up + up_taps - ((after - 1) * down + down_taps)
    if surplus < 0 or surplus % 2:
        raise ValueError(f"maps of {before} pixels cannot become {after} pixels around the same centre: {surplus}")
    return surplus // 2
