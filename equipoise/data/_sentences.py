"""Streams over sentences in memory."""

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.core.data import Split, TokenBatch
from equipoise.core.tokens import END
from equipoise.data._arrays import batch_indices, check_split_size


@dataclass(frozen=True, slots=True, eq=False)
class SentenceStream:
    """Endless epochs over sentences (N, T) int64, each in a new random order, without labels.

    `ends`: whether token 0 ends a sentence. Raises DataError if there are fewer sentences than a batch, SettingError
    for an empty batch.
    """

    sentences: Tensor
    ends: bool
    batch_size: int
    seed: int
    split: Split

    def __post_init__(self) -> None:
        check_split_size(len(self.sentences), self.batch_size, self.split, "sentences")

    def batch(self, index: int) -> TokenBatch:
        """Return batch number `index`: real (B, T) int64, lengths (B,) int64."""
        indices = batch_indices(len(self.sentences), self.batch_size, self.seed, self.split, index)
        tokens = self.sentences.index_select(0, indices)
        lengths = (tokens != END).sum(dim=1) if self.ends else torch.full((len(tokens),), tokens.shape[1])
        return TokenBatch(tokens, lengths=lengths)
