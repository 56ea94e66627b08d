"""Features of EfficientNet-Lite0 trained on ImageNet; see :mod:`equipoise.nn.efficientnet`.

They are not Inception features: no value computed from them is comparable with a published FID or KID.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from equipoise.metrics import _image_distances
from equipoise.metrics._transparency import on_background
from equipoise.nn.efficientnet import DIGEST, EfficientNetLite0, load_efficientnet_lite0, to_network_input

SIZE = 96
"""Side in pixels to which images are resized. The training size, 224, would take nine times as long."""
BATCH_SIZE = 20
"""Takes 0.6 times as long as 100, whose maps are so large that each is new memory of the operating system."""


@dataclass(frozen=True, slots=True)
class EfficientNetFeatures:
    """1,280 pooled features of grey or colour images in [-1, 1], resized to 96 x 96 pixels."""

    digest: ClassVar[str] = DIGEST

    def __call__(self, samples: Tensor) -> Tensor:
        """Return (N, 1280) float32; about 11 s per 1,000 images. Raises DataError if the packages are not installed."""
        network = load()
        with torch.inference_mode():
            result = [network(preprocess(batch)).mean(dim=(2, 3)) for batch in torch.split(samples, BATCH_SIZE)]
        return torch.cat(result).clone()


def preprocess(images: Tensor) -> Tensor:
    """Convert images (B, 1, 3 or 4, H, W) in [-1, 1] to network input (B, 3, 96, 96) on the CPU."""
    return to_network_input(on_background(images.detach().float().cpu()), SIZE)


@lru_cache(maxsize=1)
def load() -> EfficientNetLite0:
    """Load the frozen network on the CPU, in evaluation mode. Raises DataError if its packages are missing."""
    return load_efficientnet_lite0()


def perceptual_distance(first: Tensor, second: Tensor) -> Tensor:
    """Compute the perceptual distance of images (B, C, H, W) with all channel weights 1: (B,) float32."""
    network = load()
    return _image_distances.distance(network.maps(preprocess(first)), network.maps(preprocess(second)))
