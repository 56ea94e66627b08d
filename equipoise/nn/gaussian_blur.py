"""Gaussian blur of images, by one matrix per axis."""

import math

import torch
from torch import Tensor


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur images (N, C, H, W) by the filter 2^-(x / sigma)^2, x in pixels, with zeros beyond the border.

    Its standard deviation is sigma / sqrt(2 ln 2), 0.85 sigma; it ends at 3 sigma (Karras et al. 2021, "Alias-Free
    Generative Adversarial Networks", appendix F: blur at the start of training). Second derivatives, which gradient
    penalties need, are cheap. `sigma`: below 1/3 nothing changes.
    """
    radius = math.floor(3 * sigma)
    if not radius:
        return images
    rows, columns = (_blur_matrix(side, sigma, radius, images) for side in images.shape[2:])
    blurred: Tensor = rows @ images @ columns.T
    return blurred


def _blur_matrix(side: int, sigma: float, radius: int, like: Tensor) -> Tensor:
    """Return the matrix (side, side) of one axis, with dtype and device of `like`."""
    places = torch.arange(side, device=like.device, dtype=torch.float32)
    distances = places[:, None] - places[None, :]
    taps = torch.exp2(-((torch.arange(-radius, radius + 1, device=like.device) / sigma) ** 2))
    weights = torch.exp2(-((distances / sigma) ** 2)) * (distances.abs() <= radius)
    return (weights / taps.sum()).to(like.dtype)
