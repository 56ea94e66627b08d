"""Features without a large network: the samples themselves, and those of the digits classifier."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from equipoise.metrics._digits_classifier import DIGEST, digit_features, digit_logits


@dataclass(frozen=True, slots=True)
class FlattenedSamples:
    """All values of a sample as a vector: pixels, or coordinates."""

    @property
    def digest(self) -> None:
        """None, because there is no network."""

    def __call__(self, samples: Tensor) -> Tensor:
        """Return (N, D) float32 of (N, ...)."""
        return samples.detach().flatten(1).float().cpu()


@dataclass(frozen=True, slots=True)
class DownsampledImages:
    """Images averaged to `side` × `side` pixels, as vectors; smaller images are unchanged."""

    side: int

    @property
    def digest(self) -> None:
        """None, because there is no network."""

    def __call__(self, samples: Tensor) -> Tensor:
        """Return (N, D) float32 of (N, C, H, W)."""
        height, width = (min(self.side, length) for length in samples.shape[2:])
        return adaptive_avg_pool2d(samples.detach().float().cpu(), (height, width)).flatten(1)


@dataclass(frozen=True, slots=True)
class RawSamples:
    """Unchanged samples, for a metric whose network, of this digest, takes two images at a time."""

    digest: str | None

    def __call__(self, samples: Tensor) -> Tensor:
        """Return (N, ...) float32."""
        return samples.detach().float().cpu()


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
