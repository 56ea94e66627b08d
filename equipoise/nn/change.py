"""The last step from maps to images: images anew, or a change of those that came in."""

from torch import Tensor


def finished(maps: Tensor, source: Tensor | None) -> Tensor:
    """(B, C, H, W) of any size of numbers -> images in [-1, 1]: tanh, or, on top of `source`, cut at both ends.

    `source` (B, C', H, W), in [-1, 1]: what a residual is learned to (Kim 2016, "Accurate Image Super-Resolution Using
    Very Deep Convolutional Networks", section 3.2), grey for colour or the other way round if C' is not C. A net that
    makes nothing makes a copy; grounds and strokes that stay need not be drawn anew.
    """
    if source is None:
        return maps.tanh()
    channels = maps.shape[1]
    if source.shape[1] == 1:
        source = source.expand(-1, channels, -1, -1)
    elif channels == 1:
        source = source.mean(dim=1, keepdim=True)
    return (source + maps).clamp(-1, 1)
