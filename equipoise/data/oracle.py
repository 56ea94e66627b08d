"""Sentences of an oracle: a random LSTM writes them, and tells exactly how likely any sentence is (Yu 2017, section 4).

The benchmark of SeqGAN: 20 words out of 5,000, 10,000 sentences to train on. Oracles of different seeds differ by 0.3
nats per token in their own entropy, as much as published methods do: figures compare for one and the same oracle only.
The original's weights are not shipped, as they have no licence; give them as a file. Computed, so without a licence.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Self

from torch import Tensor

from equipoise.core.data import DataSpec, Preparation, Split, Suggestion
from equipoise.core.tokens import Vocabulary
from equipoise.data._oracle import OracleLaw, read, seeded
from equipoise.data._sentences import SentenceStream
from equipoise.errors import SettingError

__all__ = ["Oracle"]

HELD_OUT = 5
"""Times fewer sentences are held out than are trained on."""


@dataclass(frozen=True, slots=True)
class Oracle:
    """Sentences (T,) int64 of one length, without an end; words are w0, w1, …

    Raises SettingError for a number below 1.
    """

    presets: ClassVar[Mapping[str, Mapping[str, int]]] = {"small": {"words": 200}}
    of_distribution: ClassVar[tuple[str, ...]] = ("words", "size", "seed", "parameters")
    """Options that make another oracle, of another digest."""

    words: int = 5000
    """of the vocabulary"""
    length: int = 20
    """tokens of a sentence"""
    size: int = 32
    """numbers of a word, and of the state, of an oracle from a seed"""
    seed: int = 0
    """of the oracle's weights, and of its sentences"""
    train: int = 10_000
    """sentences to train on; held out are a fifth as many"""
    parameters: str | None = None
    """the oracle's weights as a .npz file: E, Wi, Ui, bi, Wf, Uf, bf, Wog, Uog, bog, Wc, Uc, bc, Wo, bo"""
    digest: str | None = None
    """of the weights; found"""

    def __post_init__(self) -> None:
        for name in ("words", "length", "size", "train"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} = {getattr(self, name)}: it must be at least 1")
        if self.seed < 0:
            raise SettingError(f"seed = {self.seed}: it must be at least 0")

    def prepare(self) -> Iterator[Preparation]:
        """Nothing to do."""
        return iter(())

    def resolve(self) -> Self:
        """The same with the digest of the oracle, and, of one from a file, its number of words and the full path.

        Raises DataError for a file that is no oracle, or not the one that `digest` is of.
        """
        if self.digest is not None:
            self._law().network()
            return self
        if self.parameters is None:
            return replace(self, digest=_digest(self.words, self.size, self.seed))
        path = Path(self.parameters).expanduser().resolve()
        weights = read(path)
        return replace(self, parameters=str(path), words=len(weights.embedding), digest=weights.digest)

    @property
    def spec(self) -> DataSpec:
        """Sentences, and the law that they obey."""
        data = self.resolve()
        words = Vocabulary(tuple(f"w{number}" for number in range(data.words)))
        return DataSpec((data.length,), vocabulary=words, distribution=data._law())

    @property
    def suggestion(self) -> Suggestion:
        """Minutes on one core for hundreds of words, hours for thousands."""
        return Suggestion(model="seqgan:oracle", steps=4000, batch_size=64, metric="nll_oracle")

    def count(self, split: Split) -> int:
        """10,000 to train on unless it says otherwise, 2,000 held out."""
        return self.train if split == "train" else max(1, self.train // HELD_OUT)

    def stream(self, split: Split, batch_size: int, seed: int) -> SentenceStream:
        """Endless shuffled batches of a split. Raises DataError if the split is smaller than a batch."""
        return SentenceStream(_drawn(self.resolve()._law(), self.count(split), split), False, batch_size, seed, split)

    def _law(self) -> OracleLaw:
        return OracleLaw(self.words, self.length, self.size, self.seed, self.parameters, self.digest)


@lru_cache(maxsize=8)
def _digest(words: int, size: int, seed: int) -> str:
    return seeded(words, size, seed).digest


@lru_cache(maxsize=8)
def _drawn(distribution: OracleLaw, count: int, split: Split) -> Tensor:
    """Sentences (count, T) int64 of a split. Cached, not to be changed."""
    return distribution.drawn(count, int(split == "held_out"))
