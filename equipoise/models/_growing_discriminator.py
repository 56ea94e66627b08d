"""The discriminator of ProGAN and StyleGAN: blocks that are added as the resolution grows.

Karras et al. 2018, "Progressive Growing of GANs", table 2; Karras et al. 2019, StyleGAN, adds the blur. Layers have an
equalised learning rate.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from equipoise.nn.blur import blur
from equipoise.nn.equalised import EqualConv2d, EqualLinear
from equipoise.nn.growing import SMALLEST_SIDE, GrowthLevel, blend, halve
from equipoise.nn.minibatch_deviation import MinibatchDeviation

SLOPE = 0.2
"""Of the leaky ReLU: Karras 2018, appendix A."""


class GrowingDiscriminator(nn.Module):
    """Discriminator of images (N, C, S, S), S the side of the highest level, whatever the present level is.

    `channels`: C. `widths`: channels of the maps of 4 x 4, 8 x 8, ... up to S x S. `group`: samples per group of the
    minibatch standard deviation. `classes`: number of labels, 0 for none. `blurs`: blur maps before they are halved.
    """

    def __init__(self, channels: int, widths: Sequence[int], *, group: int, classes: int, blurs: bool = False) -> None:
        super().__init__()
        self.highest = len(widths) - 1
        self.level = GrowthLevel(self.highest)
        self.from_image = nn.ModuleList(EqualConv2d(channels, width, 1) for width in widths)
        self.blocks = nn.ModuleList(
            _HalvingBlock(above, below, blurs) for above, below in zip(widths[1:], widths, strict=False)
        )
        width = widths[0]
        self.deviation = MinibatchDeviation(group)
        self.convolution = EqualConv2d(width + 1, width, 3)
        self.dense = EqualLinear(width * SMALLEST_SIDE**2, width, gain=math.sqrt(2))
        self.last = EqualLinear(width, 1)
        self.projection = EqualLinear(width, classes, bias=None) if classes else None

    def features(self, samples: Tensor) -> Tensor:
        """Compute features (N, W) of samples (N, C, S, S), which are averaged down to the present level."""
        fade = self.level.fade()
        images = halve(samples, self.highest - fade.level)
        maps = leaky_relu(self.from_image[fade.level](images), SLOPE)
        for level in range(fade.level, 0, -1):
            maps = self.blocks[level - 1](maps)
            if level == fade.level and fade.share < 1:
                # Karras 2018, figure 2: the layers of the level below see the image at half its size.
                below = leaky_relu(self.from_image[level - 1](halve(images)), SLOPE)
                maps = blend(below, maps, fade.share)
        maps = leaky_relu(self.convolution(self.deviation(maps)), SLOPE)
        return leaky_relu(self.dense(maps.flatten(1)), SLOPE)

    def logits(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Compute logits (N,) from features (N, W), and labels (N,) or None.

        With labels, an inner product with a vector per class is added (Miyato and Koyama 2018, equation 3), divided by
        the square root of its length, as in Karras 2020, "Training Generative Adversarial Networks with Limited Data".
        """
        logits: Tensor = self.last(features).flatten()
        if self.projection is None or condition is None:
            return logits
        class_logits: Tensor = self.projection(features)
        return logits + class_logits.gather(1, condition[:, None]).flatten()


class _HalvingBlock(nn.Module):
    """Two convolutions and the mean of 2 x 2 pixels, (N, I, H, W) -> (N, O, H / 2, W / 2).

    `blurs`: blur before the second convolution, whose output is halved (Karras 2019, section 2.1).
    """

    def __init__(self, before: int, after: int, blurs: bool) -> None:
        super().__init__()
        self.blurs = blurs
        self.first = EqualConv2d(before, before, 3)
        self.second = EqualConv2d(before, after, 3)

    def forward(self, maps: Tensor) -> Tensor:
        """Transform maps; H and W must be even."""
        maps = leaky_relu(self.first(maps), SLOPE)
        maps = self.second(blur(maps) if self.blurs else maps)
        # Halving before the activation, as in the authors' code; a convolution's bias is the same on both sides of it.
        return leaky_relu(halve(maps), SLOPE)
