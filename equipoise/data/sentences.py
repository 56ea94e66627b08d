"""The sentences lab: 10 subjects, 10 verbs, 10 prepositions, 10 objects, of which 2,000 sentences are drawn.

"the cat sat on the mat": all 10,000 sentences can be written down, so what a generator has learnt can be computed
instead of estimated. They are the word lists and, with seed 42, the very 2,000 sentences of a course's second lab on
GANs. Computed, so without a licence or a digest.
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
from equipoise.data._sentences import SentenceStream
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
"""Six words and the end."""
HELD_OUT = 1000
VOCABULARY = Vocabulary((ENDING, *sorted({word for slot in SLOTS for phrase in slot for word in phrase.split()})))


@dataclass(frozen=True, slots=True)
class Sentences(NoPreparation):
    """Sentences of six words and an end: (7,) int64, 43 words. None of the 1,000 held out is among those trained on.

    Raises SettingError for no sentences, or for so many that nothing might be left to hold out.
    """

    drawn: int = 2000
    """how many are drawn to train on, with replacement: up to 20,000"""
    seed: int = 42
    """of the drawing; 42 gives the lab's own"""

    def __post_init__(self) -> None:
        if not 1 <= self.drawn <= 20_000:
            raise SettingError(f"drawn = {self.drawn}: it must lie between 1 and 20000")

    @property
    def spec(self) -> DataSpec:
        """Seven tokens, drawn by a law that is known."""
        return DataSpec((LENGTH,), vocabulary=VOCABULARY, distribution=_Lab())

    @property
    def suggestion(self) -> Suggestion:
        """Minutes on one core."""
        return Suggestion(model="seqgan", steps=1600, batch_size=64, metric="validity")

    def count(self, split: Split) -> int:
        """2,000 to train on unless it says otherwise, 1,000 held out."""
        return len(_drawn(self.drawn, self.seed, split))

    def stream(self, split: Split, batch_size: int, seed: int) -> SentenceStream:
        """Endless shuffled batches of a split. Raises DataError if the split is smaller than a batch."""
        return SentenceStream(_drawn(self.drawn, self.seed, split), VOCABULARY.ends, batch_size, seed, split)


@dataclass(frozen=True, slots=True)
class _Lab:
    """One phrase of each slot, all equally likely."""

    def log_probability(self, tokens: Tensor) -> Tensor:
        """(N,) float64: -ln 10,000 = -9.21 nats for every sentence of the lab (N, 7), minus infinity for all else."""
        keys, known = _keys(tokens.cpu()), _keys(_all()).sort().values
        result = known[torch.searchsorted(known, keys).clamp_max(len(known) - 1)] == keys
        return torch.where(result, -math.log(len(known)), -math.inf).double()

    def support(self) -> Tensor:
        """(10000, 7) int64."""
        return _all()


def _keys(tokens: Tensor) -> Tensor:
    """(N,) int64, different for different sentences (N, T); -1 for one with a token that is none."""
    places = len(VOCABULARY) ** torch.arange(tokens.shape[1])
    known = ((tokens >= 0) & (tokens < len(VOCABULARY))).all(dim=1)
    return torch.where(known, (tokens * places).sum(dim=1), -1)


@lru_cache
def _all() -> Tensor:
    """Every sentence, (10000, 7) int64, by the order of the slots. Cached, not to be changed."""
    return _tokens(" ".join(phrases) for phrases in itertools.product(*SLOTS))


@lru_cache
def _drawn(count: int, seed: int, split: Split) -> Tensor:
    """Sentences (N, 7) int64 of a split. Cached, not to be changed.

    As the lab draws: four choices a sentence, by Python's own generator, which has chosen alike since version 3.2.
    Held out is a sample of those that were not drawn, by the same generator later on.
    """
    source = random.Random(seed)
    drawn = [" ".join(source.choice(slot) for slot in SLOTS) for _ in range(count)]
    if split == "train":
        return _tokens(drawn)
    there = set(drawn)
    others = [text for phrases in itertools.product(*SLOTS) if (text := " ".join(phrases)) not in there]
    return _tokens(source.sample(others, HELD_OUT))


def _tokens(texts: Iterable[str]) -> Tensor:
    return torch.tensor([VOCABULARY.tokens(text, LENGTH, "sentences") for text in texts], dtype=torch.int64)
