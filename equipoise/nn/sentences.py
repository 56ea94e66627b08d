"""Layers for discriminators of sentences: convolutions with max-over-time pooling, and highway layers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SentenceFeatures(nn.Module):
    """Features of sentences: max over time of convolutions of several widths (Kim 2014, section 2), (B, sum of maps).

    `widths`: widths of the convolutions in words; `maps`: feature maps of each. A sentence is (B, T) tokens, or
    (B, T, V) weights of words, whose embeddings are averaged.
    """

    def __init__(self, words: int, embedding: int, widths: Sequence[int], maps: Sequence[int]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, embedding)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(embedding, count, width) for width, count in zip(widths, maps, strict=True)
        )

    def forward(self, sentence: Tensor) -> Tensor:
        """Compute features (B, F) before the activation, which can follow the maximum if it is monotonic."""
        is_soft = sentence.is_floating_point()
        embedded = sentence @ self.embedding.weight if is_soft else self.embedding(sentence)
        channels = embedded.transpose(1, 2)
        return torch.cat([convolution(channels).amax(dim=2) for convolution in self.convolutions], dim=1)


class Highway(nn.Module):
    """Highway layer t relu(W x + b) + (1 - t) x, t = sigmoid(V x + c) (Srivastava 2015, equation 3)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.change = nn.Linear(size, size)
        self.gate = nn.Linear(size, size)

    def forward(self, features: Tensor) -> Tensor:
        """Transform features (B, F) -> (B, F)."""
        gate: Tensor = self.gate(features).sigmoid()
        changed: Tensor = self.change(features).relu()
        return gate * changed + (1 - gate) * features
