"""Equivariance of a generator to translation and rotation: PSNR in dB of a transformed scene.

    EQ = 20 log10 2 - 10 log10 E (g(t(scene)) - t(g(scene)))^2        for values in [-1, 1]

Karras et al. 2021, "Alias-Free Generative Adversarial Networks", equations 3 and 4 and appendix E; over the pixels that
both images define, those beyond the border excluded. Images are not clamped: that would be a nonlinearity of its own.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from equipoise.core.equivariance import Scenes
from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.errors import UndefinedMetricError
from equipoise.metrics._resampling import Resampled, limit_to_rotated_band, rotate, shift, shift_by_pixels

LARGEST_SHIFT = 0.125
"""Largest translation along each axis, in sides of an image (Karras 2021, appendix E.1)."""
RANGE = 2.0
"""Difference of the largest and the smallest value."""


class SquaredErrors(NamedTuple):
    """Sums of squared differences (N,) float64 of N images, and the number of values of each sum."""

    sums: Tensor
    values: int


Compare = Callable[[Scenes, Generator], SquaredErrors]


def translation_matrix(x: float, y: float) -> Tensor:
    """Return the matrix (3, 3) by which pixel p shows position p + (x, y), in sides of the image."""
    return torch.tensor([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def rotation_matrix(angle: float) -> Tensor:
    """Return the matrix (3, 3) by which pixel p shows position R p, R a rotation by `angle` in radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def translation_errors(scenes: Scenes, generator: Generator) -> SquaredErrors:
    """Translate square images by whole pixels, as many as are nearest to a random translation."""
    images = scenes(torch.eye(3))
    size = images.shape[3]
    x, y = (round(number * size) for number in _draw_shift(generator))
    return _compare(shift_by_pixels(images, x, y), scenes(translation_matrix(x / size, y / size)))


def fractional_translation_errors(scenes: Scenes, generator: Generator) -> SquaredErrors:
    """Translate square images by any random number of pixels; the reference is interpolated by Lanczos kernels."""
    images = scenes(torch.eye(3))
    x, y = _draw_shift(generator)
    size = images.shape[3]
    return _compare(shift(images, x * size, y * size), scenes(translation_matrix(x, y)))


def rotation_errors(scenes: Scenes, generator: Generator) -> SquaredErrors:
    """Rotate square images by a random angle.

    The reference has only the frequencies that the grid can represent before and after the rotation; the same band of
    the generated image is compared with it ("pseudo-rotation", appendix E.3).
    """
    angle = 2 * math.pi * torch.rand((), generator=generator).item()
    reference = rotate(scenes(torch.eye(3)), angle)
    images, valid = limit_to_rotated_band(scenes(rotation_matrix(angle)), angle)
    return _compare(Resampled(reference.images, reference.valid & valid), images)


def equivariance(scenes: Iterable[Scenes], compare: Compare, bootstrap: Bootstrap) -> MetricResult:
    """Compute the PSNR of all batches of scenes, in dB, with resamples of the images.

    Transformations are drawn from a generator with the seed of `bootstrap`, one per batch. Raises UndefinedMetricError
    for no scenes, or images too small for a pixel within the borders.
    """
    generator = Generator().manual_seed(bootstrap.seed)
    errors = [compare(batch, generator) for batch in scenes]
    sums = torch.cat([batch.sums for batch in errors]) if errors else torch.empty(0)
    values = torch.cat([torch.full((len(batch.sums),), float(batch.values)) for batch in errors]) if errors else sums
    if not values.sum() > 0:
        raise UndefinedMetricError("equivariance needs at least one image with pixels far from its border")
    value = _psnr(sums.sum() / values.sum()).item()
    if not bootstrap.count:
        return MetricResult(value)
    weights = bootstrap.weights(len(sums), 1).double()
    return MetricResult(value, _psnr((weights @ sums) / (weights @ values.double())))


def _draw_shift(generator: Generator) -> tuple[float, float]:
    """Draw a translation along both axes, uniform, in sides of an image."""
    x, y = ((torch.rand(2, generator=generator) * 2 - 1) * LARGEST_SHIFT).tolist()
    return x, y


def _compare(reference: Resampled, images: Tensor) -> SquaredErrors:
    """Compare valid pixels of images (N, C, H, W)."""
    differences = (images - reference.images).double() * reference.valid
    return SquaredErrors(differences.square().sum(dim=(1, 2, 3)), int(reference.valid.sum()) * images.shape[1])


def _psnr(mean_square: Tensor) -> Tensor:
    return 20 * math.log10(RANGE) - 10 * torch.log10(mean_square.double())
