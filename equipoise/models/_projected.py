"""Networks of Projected GAN: discriminators on the mixed feature maps of a frozen network."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from equipoise.nn.efficientnet import MAP_CHANNELS, EfficientNetLite0, to_network_input
from equipoise.nn.feature_mixing import FeatureMixing

SCALES = (4, 8, 16, 32)
"""Sides of inputs of the frozen network divided by sides of its maps, from fine to coarse."""
MIXED = 64
"""Channels of the mixed maps."""
LAST_SIDE = 8
"""Largest side of the map from which a discriminator computes its logits."""
MAX_WIDTH = 512
SLOPE = 0.2


class ScaleDiscriminator(nn.Module):
    """Discriminator of one scale: convolutions of stride 2 down to LAST_SIDE, then a logit per patch.

    Channels double with every halving, up to MAX_WIDTH; without normalisation, since the recipe divides the layers by
    their largest singular values (Sauer 2021, section 3.2).
    """

    def __init__(self, side: int, channels: int, classes: int) -> None:
        """`side`, `channels`: of the mixed map. `classes`: 0 for none."""
        super().__init__()
        modules: list[nn.Module] = []
        while side > LAST_SIDE:
            after = min(2 * channels, MAX_WIDTH)
            modules += [nn.Conv2d(channels, after, 4, 2, 1), nn.LeakyReLU(SLOPE)]
            side, channels = side // 2, after
        if not modules:
            modules = [nn.Conv2d(channels, channels, 3, padding=1), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*modules)
        self.shape = channels, side, side
        self.last = nn.Conv2d(channels, 1, min(4, side))
        self.projection = nn.Linear(channels, classes, bias=False) if classes else None

    def logits(self, maps: Tensor, condition: Tensor | None) -> Tensor:
        """Compute logits (B, K) from the last maps (B, C, h, w), and labels (B,) or None.

        With labels, <v_y, mean of the map> is added to all of them (Miyato and Koyama 2018).
        """
        logits: Tensor = self.last(maps).flatten(1)
        if self.projection is None or condition is None:
            return logits
        class_logits: Tensor = self.projection(maps.mean((2, 3)))
        return logits + class_logits.gather(1, condition[:, None])


class ProjectedDiscriminator(nn.Module):
    """Four discriminators that see images only through a frozen network and fixed random projections of its maps.

    The frozen network is not a part of this module, but an entry of the networks of the model: only its method is kept
    here, so that its weights are neither saved nor copied with those of the discriminator.
    """

    def __init__(self, feature_maps: Callable[[Tensor], list[Tensor]], side: int, classes: int) -> None:
        """`feature_maps`: of the frozen network. `side`: of its inputs, a multiple of 32. `classes`: 0 for none."""
        super().__init__()
        self.feature_maps, self.side = feature_maps, side
        self.mixing = FeatureMixing(MAP_CHANNELS[-len(SCALES) :], MIXED)
        self.scales = nn.ModuleList(ScaleDiscriminator(side // scale, MIXED, classes) for scale in SCALES)
        self.sizes = [torch.Size(scale.shape).numel() for scale in self.discriminators]

    @property
    def discriminators(self) -> list[ScaleDiscriminator]:
        """The discriminators of all scales, from fine to coarse."""
        return [scale for scale in self.scales if isinstance(scale, ScaleDiscriminator)]

    def features(self, samples: Tensor) -> Tensor:
        """Compute features (B, F) of images (B, 1 to 3, H, W): the last maps of all discriminators, flattened.

        Of images with two channels, the third is the mean of both.
        """
        if samples.shape[1] == 2:
            samples = torch.cat([samples, samples.mean(1, keepdim=True)], dim=1)
        mixed = self.mixing(self.feature_maps(to_network_input(samples, self.side)))
        maps = [scale.layers(map) for scale, map in zip(self.discriminators, mixed, strict=True)]
        return torch.cat([map.flatten(1) for map in maps], dim=1)

    def logits(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Compute logits (B, K) of all discriminators, from fine to coarse, from features (B, F) and labels or None."""
        parts = zip(self.discriminators, features.split(self.sizes, dim=1), strict=True)
        return torch.cat([scale.logits(part.unflatten(1, scale.shape), condition) for scale, part in parts], dim=1)


class FeatureNetwork(nn.Module):
    """EfficientNet-Lite0 as the frozen network of a model."""

    def __init__(self, network: EfficientNetLite0) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Return the maps (B, C, h, w) of inputs (B, 3, H, W) at 1/4, 1/8, 1/16 and 1/32 of their sides."""
        return list(self.network.maps(inputs))[-len(SCALES) :]
