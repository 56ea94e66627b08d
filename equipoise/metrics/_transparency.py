"""Images with transparency for networks that see colour: on a neutral background, the same for samples and reals."""

from torch import Tensor

BACKGROUND = 0.0
"""Value of the background in [-1, 1]: mid grey, on which both dark and bright shapes remain visible."""
RGBA = 4


def on_background(images: Tensor) -> Tensor:
    """Composite images (B, 4, H, W) in [-1, 1] on the background: (B, 3, H, W). Grey and colour images are unchanged.

    The first three channels are colours multiplied by the opacity, the last is the opacity, so that in [0, 1] the image
    is c + (1 - α) b (Porter and Duff 1984, "Compositing Digital Images", section 4.1: over an opaque background).
    """
    if images.shape[1] != RGBA:
        return images
    colour, opacity = images[:, :3], images[:, 3:]
    return (colour + (1 - opacity) / 2 * (BACKGROUND + 1)).clamp(-1, 1)
