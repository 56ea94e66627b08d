"""Synthesis network without aliasing: details move and turn with the surfaces they belong to.

Karras et al. 2021, "Alias-Free Generative Adversarial Networks" (StyleGAN 3). Every layer is modulated by a style and
keeps its maps below the limit of their sampling rate, so that a transformation of the input, which is continuous, gives
the transformed image.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import conv2d

from equipoise.core.world import batch_world
from equipoise.nn.equalised import EqualLinear, initialise_equalised
from equipoise.nn.filtered_activation import LIMIT, Band, FilteredLeakyReLU
from equipoise.nn.fourier_features import FourierFeatures

FIRST_CUTOFF, FIRST_STOP, LAST_STOP = 2.0, 2**2.1, 2**0.3
"""f_c,0 and f_t,0 in cycles per image, and f_t,N relative to f_c,N = size / 2 (Karras 2021, section 3.2)."""
OUTPUT_GAIN = 0.25
"""Karras 2021, appendix F: images of the untrained network have about the contrast of photographs."""
EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class AliasFreeMaps:
    """Maps of one layer: (N, channels, size, size) with these frequencies."""

    channels: int
    size: int
    band: Band


def layer_maps(
    size: int, *, layers: int, critical: int, margin: int, channel_base: int, max_channels: int
) -> tuple[AliasFreeMaps, ...]:
    """Return the maps of all layers: `layers` + 1 of them, the last of which becomes the image by a convolution 1 x 1.

    Karras 2021, section 3.2, "Flexible layer specifications", and its figure 4 (left). `size`: side of the image, N.
    `critical`: the last layers that use the whole band up to half the sampling rate. `margin`: pixels around the image
    that all but the last two maps have. A map with cutoff f_c has min(channel_base / (2 f_c), max_channels) channels.
    """
    last_cutoff = size / 2
    maps = []
    for index in range(layers + 1):
        share = min(index / (layers - critical), 1.0)
        cutoff = FIRST_CUTOFF * (last_cutoff / FIRST_CUTOFF) ** share
        stop = FIRST_STOP * (last_cutoff * LAST_STOP / FIRST_STOP) ** share
        rate = 2 ** math.ceil(math.log2(min(2 * stop, size)))
        channels = round(min(channel_base / 2 / cutoff, max_channels))
        side = size if index >= layers - 1 else rate + 2 * margin
        maps.append(AliasFreeMaps(channels, side, Band(rate, cutoff, max(stop, rate / 2) - cutoff)))
    return tuple(maps)


class AliasFreeConvolution(nn.Module):
    """Convolution (N, I, H, H) -> (N, O, H', H') of odd kernel k, whose input channels a style scales; with biases.

    With `demodulate`, each filter is scaled so that an input of variance 1 gives an output of variance 1 (Karras 2020,
    StyleGAN2, section 2.2), and H' = H + k - 1: padding k - 1, so that nothing of the input is lost at the borders.
    Weights and scales are divided by their root mean squares before, so that numbers of 16 bits do not overflow;
    demodulation cancels both factors. Scales are normalised per sample, not over a batch as in Karras 2021, so that
    samples do not depend on each other; the result is the same.

    The input is divided by the root of `magnitude`, the running mean square of this layer's input; see :meth:`forward`.
    """

    magnitude: Tensor

    def __init__(self, channels: tuple[int, int], kernel: int, style_dim: int, *, demodulate: bool = True) -> None:
        """`channels`: I and O. The mean square, the buffer `magnitude`, starts at 1."""
        super().__init__()
        before, after = channels
        self.kernel, self.demodulate = kernel, demodulate
        self.affine = EqualLinear(style_dim, before, bias=1.0)
        self.weight = nn.Parameter(torch.empty(after, before, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after))
        self.register_buffer("magnitude", torch.ones(()))

    def forward(self, x: Tensor, style: Tensor, decay: float | None = None) -> Tensor:
        """Convolve (N, I, H, H) with styles (N, D).

        `decay`: of the running mean square in training, which the batch updates first; None leaves it as it is.
        """
        if decay is not None:
            self.update_magnitude(x, decay)
        with torch.autocast(x.device.type, enabled=False):
            weight, scale, output_scale = self._modulate(style.float())
        # Scaling the input and the output equals convolving each sample with weights of its own.
        x = conv2d(x * scale.to(x.dtype)[:, :, None, None], weight, padding=self.kernel - 1)
        if output_scale is not None:
            x = x * output_scale.to(x.dtype)[:, :, None, None]
        return x + self.bias.to(x.dtype)[:, None, None]

    def _modulate(self, style: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return weights (O, I, k, k), scales of the input (N, I), and of the output (N, O) with demodulation."""
        scale: Tensor = self.affine(style)
        weight: Tensor = self.weight
        input_gain = self.magnitude.rsqrt()
        if not self.demodulate:
            return weight, scale / math.sqrt(weight[0].numel()) * input_gain, None
        scale = scale * (scale.square().mean(dim=1, keepdim=True) + EPSILON).rsqrt()
        weight = weight * (weight.square().mean(dim=(1, 2, 3), keepdim=True) + EPSILON).rsqrt()
        energy = scale.square() @ weight.square().sum(dim=(2, 3)).T
        return weight, scale * input_gain, (energy + EPSILON).rsqrt()

    @torch.no_grad()
    def update_magnitude(self, x: Tensor, decay: float) -> None:
        """Update the running mean square by the inputs of a batch."""
        self.magnitude.lerp_(batch_world().mean(x.float().square().mean()), 1 - decay)


class AliasFreeLayer(nn.Module):
    """Modulated convolution and filtered leaky ReLU: maps (N, C, H, H) -> (N, C', H', H') of the next layer."""

    def __init__(
        self, maps: tuple[AliasFreeMaps, AliasFreeMaps], kernel: int, style_dim: int, *, radial: bool = False
    ) -> None:
        """`maps`: before and after. `radial`: see FilteredLeakyReLU."""
        super().__init__()
        before, after = maps
        self.convolution = AliasFreeConvolution((before.channels, after.channels), kernel, style_dim)
        sizes = before.size + kernel - 1, after.size
        self.activation = FilteredLeakyReLU(sizes, (before.band, after.band), radial=radial)

    def forward(self, x: Tensor, style: Tensor, decay: float | None = None) -> Tensor:
        """Apply the layer; arguments as of AliasFreeConvolution."""
        result: Tensor = self.activation(self.convolution(x, style, decay))
        return result


class AliasFreeSynthesis(nn.Module):
    """Synthesis network: one style per layer (N, `styles`, D) -> images (N, C, size, size), unbounded.

    Fourier features, `len(maps) - 1` layers and a modulated convolution to colours, each with a style.
    """

    def __init__(
        self,
        maps: Sequence[AliasFreeMaps],
        channels: int,
        style_dim: int,
        *,
        critical: int,
        kernel: int = 3,
        radial: bool = False,
    ) -> None:
        """`maps`: of :func:`layer_maps`. `channels`: C. `radial`: radial filters in all but the critical layers."""
        super().__init__()
        first, last = maps[0], maps[-1]
        self.styles = len(maps) + 1
        self.input = FourierFeatures(
            first.channels, first.size, rate=first.band.rate, bandwidth=first.band.cutoff, style_dim=style_dim
        )
        pairs = zip((first, *maps), maps[:-1], strict=False)
        self.layers = nn.ModuleList(
            AliasFreeLayer(pair, kernel, style_dim, radial=radial and index < len(maps) - 1 - critical)
            for index, pair in enumerate(pairs)
        )
        self.colours = AliasFreeConvolution((maps[-2].channels, channels), 1, style_dim, demodulate=False)
        if maps[-2].size != last.size:
            raise ValueError(f"the last two maps must have one size, not {maps[-2].size} and {last.size}")

    def forward(self, styles: Tensor, transform: Tensor | None = None, decay: float | None = None) -> Tensor:
        """Synthesise images from styles.

        `transform`: see FourierFeatures. `decay`: of the magnitudes in training; see AliasFreeConvolution.
        """
        x = self.input(styles[:, 0], transform)
        for index, layer in enumerate(self.layers, 1):
            x = layer(x, styles[:, index], decay)
        images: Tensor = self.colours(x, styles[:, -1], decay).clamp(-LIMIT, LIMIT) * OUTPUT_GAIN
        return images


@torch.no_grad()
def initialise_alias_free(network: nn.Module, generator: Generator) -> None:
    """Draw all weights of a network from N(0, 1), those of equalised layers by their own rule, and its input."""
    initialise_equalised(network, generator)
    for module in network.modules():
        if isinstance(module, AliasFreeConvolution):
            module.weight.normal_(generator=generator)
        elif isinstance(module, FourierFeatures):
            module.initialise(generator)
