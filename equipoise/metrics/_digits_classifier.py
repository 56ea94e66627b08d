"""A small frozen classifier of handwritten digits: features for the digit metrics, and its classifier score.

`scripts/train_digits_classifier.py` reproduces the weights from the digits shipped with the package.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load as read_tensors
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.core.digests import read_shipped
from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.errors import UndefinedMetricError
from equipoise.metrics._transparency import on_background

FILE = Path(__file__).with_name("digits_classifier.safetensors")
DIGEST = "e30bfb5469e0ee8897829bb5536ed8a449991e8a7dfe114da68624d7872b9050"
SIZE = 32
FEATURES = 64
BATCH_SIZE = 250


def block(channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Return a convolution with batch normalisation and ReLU that divides the size by `stride`."""
    convolution = nn.Conv2d(channels_in, channels_out, kernel, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU())


class DigitsClassifier(nn.Module):
    """Classifier of four convolutions, `FEATURES` features and ten logits; 130,000 weights.

    Input: (B, 1, 3 or 4, H, W) in [-1, 1], any size and float dtype; resized to 32 x 32, channels averaged to
    grey. Computes in float32 even under autocast.
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
        """Return features (B, FEATURES) float32, non-negative, each row with mean square 1.

        The normalisation keeps a single unusual sample from dominating distances. An image that activates no feature
        has all features 0.
        """
        with torch.autocast(images.device.type, enabled=False):
            grey = on_background(images.float()).mean(dim=1, keepdim=True)
            if tuple(grey.shape[2:]) != (SIZE, SIZE):
                grey = F.interpolate(grey, size=(SIZE, SIZE), mode="bilinear", antialias=True)
            features: Tensor = self.body(grey)
            return features * torch.rsqrt(features.square().mean(dim=1, keepdim=True) + 1e-6)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, 10) float32 logits of the digits 0 to 9."""
        features = self.features(images)
        with torch.autocast(images.device.type, enabled=False):
            logits: Tensor = self.head(features)
            return logits


@lru_cache(maxsize=1)
def load() -> DigitsClassifier:
    """Load the shipped network on the CPU, in evaluation mode and frozen. Uses no random numbers.

    Raises DataError if the shipped file is missing or damaged.
    """
    return _read(FILE)


def _read(file: Path) -> DigitsClassifier:
    """Load the network from a file. Raises DataError if it is not the shipped one."""
    content = read_shipped(file, DIGEST)
    with torch.device("meta"):
        network = DigitsClassifier()
    network.load_state_dict(read_tensors(content), assign=True)
    return network.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def digit_features(images: Tensor) -> Tensor:
    """Compute features of the shipped network, in batches on the CPU: (N, FEATURES) float32."""
    return _in_batches(load().features, images)


def digit_logits(images: Tensor) -> Tensor:
    """Compute logits of the shipped network, in batches on the CPU: (N, 10) float32."""
    return _in_batches(load(), images)


def _in_batches(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    with torch.inference_mode():
        return torch.cat([function(batch.cpu()) for batch in torch.split(images, BATCH_SIZE)])


SHUFFLE_SEED = 2020
"""The seed of torch-fidelity, which gives the same splits."""
PUBLISHED_SPLIT_SIZE = 5000
"""Samples per split in published results."""


def compute_score(logits: Tensor, splits: int, bootstrap: Bootstrap) -> MetricResult:
    """Compute the score of logits (N, C); resamples are taken within each split.

    Raises DataError for fewer samples than splits.
    """
    if len(logits) < splits:
        raise UndefinedMetricError(
            f"{len(logits)} samples are too few for {splits} splits; increase --count or reduce splits"
        )
    shuffled = logits[np.random.RandomState(SHUFFLE_SEED).permutation(len(logits))].double()
    share, logarithm = shuffled.softmax(dim=1), shuffled.log_softmax(dim=1)
    weights = bootstrap.weights(len(logits), 1).double()
    values, resampled = [], torch.zeros(bootstrap.count, dtype=torch.float64)
    for number in range(splits):
        rows = slice(number * len(logits) // splits, (number + 1) * len(logits) // splits)
        negative_entropy = (share[rows] * logarithm[rows]).sum(dim=1)
        uniform = torch.full((1, len(negative_entropy)), 1 / len(negative_entropy), dtype=torch.float64)
        values.append(_split(share[rows], negative_entropy, uniform).item())
        resampled += (
            _split(share[rows], negative_entropy, weights[:, rows] / weights[:, rows].sum(dim=1, keepdim=True)) / splits
        )
    size = len(logits) // splits
    small = f"splits of {size:,} samples instead of {PUBLISHED_SPLIT_SIZE:,}: lower than published values"
    warnings = (small,) if size < PUBLISHED_SPLIT_SIZE else ()
    return MetricResult(float(np.mean(values)), resampled if bootstrap.count else None, warnings)


def _split(share: Tensor, negative_entropy: Tensor, weights: Tensor) -> Tensor:
    """Return exp(E_w Σ p log p - Σ p̄ log p̄), p̄ = E_w p, for each row of weights (R, N) with sum 1: (R,)."""
    mean = weights @ share
    scores: Tensor = (weights @ negative_entropy - torch.special.xlogy(mean, mean).sum(dim=1)).exp()
    return scores
