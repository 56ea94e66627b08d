"""Output of image-to-image networks: an image, or a residual to the input."""

from torch import Tensor


def to_images(maps: Tensor, source: Tensor | None) -> Tensor:
    """Convert unbounded feature maps (B, C, H, W) to images in [-1, 1]: tanh, or the sum with `source`, clamped.

    `source`: (B, C', H, W) in [-1, 1], to which the maps are a residual (Kim 2016, "Accurate Image Super-Resolution
    Using Very Deep Convolutional Networks", section 3.2); converted between grey and colour if C' differs from C. With
    a residual, a network with output 0 copies its input, so that unchanged regions need not be learned.
    """
    if source is None:
        return maps.tanh()
    channels = maps.shape[1]
    if source.shape[1] == 1:
        source = source.expand(-1, channels, -1, -1)
    elif channels == 1:
        source = source.mean(dim=1, keepdim=True)
    return (source + maps).clamp(-1, 1)
