"""Attention of a text-to-image generator: between places by distance, and from places to words (Kang 2023, GigaGAN).

Both layers add gamma times their output to the maps, where gamma is one number, 0 at first, so that a new layer is the
identity (Zhang et al. 2019). Linear layers have an equalised learning rate.
"""

import math

import torch
from torch import Tensor, nn

from equipoise.nn.equalised import EqualConv2d, EqualLinear

QUERY_SHARE, VALUE_SHARE = 8, 2
"""Channels of the maps divided by those of a query, and of a value: Zhang 2019, section 3, and its code."""


class DistanceAttention(nn.Module):
    """Self-attention y_i = x_i + gamma W_o sum_j b_ij v_j by distance: b_ij = softmax_j(-|q_i - q_j|^2 / sqrt(d)).

    Queries and keys are one projection q of d channels (Kang 2023, GigaGAN). By inner products attention has no
    Lipschitz bound, so that a discriminator with it is unstable; by distances it has one (Kim et al. 2021, "The
    Lipschitz Constant of Self-Attention", section 3.3). The memory is (B, H W, H W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dim, value_channels = max(1, channels // QUERY_SHARE), max(1, channels // VALUE_SHARE)
        self.query = EqualConv2d(channels, self.dim, 1, gain=1.0, bias=False)
        self.value = EqualConv2d(channels, value_channels, 1, gain=1.0, bias=False)
        self.output = EqualConv2d(value_channels, channels, 1, gain=1.0, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def weights(self, maps: Tensor) -> Tensor:
        """Compute b (B, places, places) for maps (B, C, H, W); each row sums to 1."""
        query: Tensor = self.query(maps).flatten(2)
        # |q_i|^2 is equal for all j of a row, so that the softmax does not depend on it.
        distances = query.square().sum(dim=1, keepdim=True) - 2 * query.transpose(1, 2) @ query
        return torch.softmax(-distances / math.sqrt(self.dim), dim=2)

    def forward(self, maps: Tensor) -> Tensor:
        """Transform (B, C, H, W) -> (B, C, H, W)."""
        value = self.value(maps).flatten(2)
        attended = (value @ self.weights(maps).transpose(1, 2)).unflatten(2, maps.shape[2:])
        result: Tensor = maps + self.gamma * self.output(attended)
        return result


class CrossAttention(nn.Module):
    """Attention of every place to the words of a text: softmax over the words of q_i . k_t / sqrt(d).

    `channels`: of the maps. `text_dim`: numbers of a word.
    """

    def __init__(self, channels: int, text_dim: int) -> None:
        super().__init__()
        self.dim, value_channels = max(1, channels // QUERY_SHARE), max(1, channels // VALUE_SHARE)
        self.query = EqualConv2d(channels, self.dim, 1, gain=1.0, bias=False)
        self.key = EqualLinear(text_dim, self.dim, bias=None)
        self.value = EqualLinear(text_dim, value_channels, bias=None)
        self.output = EqualConv2d(value_channels, channels, 1, gain=1.0, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def weights(self, maps: Tensor, words: Tensor, is_word: Tensor) -> Tensor:
        """Compute the attention (B, places, T) of maps (B, C, H, W) to words (B, T, E); each row sums to 1.

        `is_word`: (B, T) bool; others get 0. A text must have at least one.
        """
        query, key = self.query(maps).flatten(2), self.key(words)
        logits = query.transpose(1, 2) @ key.transpose(1, 2) / math.sqrt(self.dim)
        return torch.softmax(logits.masked_fill(~is_word[:, None, :], -math.inf), dim=2)

    def forward(self, maps: Tensor, words: Tensor, is_word: Tensor) -> Tensor:
        """Transform (B, C, H, W) -> (B, C, H, W)."""
        attended = self.weights(maps, words, is_word) @ self.value(words)
        places = attended.transpose(1, 2).unflatten(2, maps.shape[2:])
        result: Tensor = maps + self.gamma * self.output(places)
        return result
