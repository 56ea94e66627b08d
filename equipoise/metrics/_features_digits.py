"""Features and logits of the digits classifier: see _digits_classifier.py."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equipoise.metrics._digits_classifier import DIGEST, digit_features, digit_logits

CLASSES = 10


@dataclass(frozen=True, slots=True)
class DigitFeatures:
    """64 features of the shipped network, of grey or colour images of any size in [-1, 1]."""

    digest: ClassVar[str | None] = DIGEST

    def __call__(self, samples: Tensor) -> Tensor:
        """Return (N, 64) float32; about 0.3 s per 1,000 images."""
        return digit_features(samples)


@dataclass(frozen=True, slots=True)
class DigitLogits:
    """Logits of the shipped network, of grey or colour images of any size in [-1, 1]."""

    digest: ClassVar[str | None] = DIGEST

    def __call__(self, samples: Tensor) -> Tensor:
        """Return (N, 10) float32 logits of the digits 0 to 9; about 0.3 s per 1,000 images."""
        return digit_logits(samples)


@dataclass(frozen=True, slots=True)
class StackedDigitNumbers:
    """The number that the digits in the three channels of an image form."""

    digest: ClassVar[str | None] = DIGEST

    def __call__(self, samples: Tensor) -> Tensor:
        """Return (N, 1) float32, from 0 to 999; the first channel is the hundreds digit."""
        digits = digit_logits(samples.flatten(0, 1).unsqueeze(1)).argmax(dim=1).view(len(samples), 3)
        return (digits * torch.tensor([100, 10, 1])).sum(dim=1, keepdim=True).float()
