"""Augmentation of the training images of a denoiser, which has the change of each image as an input.

Karras et al. 2022 ("Elucidating the Design Space of Diffusion-Based Generative Models"), appendix F.2: with the
description as an input, augmentations do not leak into samples, which are generated for the description 0, "unchanged".
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample

DESCRIPTION = 9
"""Numbers that describe an augmentation: two flips, scale, two of a rotation, two of a stretching, two shifts."""
SCALE_STD, TRANSLATION_STD = 0.2, 0.125
"""Standard deviation of log2 of a scale, and of a shift in sides of the image (Karras 2022, table 6)."""


def augment_labelled(
    images: Tensor, p: float, generator: Generator, *, flips: bool = True
) -> tuple[Tensor, Tensor | None]:
    """Apply each augmentation of table 6 with probability `p`; return images and descriptions (B, 9), 0 for unchanged.

    Images (B, C, H, W) in [-1, 1] are flipped, scaled, rotated, stretched and shifted together, by bilinear
    interpolation with the border repeated outside. `flips`: whether mirror images are augmentations, too; turning an
    image over is none then either. If p is 0, the images are returned with None, and no random numbers are used.
    """
    if p == 0:
        return images, None
    with torch.autocast(images.device.type, enabled=False):  # positions in an image need more than 8 bits
        return _augment(images.to(torch.promote_types(images.dtype, torch.float32)), p, generator, flips)


def _augment(images: Tensor, p: float, generator: Generator, flips: bool) -> tuple[Tensor, Tensor]:
    count, device = len(images), images.device

    def draw(values: Tensor) -> Tensor:
        return torch.where(torch.rand(count, generator=generator, device=device) < p, values, 0.0)

    def normal() -> Tensor:
        return torch.randn(count, generator=generator, device=device)

    def coin() -> Tensor:
        return torch.randint(2, (count,), generator=generator, device=device).float()

    def angle() -> Tensor:
        return (2 * torch.rand(count, generator=generator, device=device) - 1) * math.pi

    flip_x, flip_y = (draw(coin()) * flips for _ in range(2))
    scale, turn = draw(SCALE_STD * normal()), draw(angle())
    stretch_angle, stretch = draw(angle()), SCALE_STD * normal()
    stretch = torch.where(stretch_angle == 0, 0.0, stretch)
    shift_x, shift_y = (draw(TRANSLATION_STD * normal()) for _ in range(2))
    matrix = _rotations(turn) @ _stretchings(stretch_angle, stretch) / torch.exp2(scale)[:, None, None]
    mirror = torch.stack([1 - 2 * flip_x, 1 - 2 * flip_y], dim=1)
    matrix = torch.diag_embed(mirror) @ matrix
    shift = torch.stack([shift_x, shift_y], dim=1)
    theta = torch.cat([matrix, -2 * (matrix @ shift[:, :, None])], dim=2)
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    changed = grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    parts = [flip_x, flip_y, scale, turn.cos() - 1, turn.sin()]
    parts += [stretch * stretch_angle.cos(), stretch * stretch_angle.sin(), shift_x, shift_y]
    description = torch.stack(parts, dim=1)
    return torch.where((description != 0).any(1)[:, None, None, None], changed, images), description


def _rotations(angle: Tensor) -> Tensor:
    """Return matrices (B, 2, 2) that rotate by angles (B,)."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)


def _stretchings(angle: Tensor, exponent: Tensor) -> Tensor:
    """Return matrices (B, 2, 2) that scale by 2^e along an angle, and by 2^-e across it."""
    factors = torch.exp2(torch.stack([exponent, -exponent], dim=1))
    rotation = _rotations(angle)
    return rotation @ torch.diag_embed(factors) @ rotation.transpose(1, 2)
