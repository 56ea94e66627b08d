"""Sentences of 10 subjects, 10 verbs, 10 prepositions and 10 objects, of which 2,000 are sampled.

"the cat sat on the mat": all 10,000 sentences can be enumerated, so what a generator has learned can be computed
instead of estimated. The word lists and, with seed 42, the 2,000 sentences are those of the second GAN lab of a course.
The sentences are computed, so there is no licence and no digest.
"""

import itertools
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from equipoise.core.data import DataSpec, NoPreparation, Split, Suggestion
from equipoise.core.tokens import ENDING, Vocabulary
from equipoise.data._text import SentenceStream
from equipoise.errors import SettingError

__all__ = ["Sentences"]

SLOTS = (
    *(("the cat", "the dog", "a bird", "the fish", "a boy", "the girl", "a man", "the sun", "a car", "the wind"),),
    *(("sat", "ran", "flew", "swam", "read", "sang", "walked", "set", "drove", "blew"),),
    *(("on", "in", "over", "through", "to", "under", "near", "past", "by", "from"),),
    (
        *("the mat", "the park", "the tree", "the lake", "the room"),
        *("the stage", "the store", "the west", "the road", "the door"),
    ),
)
LENGTH = 7
"""Six words and the end token."""
HELD_OUT = 1000
VOCABULARY = Vocabulary((ENDING, *sorted({word for slot in SLOTS for phrase in slot for word in phrase.split()})))


@dataclass(frozen=True, slots=True)
class Sentences(NoPreparation):
    """Sentences of six words and an end token: (7,) int64, 43 words. The 1,000 held-out sentences are not trained on.

    Raises SettingError for a number of sentences that is not from 1 to 20,000.
    """

    drawn: int = 2000
    """number of training sentences, sampled with replacement: up to 20,000"""
    seed: int = 42
    """seed of the sampling; 42 for the sentences of the lab"""

    def __post_init__(self) -> None:
        if not 1 <= self.drawn <= 20_000:
            raise SettingError(f"drawn = {self.drawn}: it must be from 1 to 20000")

    @property
    def spec(self) -> DataSpec:
        """Seven tokens, of a known distribution."""
        return DataSpec((LENGTH,), vocabulary=VOCABULARY, distribution=_LabDistribution())

    @property
    def suggestion(self) -> Suggestion:
        """Settings for a run of minutes on one core."""
        return Suggestion(model="seqgan", steps=1600, batch_size=64, metric="validity")

    def count(self, split: Split) -> int:
        """Return `drawn` for training, 1,000 held out."""
        return len(_sample(self.drawn, self.seed, split))

    def stream(self, split: Split, batch_size: int, seed: int) -> SentenceStream:
        """Return endless shuffled batches of a split. Raises DataError if the split is smaller than a batch."""
        return SentenceStream(_sample(self.drawn, self.seed, split), VOCABULARY.ends, batch_size, seed, split)


@dataclass(frozen=True, slots=True)
class _LabDistribution:
    """Distribution of sentences with one phrase of each slot, all equally likely."""

    def log_probability(self, tokens: Tensor) -> Tensor:
        """Return (N,) float64: -ln 10,000 = -9.21 nats for valid sentences (N, 7), -inf for others."""
        keys, valid = _keys(tokens.cpu()), _keys(_all_sentences()).sort().values
        is_valid = valid[torch.searchsorted(valid, keys).clamp_max(len(valid) - 1)] == keys
        return torch.where(is_valid, -math.log(len(valid)), -math.inf).double()

    def support(self) -> Tensor:
        """Return all sentences, (10000, 7) int64."""
        return _all_sentences()


def _keys(tokens: Tensor) -> Tensor:
    """Return keys (N,) int64, different for different sentences (N, T); -1 for a sentence with an invalid token."""
    powers = len(VOCABULARY) ** torch.arange(tokens.shape[1])
    is_valid = ((tokens >= 0) & (tokens < len(VOCABULARY))).all(dim=1)
    return torch.where(is_valid, (tokens * powers).sum(dim=1), -1)


@lru_cache
def _all_sentences() -> Tensor:
    """Return every sentence, (10000, 7) int64, in the order of the slots. Cached; do not modify."""
    return _tokens(" ".join(phrases) for phrases in itertools.product(*SLOTS))


@lru_cache
def _sample(count: int, seed: int, split: Split) -> Tensor:
    """Return sentences (N, 7) int64 of a split. Cached; do not modify.

    Sampled as in the lab: four choices per sentence, with Python's own generator, which is unchanged since version 3.2.
    Held-out sentences are sampled from the remaining ones, with the same generator afterwards.
    """
    rng = random.Random(seed)
    texts = [" ".join(rng.choice(slot) for slot in SLOTS) for _ in range(count)]
    if split == "train":
        return _tokens(texts)
    sampled = set(texts)
    remaining = [text for phrases in itertools.product(*SLOTS) if (text := " ".join(phrases)) not in sampled]
    return _tokens(rng.sample(remaining, HELD_OUT))


def _tokens(texts: Iterable[str]) -> Tensor:
    return torch.tensor([VOCABULARY.encode(text, LENGTH, "sentences") for text in texts], dtype=torch.int64)
