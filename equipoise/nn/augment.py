"""Augmentation that gradients pass through, for all that a discriminator sees, real and fake alike.

Zhao 2020, Differentiable Augmentation for Data-Efficient GAN Training (DiffAugment), with two changes:
each sample gets each kind with probability p only, as in Karras 2020 (ADA), so that the strength is one number that
can be turned and, below 0.8 or so, the generator cannot pass augmentation off as data; and the border that a
translation uncovers has a value of the caller's choice.

Images are (B, C, H, W) in [-1, 1]; colour may leave that range, as in the paper. All draws come from the generator,
which lives on the images' device, and their number depends on the shape and the kinds alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from equipoise.errors import SettingError, UnknownNameError

Kind = Literal["colour", "translation", "cutout", "flip"]

TRANSLATION = 1 / 8
"""Furthest shift, as a share of the side (Zhao 2020)."""

CUTOUT = 1 / 2
"""Side of the square cut out, as a share of the image's (Zhao 2020)."""


def augment(images: Tensor, p: float, generator: Generator, kinds: Sequence[Kind], fill: float = -1.0) -> Tensor:
    """`images` with each of `kinds`, in their order, applied to each sample with probability `p`.

    At p == 0 the very same tensor comes back and nothing is drawn. `fill` is what a translation uncovers: -1 is the
    black ground of digits and spectrograms, so that a shifted digit is again a digit; 0 is the paper's grey.
    """
    if not 0 <= p <= 1:
        raise SettingError(f"the probability of augmentation is {p:g}; it must lie between 0 and 1")
    if p == 0:
        return images
    for kind in kinds:
        if kind not in _KINDS:
            raise UnknownNameError("augmentation", kind, _KINDS)
        chosen = _uniform(images, generator, 0, 1, torch.float32) < p
        images = torch.where(chosen, _KINDS[kind](images, generator, fill), images)
    return images


def instance_noise(images: Tensor, std: float, generator: Generator) -> Tensor:
    """x + std N(0, 1), any shape: Sønderby 2017. At std == 0 the very same tensor; nothing is drawn."""
    if std == 0:
        return images
    noise = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    return images + std * noise


def _uniform(images: Tensor, generator: Generator, low: float, high: float, dtype: torch.dtype | None = None) -> Tensor:
    """(B, 1, 1, 1) from U(low, high)."""
    shape = (len(images), 1, 1, 1)
    draw = torch.rand(shape, generator=generator, device=images.device) * (high - low) + low
    return draw.to(dtype or images.dtype)


def _whole(images: Tensor, generator: Generator, low: int, high: int) -> Tensor:
    """(B, 1) int64 from low..high, both included."""
    return torch.randint(low, high + 1, (len(images), 1), generator=generator, device=images.device)


def _colour(images: Tensor, generator: Generator, fill: float) -> Tensor:
    """Brightness + U(-0.5, 0.5), saturation * U(0, 2), contrast * U(0.5, 1.5).

    Saturation scales the distance from the pixel's grey, contrast that from the image's mean.
    """
    brightness = _uniform(images, generator, -0.5, 0.5)
    saturation = _uniform(images, generator, 0, 2)
    contrast = _uniform(images, generator, 0.5, 1.5)
    images = images + brightness
    if images.shape[1] > 1:
        grey = images.mean(1, keepdim=True)
        images = grey + saturation * (images - grey)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + contrast * (images - mean)


def _translation(images: Tensor, generator: Generator, fill: float) -> Tensor:
    """Shift by whole pixels, each way up to an eighth of the side (rounded); `fill` comes in from beyond the border."""
    _, channels, height, width = images.shape
    furthest_down, furthest_right = int(height * TRANSLATION + 0.5), int(width * TRANSLATION + 0.5)
    down = _whole(images, generator, -furthest_down, furthest_down)
    right = _whole(images, generator, -furthest_right, furthest_right)
    padded = pad(images, (furthest_right, furthest_right, furthest_down, furthest_down), value=fill)
    rows = torch.arange(height, device=images.device) + furthest_down - down
    columns = torch.arange(width, device=images.device) + furthest_right - right
    # Two gathers, rows then columns, cost half of one indexing by both (0.7 of it with the backward pass).
    rowwise = padded.gather(2, rows[:, None, :, None].expand(-1, channels, -1, padded.shape[3]))
    return rowwise.gather(3, columns[:, None, None, :].expand(-1, channels, height, -1))


def _cutout(images: Tensor, generator: Generator, fill: float) -> Tensor:
    """A rectangle of half the sides set to 0, its centre anywhere in the image, what lies outside cut off."""
    _, _, height, width = images.shape
    rows, columns = _span(images, generator, height), _span(images, generator, width)
    return images.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], 0)


def _span(images: Tensor, generator: Generator, side: int) -> Tensor:
    """(B, side) bool: the half of a side around a random centre."""
    length = int(side * CUTOUT + 0.5)
    # An even length has its centre between two pixels, so there is one centre more.
    first = _whole(images, generator, 0, side - length % 2) - length // 2
    position = torch.arange(side, device=images.device)
    return (position >= first) & (position < first + length)


def _flip(images: Tensor, generator: Generator, fill: float) -> Tensor:
    """Left becomes right."""
    return images.flip(-1)


_KINDS: Final[Mapping[str, Callable[[Tensor, Generator, float], Tensor]]] = {
    "colour": _colour,
    "translation": _translation,
    "cutout": _cutout,
    "flip": _flip,
}
