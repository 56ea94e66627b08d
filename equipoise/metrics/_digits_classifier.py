"""The small network that knows digits, frozen: its features are what the metrics of digits compare.

`scripts/train_digits_classifier.py` rebuilds its weights from the digits that the package ships.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load as read_tensors
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.errors import DataError

FILE = Path(__file__).with_name("digits_classifier.safetensors")
DIGEST = "e30bfb5469e0ee8897829bb5536ed8a449991e8a7dfe114da68624d7872b9050"
SIZE = 32
FEATURES = 64
AT_ONCE = 250


def block(channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution that divides the size by its stride."""
    convolution = nn.Conv2d(channels_in, channels_out, kernel, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU())


class DigitsClassifier(nn.Module):
    """Four convolutions, `FEATURES` features, ten logits. 130,000 weights.

    Takes (B, 1, H, W) or (B, 3, H, W) in [-1, 1] of any size and float type: resized to 32 x 32 inside, channels
    averaged to grey. Computes in float32 even under autocast.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            block(1, 24, kernel=4, stride=2),
            block(24, 48),
            block(48, 48),
            nn.MaxPool2d(2),
            block(48, 64),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, 10)

    def features(self, images: Tensor) -> Tensor:
        """What the last layer sees: (B, FEATURES) float32, none below 0, the mean of their squares 1 in each row.

        The common length keeps one odd sample from outweighing all others where features are compared. An image
        without any feature has all at 0.
        """
        with torch.autocast(images.device.type, enabled=False):
            grey = images.float().mean(dim=1, keepdim=True)
            if tuple(grey.shape[2:]) != (SIZE, SIZE):
                grey = F.interpolate(grey, size=(SIZE, SIZE), mode="bilinear", antialias=True)
            features: Tensor = self.body(grey)
            return features * torch.rsqrt(features.square().mean(dim=1, keepdim=True) + 1e-6)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 10) float32 logits of the digits 0 to 9."""
        features = self.features(images)
        with torch.autocast(images.device.type, enabled=False):
            logits: Tensor = self.head(features)
            return logits


@lru_cache(maxsize=1)
def load() -> DigitsClassifier:
    """The shipped network on the CPU, in evaluation mode, its weights frozen. Draws no random numbers.

    Raises DataError if the shipped file is missing or damaged.
    """
    return _read(FILE)


def _read(file: Path) -> DigitsClassifier:
    """The network from its file. Raises DataError if that is not the shipped one."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}; install equipoise again") from error
    if hashlib.sha256(content).hexdigest() != DIGEST:
        raise DataError(f"{file} is damaged: its SHA-256 is not the published one; install equipoise again")
    with torch.device("meta"):
        network = DigitsClassifier()
    network.load_state_dict(read_tensors(content), assign=True)
    return network.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def digit_features(images: Tensor) -> Tensor:
    """Features of many images by the shipped network, piece by piece on the CPU: (N, FEATURES) float32."""
    return _in_pieces(load().features, images)


def digit_logits(images: Tensor) -> Tensor:
    """Logits of many images by the shipped network, piece by piece on the CPU: (N, 10) float32."""
    return _in_pieces(load(), images)


def _in_pieces(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    with torch.inference_mode():
        pieces = [function(piece.cpu()) for piece in torch.split(images, AT_ONCE)]
    return torch.cat(pieces)
