"""Gaussian blur by matrices, against a separable convolution."""

import pytest
import torch
from torch.nn.functional import conv2d

from equipoise.nn.gaussian_blur import gaussian_blur


@pytest.mark.parametrize("sigma", [0.5, 1.25, 10.0])
def test_equals_a_convolution_with_zeros_beyond_the_border(sigma):
    images = torch.randn(2, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    radius = int(3 * sigma)
    taps = 2.0 ** -((torch.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = torch.outer(taps, taps) / taps.sum() ** 2
    expected = conv2d(images.flatten(0, 1)[:, None], kernel[None, None], padding=radius).view(images.shape)
    assert torch.allclose(gaussian_blur(images, sigma), expected, atol=1e-6)


def test_narrow_blur_changes_nothing():
    images = torch.randn(2, 3, 8, 8)
    assert gaussian_blur(images, 0.3) is images
    assert gaussian_blur(images, 0.0) is images
