"""What games of sentences share: their discriminator, its loss, and what data they take."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import softplus

from equipoise.core.data import DataSpec
from equipoise.core.tokens import Vocabulary
from equipoise.errors import SettingError
from equipoise.nn.dropout import dropout
from equipoise.nn.sentences import Highway, SentenceFeatures

AT_ONCE = 256
"""Sentences that are judged together where no gradient is asked for: more do not fit a core's cache."""


class Judge(nn.Module):
    """A discriminator of sentences: convolutions, one highway layer, dropout, one logit (Yu 2017, appendix B)."""

    def __init__(self, words: int, embedding: int, widths: Sequence[int], maps: Sequence[int], share: float) -> None:
        super().__init__()
        self.share = share
        self.features = SentenceFeatures(words, embedding, widths, maps)
        self.highway = Highway(sum(maps))
        self.last = nn.Linear(sum(maps), 1)

    def forward(self, sentences: Tensor, generator: Generator | None = None) -> Tensor:
        """(B, T) int64 -> logits (B,). Numbers are dropped by `generator`, none without one."""
        result = self.highway(self.features(sentences).relu())
        logits: Tensor = self.last(dropout(result, self.share, generator))
        return logits.squeeze(1)

    @torch.no_grad()
    def probability(self, sentences: Tensor) -> Tensor:
        """D(y), (N,), of sentences (N, T): how likely they are real, in [0, 1]."""
        return torch.cat([self(piece).sigmoid() for piece in torch.split(sentences, AT_ONCE)])


def told_apart(real_logit: Tensor, fake_logit: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))), D the logistic function of logits (Goodfellow 2014, equation 1)."""
    return softplus(-real_logit).mean() + softplus(fake_logit).mean()


def vocabulary_of(spec: DataSpec, model: str) -> Vocabulary:
    """The words of data. Raises SettingError for data that are no sentences."""
    if spec.vocabulary is None:
        kind, other = ("points", "mlp") if spec.is_points else ("images", "dcgan")
        raise SettingError(f"{model} writes sentences, and makes no {kind}; use --model {other} for this data")
    return spec.vocabulary


def fitting(widths: Sequence[int], maps: Sequence[int], length: int, model: str) -> tuple[list[int], list[int]]:
    """Convolutions, and their maps, that are no wider than sentences are long.

    Raises SettingError if none is, or if there is not one number of maps for each.
    """
    if len(widths) != len(maps):
        raise SettingError(f"widths has {len(widths)} numbers, maps {len(maps)}; give one number of maps a width")
    if min((*widths, *maps), default=0) < 1:
        raise SettingError("widths and maps: they must be at least 1")
    kept = [(width, count) for width, count in zip(widths, maps, strict=True) if width <= length]
    if not kept:
        raise SettingError(f"all convolutions of {model} are wider than sentences of {length}; use --option widths=1,2")
    return [width for width, _ in kept], [count for _, count in kept]
