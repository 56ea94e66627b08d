"""Types of text data: the vocabulary, which maps tokens to words, and the distribution of sentences, if known.

A token is the id of a word, from 0. A sentence is a row of T tokens. In a vocabulary with an end token, token 0 marks
the end of a sentence, and only end tokens follow it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

from torch import Tensor

from equipoise.errors import DataError

END = 0
"""The end token, which follows the last word of a sentence."""
ENDING = "<end>"
"""The word of the end token in a vocabulary."""
UNKNOWN = "<unknown>"
"""The word that replaces all words outside the vocabulary."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of a data set: `words[i]` is token i; the first word is ENDING if sentences have an end token.

    `separator` is written between words: a space, or nothing for characters.
    """

    words: tuple[str, ...]
    separator: Literal[" ", ""] = " "

    def __len__(self) -> int:
        return len(self.words)

    @property
    def ends(self) -> bool:
        """Whether sentences have an end token; otherwise all have the same length."""
        return self.words[:1] == (ENDING,)

    def decode(self, tokens: Iterable[float]) -> str:
        """Return the text of a row of tokens, up to its end. Values that are not token ids become <unknown>."""
        words = []
        for token in tokens:
            is_token = 0 <= token < len(self.words)
            if is_token and self.ends and int(token) == END:
                break
            words.append(self.words[int(token)] if is_token else UNKNOWN)
        return self.separator.join(words)

    def split(self, text: str) -> list[str]:
        """Split a line into words."""
        return text.split() if self.separator else list(text)

    def encode(self, text: str, length: int, source: str) -> list[int]:
        """Return a line as `length` tokens, truncated or padded with end tokens.

        Raises DataError, naming `source` and the word, for a word outside the vocabulary unless it contains <unknown>,
        and for a line that is too short if there is no end token.
        """
        ids = self.token_ids()
        unknown = ids.get(UNKNOWN)
        result = []
        for word in self.split(text)[:length]:
            token = ids.get(word, unknown)
            if token is None:
                raise DataError(
                    f"{source}: '{word[:40]}' is not one of the {len(self.words):,} words of the vocabulary; remove "
                    "that line, or train on text that contains the word"
                )
            result.append(token)
        if len(result) < length and not self.ends:
            raise DataError(
                f"{source}: {len(result)} words instead of {length}; remove that line: all sentences of this data "
                "have the same length"
            )
        return result + [END] * (length - len(result))

    def token_ids(self) -> Mapping[str, int]:
        """Return word -> token."""
        return _token_ids(self.words)


@lru_cache(maxsize=8)
def _token_ids(words: tuple[str, ...]) -> Mapping[str, int]:
    return {word: token for token, word in enumerate(words)}


class SentenceDistribution(Protocol):
    """The exact distribution of the sentences of a data set: a frozen, hashable value."""

    def log_probability(self, tokens: Tensor) -> Tensor:
        """Return log-probabilities (N,) float64 in nats of sentences (N, T) int64; -inf outside the support."""

    def support(self) -> Tensor | None:
        """Return all sentences with positive probability, (S, T) int64; None if there are too many to enumerate."""


def decode_samples(vocabulary: Vocabulary | None, samples: Tensor) -> tuple[str, ...] | None:
    """Return the texts of samples (N, T); None for samples that are not text."""
    return None if vocabulary is None else tuple(vocabulary.decode(row) for row in samples.tolist())
