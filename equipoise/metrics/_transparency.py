"""Images with transparency for networks that see colour: on mid grey, the same for samples and reals."""

from torch import Tensor

from equipoise.nn.transparency import CHANNELS, composite_on_grey


def on_background(images: Tensor) -> Tensor:
    """Composite images (B, 4, H, W) on mid grey: (B, 3, H, W) in [-1, 1]. Grey and colour images are unchanged."""
    return composite_on_grey(images).clamp(-1, 1) if images.shape[1] == CHANNELS else images
