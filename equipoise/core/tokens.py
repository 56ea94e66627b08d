"""The nouns of samples that are text: a vocabulary, which gives tokens their words, and a law, which they may obey.

A token is the number of a word, from 0. A sentence is a row of T tokens; where sentences end by themselves, token 0 is
the end, and nothing but ends follows it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

from torch import Tensor

from equipoise.errors import DataError

END = 0
"""The token after the last word of a sentence, where sentences end by themselves."""
ENDING = "<end>"
UNKNOWN = "<unknown>"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of tokens: `words[i]` is token i, the first one ENDING where sentences end by themselves.

    `separator` stands between words: a blank, or nothing where words are characters.
    """

    words: tuple[str, ...]
    separator: Literal[" ", ""] = " "

    def __len__(self) -> int:
        return len(self.words)

    @property
    def ends(self) -> bool:
        """Whether sentences end by themselves; if not, all are of the same length."""
        return self.words[:1] == (ENDING,)

    def text(self, tokens: Iterable[float]) -> str:
        """A row of tokens as it is read, up to its end. What is the number of no word is written as <unknown>."""
        read = []
        for token in tokens:
            known = 0 <= token < len(self.words)
            if known and self.ends and int(token) == END:
                break
            read.append(self.words[int(token)] if known else UNKNOWN)
        return self.separator.join(read)

    def split(self, text: str) -> list[str]:
        """The words of a line."""
        return text.split() if self.separator else list(text)

    def tokens(self, text: str, length: int, source: str) -> list[int]:
        """A line as `length` tokens, cut there or filled up with ends.

        Raises DataError, naming `source` and the word, for one that is not in the vocabulary unless <unknown> is, and
        for a line that is too short where sentences do not end.
        """
        numbers = self.numbers()
        spare = numbers.get(UNKNOWN)
        result = []
        for word in self.split(text)[:length]:
            token = numbers.get(word, spare)
            if token is None:
                raise DataError(
                    f"{source}: '{word[:40]}' is not among the {len(self.words):,} words that this data knows; "
                    "leave that line out, or train on text that has the word"
                )
            result.append(token)
        if len(result) < length and not self.ends:
            raise DataError(f"{source}: {len(result)} words, where every sentence has {length}; give whole sentences")
        return result + [END] * (length - len(result))

    def numbers(self) -> Mapping[str, int]:
        """Word -> token."""
        return _numbers(self.words)


@lru_cache(maxsize=8)
def _numbers(words: tuple[str, ...]) -> Mapping[str, int]:
    return {word: token for token, word in enumerate(words)}


class SentenceDistribution(Protocol):
    """The distribution that sentences were drawn from, where it is known exactly: a frozen value."""

    def log_probability(self, tokens: Tensor) -> Tensor:
        """(N,) float64, nats, of sentences (N, T) int64; minus infinity for what never occurs."""

    def support(self) -> Tensor | None:
        """(S, T) int64, every sentence that can occur; None if they are too many to be looked at."""


def readable(vocabulary: Vocabulary | None, samples: Tensor) -> tuple[str, ...] | None:
    """Samples (N, T) as they are read; None for samples that are no text."""
    return None if vocabulary is None else tuple(vocabulary.text(row) for row in samples.tolist())
