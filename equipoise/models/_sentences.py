"""Shared parts of text models: the discriminator of sentences, and validation of data and options."""

from collections.abc import Sequence

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
