"""Networks that grow: their level as a buffer, its schedule, and changes between resolutions.

Karras et al. 2018, "Progressive Growing of GANs", section 2. Level l has images of 4 * 2^l pixels a side. While level l
fades in, its images are mixed with those of level l - 1, with a share that rises from 0 to 1. Images have the full size
outside the networks at every level: averaged down or enlarged by repetition of pixels, as in the paper's code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

SMALLEST_SIDE = 4
"""Side of the images of level 0 in pixels."""
DOUBLING = 2**20
"""Units of the level in one doubling of the side."""


class Fade(NamedTuple):
    """Part of the growth: the highest level that acts, and its share, above 0 and at most 1; 1 when it is complete."""

    level: int
    share: float


def split_level(position: int) -> Fade:
    """Return the highest level that acts at a position in units of 1 / DOUBLING levels, and its share."""
    level, units = divmod(position, DOUBLING)
    return Fade(level + 1, units / DOUBLING) if units else Fade(level, 1.0)


class GrowthLevel(nn.Module):
    """The level of a network that grows: an int64 buffer `position`, in units of 1 / DOUBLING levels.

    A counter, so that a running average of the network has its exact value. It stays on the CPU, whatever the device of
    the network is, so that reading it does not wait for the device.
    """

    position: Tensor

    def __init__(self, level: int) -> None:
        super().__init__()
        self.register_buffer("position", torch.tensor(level * DOUBLING, dtype=torch.int64, device="cpu"))
        self.last_read = level * DOUBLING
        self.register_load_state_dict_post_hook(_read)  # type: ignore[no-untyped-call]  # torch annotates it partly

    def read(self) -> int:
        """Return the position. A compiler, which cannot read a tensor, gets the value that was read before."""
        if not torch.compiler.is_compiling():
            self.last_read = int(self.position)
        return self.last_read

    def fade(self) -> Fade:
        """Return the highest level that acts, and its share."""
        return split_level(self.read())

    def write(self, position: int) -> None:
        """Set the position."""
        self.position.fill_(position)
        self.last_read = position

    def _apply(self, *args: object, **kwargs: object) -> "GrowthLevel":
        """Keep the buffer where it is when the network is moved or converted."""
        return self


def _read(module: nn.Module, keys: object) -> None:
    """Read the position after it was loaded, for a compiler."""
    assert isinstance(module, GrowthLevel)
    module.read()


@dataclass(frozen=True, slots=True)
class GrowthSchedule:
    """Levels over the course of training.

    `first`: level at the start. `fades`: start and end of each doubling as shares of training, 0 to 1, in order.
    """

    first: int
    fades: Sequence[tuple[float, float]] = ()

    def position(self, progress: float) -> int:
        """Return the position at a share of training, in units of 1 / DOUBLING levels; linear within a fade."""
        shares = (_share(progress, start, end) for start, end in self.fades)
        return self.first * DOUBLING + sum(round(share * DOUBLING) for share in shares)


def _share(progress: float, start: float, end: float) -> float:
    """Return the share of a fade: 0 up to its start, 1 from its end on."""
    if progress >= end:
        return 1.0
    return (progress - start) / (end - start) if progress > start else 0.0


def equal_fades(count: int, end: float) -> tuple[tuple[float, float], ...]:
    """Return `count` fades until the share `end` of training: each level is trained alone, then fades, equally long.

    Karras 2018, appendix A. From 4 to 1,024 pixels, the authors' code takes 80 % of training.
    """
    length = end / (2 * count) if count else 0.0
    return tuple(((2 * index + 1) * length, (2 * index + 2) * length) for index in range(count))


def halve(images: Tensor, times: int = 1) -> Tensor:
    """Halve the sides of images (N, C, H, W), `times` times, to means of 2 x 2 pixels."""
    for _ in range(times):
        images = avg_pool2d(images, 2)
    return images


def enlarge(images: Tensor, times: int = 1) -> Tensor:
    """Double the sides of images or maps (N, C, H, W), `times` times, by repetition of pixels."""
    return interpolate(images, scale_factor=2**times, mode="nearest") if times else images


def blend(low: Tensor, high: Tensor, share: float) -> Tensor:
    """Mix (1 - share) low + share high; exactly `low` at 0 and exactly `high` at 1."""
    return torch.lerp(low, high, share)


def fade_details(images: Tensor, fade: Fade, full: int) -> Tensor:
    """Fade the details of images (N, C, H, W) of level `full` that the highest level adds (Karras 2018, figure 2).

    (1 - share) enlarge(halve(x)) + share x, with the images of the level below, for real samples. Details above the
    highest level remain; networks average them out.
    """
    if fade.share == 1:
        return images
    times = full - fade.level + 1
    return blend(enlarge(halve(images, times), times), images, fade.share)
