"""Shifts and rotations of images by band-limited resampling, with the pixels where the result is valid.

Karras et al. 2021, "Alias-Free Generative Adversarial Networks", appendix E. Positions are in pixels, x to the right,
y down, 0 at the centre of the image. Kernels are products of Lanczos kernels, sinc(x) sinc(x / 3), and scaled so that
constants stay constant.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample

LOBES = 3
"""Half width of a Lanczos kernel in pixels: a = 3."""
RADIUS = 2 * LOBES
"""Half width of the kernel of a rotation in pixels: the convolution of two Lanczos kernels, further out below 1e-3."""
TABLE = 32
"""Entries of the table of that kernel per pixel."""
REACH = 5
"""Distance from the centre in pixels beyond which a Lanczos kernel is 0, in every direction: above 3 sqrt(2)."""


class Resampled(NamedTuple):
    """Images (N, C, H, W), float32, and a mask (H, W), bool: pixels that depend on nothing beyond the border."""

    images: Tensor
    valid: Tensor


def shift_by_pixels(images: Tensor, x: int, y: int) -> Resampled:
    """Return images whose pixel p is pixel p + (x, y) of images (N, C, H, W)."""
    height, width = images.shape[2:]
    rows, columns = torch.arange(height) + y, torch.arange(width) + x
    shifted = images[:, :, rows.clamp(0, height - 1)][:, :, :, columns.clamp(0, width - 1)]
    inside = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    return Resampled(shifted, inside[0][:, None] & inside[1])


def shift(images: Tensor, x: float, y: float) -> Resampled:
    """Return images whose pixel p is interpolated at p + (x, y), with a Lanczos kernel along each axis."""
    columns, valid_columns = _shift_matrix(images.shape[3], x)
    rows, valid_rows = _shift_matrix(images.shape[2], y)
    return Resampled(rows @ images @ columns.T, valid_rows[:, None] & valid_columns)


def rotate(images: Tensor, angle: float) -> Resampled:
    """Return square images whose pixel p is interpolated at R p, R = [[cos, -sin], [sin, cos]] of `angle` in radians.

    The kernel passes the frequencies that both grids can represent, before and after the rotation.
    """
    size = images.shape[3]
    table = _rotation_table(angle)
    centres = torch.arange(size, dtype=torch.float64) + 0.5 - size / 2
    offsets = torch.arange(-RADIUS + 1, RADIUS + 1)
    flat, rows, valid = images.flatten(2), [], []
    for y in centres:
        at_x = math.cos(angle) * centres - math.sin(angle) * y + size / 2 - 0.5  # columns and rows of the source
        at_y = math.sin(angle) * centres + math.cos(angle) * y + size / 2 - 0.5
        columns, lines = (at.floor().long()[:, None] + offsets for at in (at_x, at_y))
        dx, dy = columns - at_x[:, None], lines - at_y[:, None]
        weights = _look_up(
            table, dx[:, None, :].expand(-1, len(offsets), -1), dy[:, :, None].expand(-1, -1, len(offsets))
        )
        inside = (columns.amin(1) >= 0) & (columns.amax(1) < size) & (lines.amin(1) >= 0) & (lines.amax(1) < size)
        index = lines.clamp(0, size - 1)[:, :, None] * size + columns.clamp(0, size - 1)[:, None, :]
        weights = weights / weights.sum(dim=(1, 2), keepdim=True)
        rows.append((flat[:, :, index] * weights).sum(dim=(3, 4)))
        valid.append(inside)
    return Resampled(torch.stack(rows, dim=2), torch.stack(valid))


def limit_to_rotated_band(images: Tensor, angle: float) -> Resampled:
    """Filter images as :func:`rotate` does, without rotating them: images that were generated with that rotation."""
    taps = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64)
    # The kernel belongs to the grid before the rotation; in the rotated grid, its own axes are turned back.
    table = _rotation_table(-angle)
    kernel = _look_up(table, taps.expand(len(taps), -1), taps[:, None].expand(-1, len(taps)))
    kernel = (kernel / kernel.sum())[None, None]
    channels = images.shape[1]
    filtered = conv2d(images, kernel.expand(channels, 1, -1, -1), padding=RADIUS, groups=channels)
    valid = torch.zeros(images.shape[2:], dtype=torch.bool)
    valid[RADIUS:-RADIUS, RADIUS:-RADIUS] = True
    return Resampled(filtered, valid)


def _lanczos(x: Tensor) -> Tensor:
    return torch.sinc(x) * torch.sinc(x / LOBES) * (x.abs() < LOBES)


def _shift_matrix(size: int, distance: float) -> tuple[Tensor, Tensor]:
    """Return the matrix (size, size) of the interpolation of one axis at i + distance, and which outputs are valid."""
    places = torch.arange(size, dtype=torch.float64)
    at = places + distance
    weights = _lanczos(places - at[:, None])
    valid = (at.floor() - LOBES + 1 >= 0) & (at.ceil() + LOBES - 1 < size)
    total = torch.where(valid, weights.sum(dim=1), 1.0)
    return (weights / total[:, None]).float(), valid


def _rotation_table(angle: float) -> Tensor:
    """Return the kernel K = L * (L turned by R), L a product of Lanczos kernels, on a grid of TABLE points a pixel.

    Its transform is the product of theirs, so that it passes the intersection of two squares of frequencies. Size
    (2 n + 1, 2 n + 1) with n = 2 REACH TABLE, float64; positions from -2 REACH to 2 REACH.
    """
    points = REACH * TABLE
    axis = torch.arange(-points, points + 1, dtype=torch.float64) / TABLE
    y, x = axis[:, None], axis[None, :]
    upright = _lanczos(x) * _lanczos(y)
    turned = _lanczos(math.cos(angle) * x + math.sin(angle) * y) * _lanczos(-math.sin(angle) * x + math.cos(angle) * y)
    length = 4 * points + 1
    size = (length + 7, length + 7)  # 648, a product of small primes: twice as fast as 641, which is prime
    product = torch.fft.rfft2(upright, size) * torch.fft.rfft2(turned, size)
    table: Tensor = torch.fft.irfft2(product, size)[:length, :length]
    return table


def _look_up(table: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Interpolate the kernel linearly at distances (...) in pixels; 0 beyond RADIUS. float32."""
    grid = torch.stack([x, y], dim=-1).flatten(0, -2)[None, None] / (2 * REACH)
    values = grid_sample(table[None, None], grid.double(), mode="bilinear", align_corners=True).view(x.shape)
    return (values * ((x.abs() <= RADIUS) & (y.abs() <= RADIUS))).float()
