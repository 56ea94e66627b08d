"""Distances of images to one image, differentiable: what a projection minimises.

efficientnet_lite0   the uncalibrated perceptual distance of Zhang et al. 2018, equation 1, as the metric
                     `perceptual_efficientnet_lite0`; its weights are installed with the package
vgg                  LPIPS on VGG-16, as Karras et al. 2020 (StyleGAN 2, appendix D); weights of 528 MB
pixels               mean squared difference of pixels at every resolution
"""

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from equipoise.core import catalog
from equipoise.nn.efficientnet import load_efficientnet_lite0, to_network_input
from equipoise.nn.transparency import composite_on_grey

DistanceName = Literal["efficientnet_lite0", "vgg", "pixels"]
Distance = Callable[[Tensor], Tensor]
"""Maps images (B, C, H, W) in about [-1, 1] to their distances (B,) from the target."""

SMALLEST_SIDE, LARGEST_SIDE = 96, 224
"""Sides in pixels to which images are resized for EfficientNet: that of the metric, and that of its training."""
EPSILON = 1e-8
"""Added to squared lengths, as the metric does."""


class PairDistance(Protocol):
    """The interface of a metric of pairs of images."""

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the distances (B,) of images (B, C, H, W)."""


def distance_to(target: Tensor, name: DistanceName) -> Distance:
    """Return the distance to a target image (1, C, H, W) in [-1, 1].

    Raises DataError if the weights of the network are missing, MissingPackageError for a package.
    """
    return DISTANCES[name](target)


def _efficientnet(target: Tensor) -> Distance:
    network = load_efficientnet_lite0()
    side = min(max(SMALLEST_SIDE, *target.shape[2:]), LARGEST_SIDE)
    with torch.no_grad():
        expected = [_normalise(maps) for maps in network.maps(to_network_input(composite_on_grey(target), side))]

    def distance(images: Tensor) -> Tensor:
        maps = network.maps(to_network_input(composite_on_grey(images), side))
        squares = [(_normalise(x) - y).square() for x, y in zip(maps, expected, strict=True)]
        return torch.stack([square.sum(dim=1).mean(dim=(1, 2)) for square in squares]).sum(dim=0)

    return distance


def _vgg(target: Tensor) -> Distance:
    metric: PairDistance = catalog.build("metrics", "lpips", {"backbone": "vgg"})
    metric.distance(target, target)  # loads the weights, or raises
    return lambda images: metric.distance(images, target.expand(len(images), -1, -1, -1))


def _pixels(target: Tensor) -> Distance:
    def distance(images: Tensor) -> Tensor:
        first, second, levels = images, target, []
        while True:
            levels.append((first - second).square().mean(dim=(1, 2, 3)))
            if min(first.shape[2:]) < 2:
                return torch.stack(levels).mean(dim=0)
            first, second = avg_pool2d(first, 2), avg_pool2d(second, 2)

    return distance


DISTANCES: Mapping[DistanceName, Callable[[Tensor], Distance]] = {
    "efficientnet_lite0": _efficientnet,
    "vgg": _vgg,
    "pixels": _pixels,
}


def _normalise(maps: Tensor) -> Tensor:
    """Return maps (B, C, h, w) of unit length over channels."""
    length: Tensor = (maps.square().sum(dim=1, keepdim=True) + EPSILON).sqrt()
    return maps / length
