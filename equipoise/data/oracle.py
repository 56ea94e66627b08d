"""Sentences of a random LSTM, which gives the exact likelihood of any sentence (Yu et al. 2017, section 4).

The benchmark of SeqGAN: 20 words of a vocabulary of 5,000, 10,000 sentences for training. Oracles of different seeds
differ by 0.3 nats per token in their entropy, as much as published methods do: values are comparable only for the same
oracle. The original weights have no licence and are not shipped; pass them as a file. Sentences of a random oracle are
computed, so they have no licence.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Self

from torch import Tensor

from equipoise.core.data import DataSpec, Preparation, Split, Suggestion
from equipoise.core.tokens import Vocabulary
from equipoise.core.validation import check_within
from equipoise.data._oracle import OracleDistribution, random_weights, read_weights
from equipoise.data._text import SentenceStream
from equipoise.errors import SettingError

__all__ = ["Oracle"]

MAX_WORDS, MAX_LENGTH, MAX_SIZE, MAX_SENTENCES = 1_000_000, 10_000, 4096, 10_000_000
"""Largest vocabulary, sentence, hidden state and training set, all of which are held in memory."""

HELD_OUT = 5
"""Number of training sentences per held-out sentence."""


@dataclass(frozen=True, slots=True)
class Oracle:
    """Sentences (T,) int64 of fixed length, without an end token; words are w0, w1, …

    Raises SettingError for a number below 1.
    """

    presets: ClassVar[Mapping[str, Mapping[str, int]]] = {"small": {"words": 200}}
    distribution_options: ClassVar[tuple[str, ...]] = ("words", "size", "seed", "parameters")
    """Options that change the oracle, and so its digest."""

    words: int = 5000
    """size of the vocabulary"""
    length: int = 20
    """tokens per sentence"""
    size: int = 32
    """size of the embedding and of the state, for a random oracle"""
    seed: int = 0
    """seed of the oracle's weights and of its sentences"""
    train: int = 10_000
    """number of training sentences; a fifth as many are held out"""
    parameters: str | None = None
    """weights of the oracle as a .npz file: E, Wi, Ui, bi, Wf, Uf, bf, Wog, Uog, bog, Wc, Uc, bc, Wo, bo"""
    digest: str | None = None
    """digest of the weights; set automatically"""

    def __post_init__(self) -> None:
        check_within(1, MAX_WORDS, words=self.words)
        check_within(1, MAX_LENGTH, length=self.length)
        check_within(1, MAX_SIZE, size=self.size)
        check_within(1, MAX_SENTENCES, train=self.train)
        if self.seed < 0:
            raise SettingError(f"seed = {self.seed}: it must be at least 0")

    def prepare(self) -> Iterator[Preparation]:
        """Return an empty iterator."""
        return iter(())

    def resolve(self) -> Self:
        """Return the data set with the digest of the oracle, and, for a file, its number of words and full path.

        Raises DataError for a file that is not an oracle, or that changed since `digest` was computed.
        """
        if self.digest is not None:
            self._distribution().network()
            return self
        if self.parameters is None:
            return replace(self, digest=_digest(self.words, self.size, self.seed))
        path = Path(self.parameters).expanduser().resolve()
        weights = read_weights(path)
        return replace(self, parameters=str(path), words=len(weights.embedding), digest=weights.digest)

    @property
    def spec(self) -> DataSpec:
        """Sentences, and their distribution."""
        data = self.resolve()
        words = Vocabulary(tuple(f"w{number}" for number in range(data.words)))
        return DataSpec((data.length,), vocabulary=words, distribution=data._distribution())

    @property
    def suggestion(self) -> Suggestion:
        """Settings for a run of minutes on one core for hundreds of words, hours for thousands."""
        return Suggestion(model="seqgan:oracle", steps=4000, batch_size=64, metric="nll_oracle")

    def count(self, split: Split) -> int:
        """Return `train` for training, a fifth as many held out."""
        return self.train if split == "train" else max(1, self.train // HELD_OUT)

    def stream(self, split: Split, batch_size: int, seed: int) -> SentenceStream:
        """Return endless shuffled batches of a split. Raises DataError if the split is smaller than a batch."""
        return SentenceStream(
            _sample(self.resolve()._distribution(), self.count(split), split), False, batch_size, seed, split
        )

    def _distribution(self) -> OracleDistribution:
        return OracleDistribution(self.words, self.length, self.size, self.seed, self.parameters, self.digest)


@lru_cache(maxsize=8)
def _digest(words: int, size: int, seed: int) -> str:
    return random_weights(words, size, seed).digest


@lru_cache(maxsize=8)
def _sample(distribution: OracleDistribution, count: int, split: Split) -> Tensor:
    """Return sentences (count, T) int64 of a split. Cached; do not modify."""
    return distribution.sample(count, int(split == "held_out"))
