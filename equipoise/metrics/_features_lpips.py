"""LPIPS: AlexNet or VGG-16, trained on ImageNet, and the weights of channels learnt from people's judgements.

Backbones are those that PyTorch publishes; channels' weights (version 0.1) come inside the torchmetrics package.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from equipoise.errors import DataError
from equipoise.metrics import _perceptual, _weights

Backbone = Literal["alex", "vgg"]


class Layers(NamedTuple):
    """A backbone: torchvision's `model`, its `published` weights, and where layers end that are compared."""

    model: str
    published: _weights.Published
    ends: tuple[int, ...]


SITE = "https://download.pytorch.org/models/"
BACKBONES: Mapping[Backbone, Layers] = {
    "alex": Layers("alexnet", _weights.Published(f"{SITE}alexnet-owt-7be5be79.pth", "7be5be79", 233), (1, 4, 7, 9, 11)),
    "vgg": Layers("vgg16", _weights.Published(f"{SITE}vgg16-397923af.pth", "397923af", 528), (3, 8, 15, 22, 29)),
}
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""ImageNet's mean and spread on [-1, 1], as LPIPS has them."""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A backbone and the weights of its channels, by layer."""

    layers: Any
    ends: tuple[int, ...]
    channels: tuple[Tensor, ...]

    def maps(self, images: Tensor) -> list[Tensor]:
        """(B, C, h, w) after each layer of images (B, 1 or 3, H, W) in [-1, 1]."""
        shift, scale = (torch.tensor(values).view(1, 3, 1, 1) for values in (SHIFT, SCALE))
        current = (images.float().cpu().expand(-1, 3, -1, -1) - shift) / scale
        result = []
        for number, layer in enumerate(self.layers[: self.ends[-1] + 1]):
            # torchvision's ReLUs write into what they read, which is kept where a layer ends.
            current = torch.relu(current) if number in self.ends else layer(current)
            if number in self.ends:
                result.append(current)
        return result

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """(B,) LPIPS between images of the same size."""
        return _perceptual.distance(self.maps(first), self.maps(second), self.channels)


@lru_cache(maxsize=2)
def load(backbone: Backbone, weights: str | None) -> Network:
    """The network, frozen. Raises DataError if the weights cannot be had, or torchmetrics is missing."""
    from torchvision import models

    of = BACKBONES[backbone]
    tensors = _weights.read(of.published, weights, "perceptual_efficientnet_lite0, which needs no download")
    package = importlib.util.find_spec("torchmetrics")
    if package is None or package.origin is None:
        raise DataError("lpips needs the package torchmetrics: pip install torchmetrics")
    file = Path(package.origin).parent / "functional" / "image" / "lpips_models" / f"{backbone}.pth"
    heads = torch.load(file, map_location="cpu", weights_only=True)
    channels = tuple(heads[f"lin{layer}.model.1.weight"].flatten() for layer in range(len(of.ends)))
    state = torch.get_rng_state()
    model = models.get_model(of.model, weights=None)
    torch.set_rng_state(state)  # its weights were drawn at random, and are replaced
    model.load_state_dict(tensors)
    return Network(model.features.eval().requires_grad_(False), of.ends, channels)
