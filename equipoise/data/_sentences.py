"""Streams over sentences that fit into memory."""

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.core.data import Split, TokenBatch
from equipoise.core.tokens import END
from equipoise.data._arrays import check_enough, places_of


@dataclass(frozen=True, slots=True, eq=False)
class SentenceStream:
    """Endless epochs over sentences (N, T) int64, each in a fresh order. Labels there are none.

    `ends`: token 0 ends a sentence. Raises DataError if there are fewer sentences than a batch takes, SettingError for
    a batch of none.
    """

    sentences: Tensor
    ends: bool
    batch_size: int
    seed: int
    split: Split

    def __post_init__(self) -> None:
        check_enough(len(self.sentences), self.batch_size, self.split, "sentences")

    def batch(self, index: int) -> TokenBatch:
        """Batch number `index`: real (B, T) int64, lengths (B,) int64."""
        chosen = places_of(len(self.sentences), self.batch_size, self.seed, self.split, index)
        tokens = self.sentences.index_select(0, chosen)
        lengths = (tokens != END).sum(dim=1) if self.ends else torch.full((len(tokens),), tokens.shape[1])
        return TokenBatch(tokens, lengths=lengths)
