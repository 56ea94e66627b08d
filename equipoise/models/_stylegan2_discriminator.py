"""Discriminator of StyleGAN 2: residual, or plain as in its experiments on CIFAR-10 (Karras 2020)."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu, one_hot

from equipoise.models._adversarial_extensions import Discriminator
from equipoise.nn.equalised import EqualConv2d, EqualLinear
from equipoise.nn.minibatch_deviation import MinibatchDeviation
from equipoise.nn.pixel_norm import pixel_norm
from equipoise.nn.resample_filter import FilteredDownsampling, Smoothing

DiscriminatorArchitecture = Literal["residual", "plain"]

SLOPE = 0.2
"""Of the leaky ReLU."""
LR_MULTIPLIER = 0.01
"""Of the layers that map labels."""


class StyleDiscriminator(Discriminator):
    """Images (B, C, H, W) -> logits (B,): blocks that halve the maps, minibatch deviation, two dense layers.

    With labels the logit is the inner product of the features and a mapped label, divided by the root of their number
    (Karras 2020, "Training Generative Adversarial Networks with Limited Data", appendix C; Miyato and Koyama 2018).
    """

    def __init__(
        self,
        image_channels: int,
        start: tuple[int, int],
        widths: Sequence[int],
        *,
        architecture: DiscriminatorArchitecture,
        group: int,
        classes: int = 0,
        label_layers: int = 0,
    ) -> None:
        """`start`: height and width of the smallest map. `widths`: channels per resolution, from the smallest.

        `group`: of the minibatch deviation. `classes`: 0 for none. `label_layers`: layers that map labels.
        """
        super().__init__()
        self.group = group
        self.colours = EqualConv2d(image_channels, widths[-1], 1)
        self.blocks = nn.ModuleList(
            HalvingBlock(before, after, is_residual=architecture == "residual")
            for before, after in itertools.pairwise(reversed(widths))
        )
        last = widths[0]
        self.deviation = MinibatchDeviation(group)
        self.convolution = EqualConv2d(last + 1, last, 3)
        self.dense = EqualLinear(last * math.prod(start), last, gain=math.sqrt(2))
        self.output = EqualLinear(last, last if classes else 1)
        self.label = LabelMapping(classes, last, label_layers) if classes else None

    def features(self, samples: Tensor) -> Tensor:
        """Compute features (B, W) of images (B, C, H, W)."""
        maps = leaky_relu(self.colours(samples), SLOPE, inplace=True)
        for block in self.blocks:
            maps = block(maps)
        maps = leaky_relu(self.convolution(self.deviation(maps)), SLOPE, inplace=True)
        return leaky_relu(self.dense(maps.flatten(1)), SLOPE)

    def logits(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Compute logits (B,) from features (B, W), and labels (B,), which are needed if there are classes."""
        outputs: Tensor = self.output(features)
        if self.label is None:
            return outputs[:, 0]
        if condition is None:
            raise ValueError("the discriminator needs a label per sample, because it was built with classes")
        label: Tensor = self.label(condition)
        return (outputs * label.to(outputs.dtype)).sum(dim=1) / math.sqrt(label.shape[1])


class HalvingBlock(nn.Module):
    """Block (B, I, H, W) -> (B, O, H/2, W/2): two convolutions, with filter and stride 2 in the second.

    Residual: y = (f(x) + down(x) w) / sqrt(2), with a 1 x 1 convolution w of the filtered and halved maps.
    """

    def __init__(self, in_channels: int, out_channels: int, *, is_residual: bool) -> None:
        super().__init__()
        self.first = EqualConv2d(in_channels, in_channels, 3)
        # sqrt(2) of the leaky ReLU and 1 / sqrt(2) of the sum cancel.
        self.second = EqualConv2d(in_channels, out_channels, 3, gain=1.0 if is_residual else math.sqrt(2))
        self.smoothing = Smoothing(padding=2)
        self.halving = FilteredDownsampling() if is_residual else None
        self.skip = EqualConv2d(in_channels, out_channels, 1, gain=math.sqrt(0.5), bias=False) if is_residual else None

    def forward(self, maps: Tensor) -> Tensor:
        """Transform maps (B, I, H, W); H and W must be even."""
        changed = self.smoothing(leaky_relu(self.first(maps), SLOPE, inplace=True))
        changed = conv2d(changed, self.second.weight * self.second.scale, self.second.bias, stride=2)
        changed = leaky_relu(changed, SLOPE, inplace=True)
        if self.skip is None or self.halving is None:
            return changed
        skipped: Tensor = self.skip(self.halving(maps))
        return changed + skipped


class LabelMapping(nn.Module):
    """Labels (B,) int64 -> vectors (B, D) of mean square 1, then `layers` linear layers with leaky ReLU."""

    def __init__(self, classes: int, size: int, layers: int) -> None:
        super().__init__()
        self.classes = classes
        self.embedding = EqualLinear(classes, size)
        self.layers = nn.ModuleList(
            EqualLinear(size, size, gain=math.sqrt(2), lr_multiplier=LR_MULTIPLIER) for _ in range(layers)
        )

    def forward(self, labels: Tensor) -> Tensor:
        """Map labels (B,) to vectors (B, D)."""
        features = pixel_norm(self.embedding(one_hot(labels, self.classes).to(self.embedding.weight.dtype)))
        for layer in self.layers:
            features = leaky_relu(layer(features), SLOPE)
        return features
