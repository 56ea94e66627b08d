"""Samples as features, without a network."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d


@dataclass(frozen=True, slots=True)
class FlattenedSamples:
    """All values of a sample as a vector: pixels, or coordinates."""

    @property
    def digest(self) -> None:
        """None: no network."""

    def __call__(self, samples: Tensor) -> Tensor:
        """Return (N, D) float32 of (N, ...)."""
        return samples.detach().flatten(1).float().cpu()


@dataclass(frozen=True, slots=True)
class DownsampledImages:
    """Images averaged to `side` × `side` pixels, as vectors; smaller images are unchanged."""

    side: int

    @property
    def digest(self) -> None:
        """None: no network."""

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
