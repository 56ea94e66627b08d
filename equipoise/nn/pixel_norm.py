"""Pixelwise normalisation of features."""

import torch
from torch import Tensor

EPSILON = 1e-8
"""Karras 2018, section 4.2."""


def pixel_norm(features: Tensor) -> Tensor:
    """Divide features (N, C, ...) by their root mean square over the channels, at each position separately.

    x / sqrt(mean_c x^2 + 1e-8) (Karras et al. 2018, "Progressive Growing of GANs", section 4.2), computed in float32 or
    wider and returned in the dtype of the features.
    """
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    return (wide * (wide.square().mean(dim=1, keepdim=True) + EPSILON).rsqrt()).to(features.dtype)
