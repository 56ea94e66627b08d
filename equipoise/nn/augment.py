"""Differentiable augmentation of all inputs of a discriminator, real and fake.

Zhao 2020, Differentiable Augmentation for Data-Efficient GAN Training (DiffAugment), with two changes: each
augmentation is applied to a sample with probability p, as in Karras 2020 (ADA), so that one number is the strength and,
below about 0.8, augmentations do not leak into the generated samples; and the value of the border of a translated image
is an argument.

Images are (B, C, H, W) in [-1, 1]; colour augmentation can exceed that range, as in the paper. Sequences are (B, C, T)
in [-1, 1]; the augmentations shift, amplitude and gap are those of images in one dimension. All random numbers come
from `generator`, on the device of the images; how many are used depends only on the shape and the kinds.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from equipoise.errors import SettingError, UnknownNameError
from equipoise.nn.transparency import CHANNELS

Augmentation = Literal["colour", "translation", "cutout", "flip", "shift", "amplitude", "gap"]

TRANSLATION = 1 / 8
"""Maximum shift, as a fraction of the side (Zhao 2020)."""

SMALLEST_OPACITY = 1e-3
"""Smallest sum of the opacities of an image, in pixels, by which the sum of its colours is divided."""

CUTOUT = 1 / 2
"""Side of the square that is cut out, as a fraction of the side of the image (Zhao 2020)."""


def augment(
    images: Tensor, p: float, generator: Generator, kinds: Sequence[Augmentation], fill: float = -1.0
) -> Tensor:
    """Apply each of `kinds`, in order, to each sample with probability `p`.

    If p is 0, the input is returned and no random numbers are used. `fill`: value of the border of a translated image:
    -1 is the black background of digits and spectrograms, so that a shifted digit is a valid digit; 0 is grey, as in
    the paper. Raises SettingError for p outside [0, 1], UnknownNameError for an unknown kind.
    """
    if not 0 <= p <= 1:
        raise SettingError(f"the probability of augmentation is {p:g}; it must be between 0 and 1")
    if p == 0:
        return images
    for kind in kinds:
        if kind not in _KINDS:
            raise UnknownNameError("augmentation", kind, _KINDS)
        is_augmented = _uniform(images, generator, 0, 1, torch.float32) < p
        images = torch.where(is_augmented, _KINDS[kind](images, generator, fill), images)
    return images


def instance_noise(images: Tensor, std: float, generator: Generator) -> Tensor:
    """Compute x + std N(0, 1) for any shape (Sønderby 2017). If std is 0, return the input without random numbers."""
    if std == 0:
        return images
    noise = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    return images + std * noise


def _uniform(images: Tensor, generator: Generator, low: float, high: float, dtype: torch.dtype | None = None) -> Tensor:
    """Sample (B, 1, 1, 1), or (B, 1, 1) for sequences, from U(low, high)."""
    shape = (len(images), *(1,) * (images.ndim - 1))
    values = torch.rand(shape, generator=generator, device=images.device) * (high - low) + low
    return values.to(dtype or images.dtype)


def _integers(images: Tensor, generator: Generator, low: int, high: int) -> Tensor:
    """Sample (B, 1) int64 uniformly from low..high, both included."""
    return torch.randint(low, high + 1, (len(images), 1), generator=generator, device=images.device)


def _colour(images: Tensor, generator: Generator, fill: float) -> Tensor:
    """Change the colour: brightness + U(-0.5, 0.5), saturation * U(0, 2), contrast * U(0.5, 1.5).

    Saturation scales the difference from the grey value of the pixel, contrast that from the mean of the image.
    """
    brightness = _uniform(images, generator, -0.5, 0.5)
    saturation = _uniform(images, generator, 0, 2)
    contrast = _uniform(images, generator, 0.5, 1.5)
    if images.shape[1] == CHANNELS:
        return _visible_colour(images, brightness, saturation, contrast)
    images = images + brightness
    if images.shape[1] > 1:
        grey = images.mean(1, keepdim=True)
        images = grey + saturation * (images - grey)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + contrast * (images - mean)


def _visible_colour(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Change the colours of images with transparency, which are multiplied by the opacity; the opacity is unchanged.

    Where a pixel is opaque, as :func:`_colour` does; where it is transparent, nothing changes. The mean of the image is
    that of the visible colours.
    """
    colours, opacity = (images[:, :-1] + 1) / 2, (images[:, -1:] + 1) / 2
    colours = colours + brightness / 2 * opacity
    grey = colours.mean(1, keepdim=True)
    colours = grey + saturation * (colours - grey)
    total = opacity.sum((1, 2, 3), keepdim=True).clamp(min=SMALLEST_OPACITY)
    mean = colours.mean(1, keepdim=True).sum((1, 2, 3), keepdim=True) / total * opacity
    return torch.cat([2 * (mean + contrast * (colours - mean)) - 1, images[:, -1:]], dim=1)


def _translation(images: Tensor, generator: Generator, fill: float) -> Tensor:
    """Shift by up to an eighth of the side (rounded to pixels) in each direction; the border has the value `fill`."""
    _, channels, height, width = images.shape
    max_down, max_right = int(height * TRANSLATION + 0.5), int(width * TRANSLATION + 0.5)
    down = _integers(images, generator, -max_down, max_down)
    right = _integers(images, generator, -max_right, max_right)
    padded = pad(images, (max_right, max_right, max_down, max_down), value=fill)
    rows = torch.arange(height, device=images.device) + max_down - down
    columns = torch.arange(width, device=images.device) + max_right - right
    # Two gathers, rows then columns, take half the time of indexing both at once (0.7 with the backward pass).
    rowwise = padded.gather(2, rows[:, None, :, None].expand(-1, channels, -1, padded.shape[3]))
    return rowwise.gather(3, columns[:, None, None, :].expand(-1, channels, height, -1))


def _cutout(images: Tensor, generator: Generator, fill: float) -> Tensor:
    """Set a rectangle of half the sides to 0; its centre is uniform in the image, and it is clipped at the border."""
    _, _, height, width = images.shape
    rows, columns = _cut_mask(images, generator, height), _cut_mask(images, generator, width)
    return images.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], 0)


def _cut_mask(images: Tensor, generator: Generator, side: int) -> Tensor:
    """Return a mask (B, side) bool that covers half of a side around a random centre."""
    length = int(side * CUTOUT + 0.5)
    # The centre of an even length lies between two pixels, so there is one more position.
    first = _integers(images, generator, 0, side - length % 2) - length // 2
    position = torch.arange(side, device=images.device)
    return (position >= first) & (position < first + length)


def _flip(images: Tensor, generator: Generator, fill: float) -> Tensor:
    """Mirror horizontally."""
    return images.flip(-1)


def _shift(sequences: Tensor, generator: Generator, fill: float) -> Tensor:
    """Shift by up to an eighth of the length; the value at the border is repeated."""
    length = sequences.shape[2]
    most = int(length * TRANSLATION + 0.5)
    right = _integers(sequences, generator, -most, most)
    positions = (torch.arange(length, device=sequences.device) - right).clamp(0, length - 1)
    return sequences.gather(2, positions[:, None, :].expand(-1, sequences.shape[1], -1))


def _amplitude(sequences: Tensor, generator: Generator, fill: float) -> Tensor:
    """Change level and amplitude: + U(-0.25, 0.25), contrast * U(0.7, 1.4); half of the changes of an image.

    Contrast scales the difference from the mean of each channel.
    """
    level = _uniform(sequences, generator, -0.25, 0.25)
    contrast = _uniform(sequences, generator, 0.7, 1.4)
    mean = sequences.mean(2, keepdim=True)
    return mean + level + contrast * (sequences - mean)


def _gap(sequences: Tensor, generator: Generator, fill: float) -> Tensor:
    """Set half of the length to 0, around a centre that is uniform in the sequence; clipped at the border."""
    return sequences.masked_fill(_cut_mask(sequences, generator, sequences.shape[2])[:, None, :], 0)


_KINDS: Final[Mapping[str, Callable[[Tensor, Generator, float], Tensor]]] = {
    "colour": _colour,
    "translation": _translation,
    "cutout": _cutout,
    "flip": _flip,
    "shift": _shift,
    "amplitude": _amplitude,
    "gap": _gap,
}
