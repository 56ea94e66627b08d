"""Shared parts of text models: the discriminators of sentences, and validation of data and options."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Generator, Tensor, nn

from equipoise.core.data import DataSpec
from equipoise.core.tokens import Vocabulary
from equipoise.errors import SettingError
from equipoise.nn.layers import dropout
from equipoise.nn.sentences import Highway, SentenceFeatures

CHUNK = 256
"""Number of sentences per pass without gradients; larger chunks exceed the cache of a core."""


class SentenceDiscriminator(nn.Module):
    """Discriminator of sentences: convolutions, a highway layer, dropout, one logit (Yu 2017, appendix B)."""

    def __init__(self, words: int, embedding: int, widths: Sequence[int], maps: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.features = SentenceFeatures(words, embedding, widths, maps)
        self.highway = Highway(sum(maps))
        self.last = nn.Linear(sum(maps), 1)

    def forward(self, sentences: Tensor, generator: Generator | None = None) -> Tensor:
        """Compute logits (B,) of sentences (B, T) int64. `generator`: for dropout; None disables it."""
        features = self.highway(self.features(sentences).relu())
        logits: Tensor = self.last(dropout(features, self.dropout, generator))
        return logits.squeeze(1)

    @torch.no_grad()
    def probability(self, sentences: Tensor) -> Tensor:
        """Compute D(y), (N,), of sentences (N, T): the probability of being real, in [0, 1]."""
        return torch.cat([self(chunk).sigmoid() for chunk in torch.split(sentences, CHUNK)])


class FeatureMatchingDiscriminator(nn.Module):
    """Discriminator: features f(s) in (-1, 1), D(s) by two layers, z reconstructed by two more (Zhang 2017, figure
    1)."""

    def __init__(self, sentence_features: SentenceFeatures, size: int, head: int) -> None:
        super().__init__()
        self.register_module("seen", sentence_features)  # this name is part of the checkpoint format
        self.decide = nn.Sequential(nn.Linear(size, head), nn.ReLU(), nn.Linear(head, 1))
        self.find = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, size), nn.Tanh())

    def features(self, sentences: Tensor) -> Tensor:
        """Compute f (B, F) of tokens (B, T), or of mixtures of words (B, T, V)."""
        return cast(Tensor, self.get_submodule("seen")(sentences)).tanh()

    def logits(self, features: Tensor) -> Tensor:
        """Compute logits (B,) from features (B, F)."""
        logits: Tensor = self.decide(features)
        return logits.squeeze(1)

    def reconstruct(self, features: Tensor) -> Tensor:
        """Compute an estimate (B, F) of the latent from features (B, F)."""
        latent: Tensor = self.find(features)
        return latent


def require_vocabulary(spec: DataSpec, model: str) -> Vocabulary:
    """Return the vocabulary of the data. Raises SettingError for data that are not sentences."""
    if spec.vocabulary is None:
        kind, alternative = ("points", "mlp") if spec.is_points else ("images", "dcgan")
        raise SettingError(f"{model} generates sentences, not {kind}; use --model {alternative} for this data")
    return spec.vocabulary


def convolutions_for(
    widths: Sequence[int], maps: Sequence[int], length: int, model: str
) -> tuple[list[int], list[int]]:
    """Return the widths, and numbers of feature maps, of the convolutions that are not wider than a sentence.

    Raises SettingError if there are none, or if the lists differ in length.
    """
    if len(widths) != len(maps):
        raise SettingError(f"widths has {len(widths)} numbers, maps {len(maps)}; set one number of maps per width")
    if min((*widths, *maps), default=0) < 1:
        raise SettingError("widths and maps: they must be at least 1")
    pairs = [(width, count) for width, count in zip(widths, maps, strict=True) if width <= length]
    if not pairs:
        raise SettingError(f"all convolutions of {model} are wider than sentences of {length}; use --option widths=1,2")
    return [width for width, _ in pairs], [count for _, count in pairs]
