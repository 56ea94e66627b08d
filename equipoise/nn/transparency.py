"""Images with transparency on an opaque background."""

from torch import Tensor

CHANNELS = 4
"""Channels of an image with transparency: colours multiplied by the opacity, and the opacity."""


def composite_on_grey(images: Tensor) -> Tensor:
    """Composite images (B, 4, H, W) in [-1, 1] on mid grey: (B, 3, H, W). Images of other channels are unchanged.

    In [0, 1] the image is c + (1 - α) / 2, for colours c multiplied by the opacity α (Porter and Duff 1984,
    "Compositing Digital Images", section 4.1: over an opaque background). On mid grey both dark and bright shapes
    remain visible. Differentiable; not limited to [-1, 1], since a generator's colours may exceed its opacity.
    """
    if images.shape[1] != CHANNELS:
        return images
    return images[:, :3] + (1 - images[:, 3:]) / 2
