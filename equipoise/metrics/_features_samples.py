"""The samples themselves, where no network looks at them."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d


@dataclass(frozen=True, slots=True)
class Flat:
    """All numbers of a sample in a row: pixels, or coordinates."""

    @property
    def digest(self) -> None:
        """No network."""

    def __call__(self, samples: Tensor) -> Tensor:
        """(N, D) float32 of (N, ...)."""
        return samples.detach().flatten(1).float().cpu()


@dataclass(frozen=True, slots=True)
class Shrunk:
    """Images averaged down to `side` × `side` pixels, in a row; smaller ones stay as they are."""

    side: int

    @property
    def digest(self) -> None:
        """No network."""

    def __call__(self, samples: Tensor) -> Tensor:
        """(N, D) float32 of (N, C, H, W)."""
        height, width = (min(self.side, length) for length in samples.shape[2:])
        return adaptive_avg_pool2d(samples.detach().float().cpu(), (height, width)).flatten(1)


@dataclass(frozen=True, slots=True)
class Unread:
    """Samples as they are, for a metric whose network, of this digest, reads two of them at a time."""

    digest: str | None

    def __call__(self, samples: Tensor) -> Tensor:
        """(N, ...) float32."""
        return samples.detach().float().cpu()
