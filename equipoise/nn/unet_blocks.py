"""Parts of a diffusion U-Net: residual blocks that read an embedding, self-attention, resampling.

Ho et al. 2020 ("Denoising Diffusion Probabilistic Models"), appendix B; Song et al. 2021 ("Score-Based Generative
Modeling through Stochastic Differential Equations"), appendix H, as DDPM++.
"""

import math
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pad, silu

from equipoise.nn.layers import dropout

Resampling = Literal["none", "down", "up"]
MAX_GROUPS, MIN_GROUP = 32, 4
"""Most groups of a normalisation (Wu and He 2018, section 4.1), and the fewest channels of a group."""


def group_normalisation(channels: int) -> nn.GroupNorm:
    """Return a normalisation of at most 32 groups with at least 4 channels each (Karras 2022's code)."""
    most = max(1, min(MAX_GROUPS, channels // MIN_GROUP))
    groups = max(groups for groups in range(1, most + 1) if channels % groups == 0)
    return nn.GroupNorm(groups, channels, eps=1e-6)


class GlobalAttention(nn.Module):
    """Layer x + W softmax(q k^T / sqrt(C)) v, with q, k, v of the normalised x: every place attends to all places.

    One head, as in DDPM's code and in EDM's networks of that kind. The softmax is computed in float32. The memory is
    (B, H W, H W). W is 0 at first.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_normalisation(channels)
        self.inputs = nn.Conv2d(channels, 3 * channels, 1)
        self.output = nn.Conv2d(channels, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Transform (B, C, H, W) -> (B, C, H, W)."""
        query, key, value = self.inputs(self.norm(maps)).flatten(2).chunk(3, dim=1)
        scores = query.transpose(1, 2) @ key / math.sqrt(maps.shape[1])
        weights = scores.float().softmax(dim=2).to(value.dtype)
        attended = (value @ weights.transpose(1, 2)).unflatten(2, maps.shape[2:])
        change: Tensor = self.output(attended)
        return maps + change


class EmbeddingBlock(nn.Module):
    """Residual block s (skip(x) + conv(dropout(silu(norm(conv(silu(norm(x))) + A e))))), e an embedding.

    `resampling`: maps are halved by means of 2 x 2 or doubled by repetition, before the first convolution and on the
    skip path. `scale`: s, 1 (Ho 2020) or sqrt(1/2) (Song 2021). Attention, if any, follows, scaled alike. The last
    convolution is 0 at first.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        embedding: int,
        *,
        resampling: Resampling = "none",
        attention: bool = False,
        p: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        """`embedding`: length of e. `p`: probability of dropout."""
        super().__init__()
        self.resampling, self.p, self.scale = resampling, p, scale
        self.first_norm, self.second_norm = group_normalisation(channels_in), group_normalisation(channels_out)
        self.first = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.second = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.shift = nn.Linear(embedding, channels_out)
        plain = channels_in == channels_out and resampling == "none"
        self.skip = nn.Identity() if plain else nn.Conv2d(channels_in, channels_out, 1)
        self.attention = GlobalAttention(channels_out) if attention else None

    def forward(self, maps: Tensor, embedding: Tensor, generator: Generator | None = None) -> Tensor:
        """Transform (B, C, H, W) -> (B, C', H', W'); `embedding` (B, E). `generator`: of dropout; None disables it."""
        hidden = self.first(resample(silu(self.first_norm(maps)), self.resampling))
        hidden = silu(self.second_norm(hidden + self.shift(embedding)[:, :, None, None]))
        change = self.second(dropout(hidden, self.p, generator))
        result: Tensor = self.scale * (self.skip(resample(maps, self.resampling)) + change)
        return result if self.attention is None else self.scale * self.attention(result)


class ResamplingConvolution(nn.Module):
    """Convolution 3 x 3 of stride 2, or after doubling by repetition (Ho 2020's code; padding on all sides here)."""

    def __init__(self, channels: int, resampling: Resampling) -> None:
        super().__init__()
        self.up = resampling == "up"
        self.convolution = nn.Conv2d(channels, channels, 3, 1 if self.up else 2, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Transform (B, C, H, W) -> (B, C, H / 2, W / 2) or (B, C, 2 H, 2 W)."""
        result: Tensor = self.convolution(resample(maps, "up") if self.up else maps)
        return result


class NoiseEmbedding(nn.Module):
    """Embedding of noise levels x: cosines and sines of w x, w from 1 to 1e-4, and two layers.

    The waves are those of Vaswani 2017, section 3.5. `inputs`: number of waves, and a zero if it is odd. `outputs`:
    length of the embedding. Labels are added before the layers (Karras 2022's code): a linear layer of their one-hot
    vector times sqrt(classes); without label, of zeros.
    """

    def __init__(self, inputs: int, outputs: int, classes: int = 0, augmentations: int = 0) -> None:
        """`classes`: 0 for none. `augmentations`: numbers that describe how an image was augmented (Karras 2022)."""
        super().__init__()
        self.inputs, self.classes = inputs, classes
        self.first, self.second = nn.Linear(inputs, outputs), nn.Linear(outputs, outputs)
        self.label = nn.Linear(classes, inputs) if classes else None
        self.augmentation = nn.Linear(augmentations, inputs, bias=False) if augmentations else None

    def forward(self, noise: Tensor, labels: Tensor | None = None, augmentation: Tensor | None = None) -> Tensor:
        """Embed (B,) float32 -> (B, outputs); labels (B,) int64, -1 for none; augmentation (B, A), None for none."""
        half = self.inputs // 2
        exponents = torch.arange(half, device=noise.device, dtype=torch.float32) / max(1, half - 1)
        phases = noise.float()[:, None] * 1e-4**exponents
        waves = pad(torch.cat([phases.cos(), phases.sin()], dim=1), (0, self.inputs - 2 * half))
        if self.label is not None:
            numbers = torch.arange(self.classes, device=noise.device)
            missing = torch.full_like(noise, -1, dtype=torch.int64)
            one_hot = ((missing if labels is None else labels)[:, None] == numbers).float()
            waves = waves + self.label(one_hot * math.sqrt(self.classes))
        if self.augmentation is not None and augmentation is not None:
            waves = waves + self.augmentation(augmentation)
        result: Tensor = silu(self.second(silu(self.first(waves))))
        return result


def resample(maps: Tensor, resampling: Resampling) -> Tensor:
    """Halve maps (B, C, H, W) by means of 2 x 2, double them by repetition, or return them."""
    if resampling == "none":
        return maps
    return avg_pool2d(maps, 2) if resampling == "down" else interpolate(maps, scale_factor=2.0, mode="nearest")
