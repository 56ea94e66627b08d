"""LPIPS: AlexNet or VGG-16 trained on ImageNet, with channel weights fitted to human judgements.

Backbone weights are those that PyTorch publishes; the channel weights (version 0.1) come in the package torchmetrics.
"""

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from equipoise.errors import DataError
from equipoise.metrics import _image_distances, _weights
from equipoise.metrics._transparency import on_background

Backbone = Literal["alex", "vgg"]


class BackboneSpec(NamedTuple):
    """A backbone: torchvision's `model`, its `published` weights, and the index of the last module of each layer."""

    model: str
    published: _weights.WeightsFile
    ends: tuple[int, ...]


PACKAGES = ("torchvision", "torchmetrics")
SITE = "https://download.pytorch.org/models/"
ALEXNET = _weights.WeightsFile(f"{SITE}alexnet-owt-7be5be79.pth", "7be5be79", 233)
VGG16 = _weights.WeightsFile(f"{SITE}vgg16-397923af.pth", "397923af", 528)
BACKBONES: Mapping[Backbone, BackboneSpec] = {
    "alex": BackboneSpec("alexnet", ALEXNET, (1, 4, 7, 9, 11)),
    "vgg": BackboneSpec("vgg16", VGG16, (3, 8, 15, 22, 29)),
}
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""ImageNet mean and standard deviation on [-1, 1], as in LPIPS."""


@dataclass(frozen=True, slots=True, eq=False)
class LpipsNetwork:
    """A backbone with its channel weights per layer."""

    layers: nn.Sequential
    ends: tuple[int, ...]
    channels: tuple[Tensor, ...]

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps (B, C, h, w) of each compared layer, of images (B, 1, 3 or 4, H, W) in [-1, 1]."""
        shift, scale = (torch.tensor(values).view(1, 3, 1, 1) for values in (SHIFT, SCALE))
        current = (on_background(images.float().cpu()).expand(-1, 3, -1, -1) - shift) / scale
        result = []
        modules: Iterable[nn.Module] = self.layers[: self.ends[-1] + 1]
        for number, module in enumerate(modules):
            # torchvision's ReLUs work in place, which would overwrite the output of a compared layer.
            current = torch.relu(current) if number in self.ends else module(current)
            if number in self.ends:
                result.append(current)
        return result

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (B,) LPIPS between images of the same size."""
        return _image_distances.distance(self.maps(first), self.maps(second), self.channels)


def require_packages(metric: str) -> None:
    """Raise MissingPackageError if torchvision or torchmetrics is not installed."""
    for package in PACKAGES:
        _weights.require_package(package, metric)


@lru_cache(maxsize=2)
def load(backbone: Backbone, weights: str | None) -> LpipsNetwork:
    """Load the frozen network. Raises DataError without the weights, MissingPackageError without the extra."""
    require_packages("LPIPS")
    from torchvision import models

    spec = BACKBONES[backbone]
    tensors = _weights.load_tensors(spec.published, weights, "perceptual_efficientnet_lite0, which needs no download")
    package = importlib.util.find_spec("torchmetrics")
    if package is None or package.origin is None:
        raise DataError("the installed torchmetrics has no LPIPS weights: pip install 'equipoise[metrics]'")
    file = Path(package.origin).parent / "functional" / "image" / "lpips_models" / f"{backbone}.pth"
    heads = torch.load(file, map_location="cpu", weights_only=True)
    channels = tuple(heads[f"lin{layer}.model.1.weight"].flatten() for layer in range(len(spec.ends)))
    state = torch.get_rng_state()
    model = models.get_model(spec.model, weights=None)
    torch.set_rng_state(state)  # The random initial weights are replaced.
    model.load_state_dict(tensors)
    return LpipsNetwork(model.features.eval().requires_grad_(False), spec.ends, channels)
