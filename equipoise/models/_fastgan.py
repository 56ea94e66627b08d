"""Networks of FastGAN: a light generator with skip-layer excitation, a discriminator that also reconstructs reals.

Levels are counted from the smallest map: level k of a square image of 4 2^n pixels has 4 2^k pixels a side.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from equipoise.losses.adversarial import at_least_float32
from equipoise.models._image_pyramid import ImagePyramid
from equipoise.nn.batch_norm import WholeBatchNorm2d
from equipoise.nn.excitation import SkipLayerExcitation

GENERATOR_MULTIPLES = (16, 8, 4, 2, 2, 1, 0.5, 0.25, 0.125)
DISCRIMINATOR_MULTIPLES = (16, 16, 8, 4, 2, 1, 0.5, 0.25, 0.125)
"""Channels of maps of 4, 8, ... 1,024 pixels as multiples of the width."""
PAIRS = 4
"""Largest number of skip-layer excitations: from maps of 4, 8, 16 and 32 pixels."""
FEATURE_LEVEL = 2
"""Level of the larger map of the features, 16 pixels; the logits are computed one level below, at 8 pixels."""
DECODED_LEVEL = 5
"""Highest level of a reconstruction, 128 pixels; larger images are averaged down to it."""
SLOPE = 0.2


@dataclass(frozen=True, slots=True)
class LayerWidths:
    """Channels of the maps of both networks. `width`: at 128 pixels. `widest`: the most that a map has."""

    width: int
    widest: int

    def counts(self, multiples: Sequence[float], levels: int) -> list[int]:
        """Return the channels of maps of 4, 8, ... pixels."""
        return [min(max(1, int(self.width * multiple)), self.widest) for multiple in multiples[:levels]]


def gated_upsampling(before: int, after: int) -> nn.Sequential:
    """Return a block that doubles maps: nearest, 3 x 3 convolution, batch normalisation, gated linear unit."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2),
        nn.Conv2d(before, 2 * after, 3, padding=1, bias=False),
        WholeBatchNorm2d(2 * after),
        nn.GLU(dim=1),
    )


class SkipLayerGenerator(nn.Module):
    """Generator with one convolution per size; small maps weight the channels of large ones (Liu 2021, figure 3)."""

    def __init__(
        self, pyramid: ImagePyramid, widths: LayerWidths, latent_dim: int, channels: int, classes: int, excitation: int
    ) -> None:
        """`excitation`: doublings between the maps of a pair, 0 for none. `classes`: 0 for none."""
        super().__init__()
        counts = widths.counts(GENERATOR_MULTIPLES, pyramid.doublings + 1)
        self.embedding = nn.Embedding(classes, latent_dim) if classes else None
        self.first = nn.Sequential(
            nn.ConvTranspose2d(latent_dim * (2 if classes else 1), 2 * counts[0], pyramid.start, bias=False),
            WholeBatchNorm2d(2 * counts[0]),
            nn.GLU(dim=1),
        )
        self.blocks = nn.ModuleList(gated_upsampling(*counts[level : level + 2]) for level in range(pyramid.doublings))
        self.excitation = excitation
        pairs = min(PAIRS, pyramid.doublings + 1 - excitation) if excitation else 0
        self.excitations = nn.ModuleList(
            SkipLayerExcitation(counts[low], counts[low + excitation]) for low in range(pairs)
        )
        self.last = nn.Sequential(nn.Conv2d(counts[-1], channels, 3, padding=1, bias=False), nn.Tanh())

    def forward(self, latent: Tensor, condition: Tensor | None) -> Tensor:
        """Generate images (B, C, H, W) in [-1, 1] from latents (B, L), and labels (B,) or None.

        Latents are divided by their root mean square: only their direction has an effect.
        """
        latent = latent * (latent.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        if self.embedding is not None:
            latent = torch.cat([latent, self.embedding(condition)], dim=1)
        maps: list[Tensor] = [self.first(latent[:, :, None, None])]
        for level, block in enumerate(self.blocks, 1):
            high: Tensor = block(maps[-1])
            low = level - self.excitation
            if self.excitation and 0 <= low < len(self.excitations):
                high = self.excitations[low](maps[low], high)
            maps.append(high)
        images: Tensor = self.last(maps[-1])
        return images


class ResidualHalving(nn.Module):
    """Halve maps: the mean of two convolutions and of a pooled 1 x 1 convolution (Liu 2021, figure 4)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.convolved = nn.Sequential(
            nn.Conv2d(before, after, 4, 2, 1, bias=False),
            WholeBatchNorm2d(after),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            WholeBatchNorm2d(after),
            nn.LeakyReLU(SLOPE),
        )
        self.pooled = nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(before, after, 1, bias=False), WholeBatchNorm2d(after), nn.LeakyReLU(SLOPE)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Transform (B, C, H, W) -> (B, D, H/2, W/2); H and W must be even."""
        result: Tensor = (self.convolved(maps) + self.pooled(maps)) / 2
        return result


class SelfSupervisedDiscriminator(nn.Module):
    """Discriminator with a logit per patch, and two decoders that reconstruct real images from its maps.

    Liu 2021, section 3.2 and figure 4: one decoder sees the map of 8 pixels and reconstructs the whole image, one sees
    a quarter of the map of 16 pixels and reconstructs that quarter of the image.
    """

    def __init__(self, pyramid: ImagePyramid, widths: LayerWidths, channels: int, classes: int) -> None:
        """`pyramid`: of images with at least FEATURE_LEVEL doublings. `classes`: 0 for none."""
        super().__init__()
        counts = widths.counts(DISCRIMINATOR_MULTIPLES, pyramid.doublings + 1)
        level = max(FEATURE_LEVEL, pyramid.doublings - (2 if pyramid.doublings >= 8 else 1))
        modules: list[nn.Module] = []
        if level == pyramid.doublings:
            modules += [nn.Conv2d(channels, counts[level], 3, padding=1, bias=False), nn.LeakyReLU(SLOPE)]
        for lower in range(pyramid.doublings - 1, level - 1, -1):
            before = channels if lower == pyramid.doublings - 1 else counts[lower + 1]
            modules += [nn.Conv2d(before, counts[lower], 4, 2, 1, bias=False), nn.LeakyReLU(SLOPE)]
        modules += [ResidualHalving(counts[upper], counts[upper - 1]) for upper in range(level, FEATURE_LEVEL, -1)]
        self.layers = nn.Sequential(*modules)
        count = counts[FEATURE_LEVEL - 1]
        self.shapes = [(counts[depth], *pyramid.sides(depth)) for depth in (FEATURE_LEVEL, FEATURE_LEVEL - 1)]
        self.halving = ResidualHalving(counts[FEATURE_LEVEL], count)
        self.patches = nn.Sequential(
            nn.Conv2d(count, count, 1, bias=False), WholeBatchNorm2d(count), nn.LeakyReLU(SLOPE)
        )
        self.last = nn.Conv2d(count, 1, 4, bias=False)
        self.projection = nn.Linear(count, classes, bias=False) if classes else None
        self.whole_decoder = _decoder(count, widths, min(pyramid.doublings, DECODED_LEVEL), channels)
        self.part_decoder = _decoder(counts[FEATURE_LEVEL], widths, min(pyramid.doublings - 1, DECODED_LEVEL), channels)

    def features(self, samples: Tensor) -> Tensor:
        """Compute features (B, F) of images (B, C, H, W): the maps of 16 and of 8 pixels, both flattened."""
        large: Tensor = self.layers(samples)
        return torch.cat([large.flatten(1), self.halving(large).flatten(1)], dim=1)

    def maps(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maps of 16 and of 8 pixels, (B, W, h, w) and (B, V, h / 2, w / 2), of features (B, F)."""
        large, small = features.split([math.prod(shape) for shape in self.shapes], dim=1)
        return large.unflatten(1, self.shapes[0]), small.unflatten(1, self.shapes[1])

    def logits(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Compute logits (B, K), one per patch, from features (B, F), and labels (B,) or None.

        K = (h / 2 - 3) (w / 2 - 3). With labels, <v_y, mean of the map> is added to all of them (Miyato and Koyama
        2018).
        """
        maps = self.patches(self.maps(features)[1])
        logits: Tensor = self.last(maps).flatten(1)
        if self.projection is None or condition is None:
            return logits
        class_logits: Tensor = self.projection(maps.mean((2, 3)))
        return logits + class_logits.gather(1, condition[:, None])

    def reconstruction_loss(self, images: Tensor, features: Tensor, corner: Tensor) -> Tensor:
        """Compute E (I' - I)² of whole images plus that of a quarter, a scalar.

        Liu 2021, section 3.2, with the squared distance of pixels instead of a perceptual one. `images`: (B, C, H, W).
        `features`: of these images. `corner`: (2,) int64 of 0 or 1, the row and the column of the quarter.
        """
        large, small = self.maps(features)
        whole = _distance(self.whole_decoder(small), images)
        return whole + _distance(self.part_decoder(quarter(large, corner)), quarter(images, corner))


def quarter(maps: Tensor, corner: Tensor) -> Tensor:
    """Return one quarter (B, C, H/2, W/2) of maps (B, C, H, W). `corner`: row and column, int64 on their device."""
    for axis, position in ((2, corner[0]), (3, corner[1])):
        half = maps.shape[axis] // 2
        maps = maps.index_select(axis, position * half + torch.arange(half, device=maps.device))
    return maps


def _distance(decoded: Tensor, target: Tensor) -> Tensor:
    """Compute the mean squared distance of images in float32 or wider; targets are averaged down to the same size."""
    reduced = adaptive_avg_pool2d(target, (decoded.shape[2], decoded.shape[3]))
    return (at_least_float32(decoded) - at_least_float32(reduced)).square().mean()


def _decoder(before: int, widths: LayerWidths, level: int, channels: int) -> nn.Sequential:
    """Return a decoder from maps of level 1 to images of a level, in [-1, 1]."""
    half = LayerWidths((widths.width + 1) // 2, widths.widest)
    counts = [before, *half.counts(GENERATOR_MULTIPLES, level + 1)[2:]]
    blocks = [gated_upsampling(*counts[index : index + 2]) for index in range(level - 1)]
    return nn.Sequential(*blocks, nn.Conv2d(counts[-1], channels, 3, padding=1, bias=False), nn.Tanh())
