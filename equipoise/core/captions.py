"""Captions: texts that describe samples, as rows of tokens, and prompts of a user in the same words.

A caption is a row of T tokens of a vocabulary whose token 0 ends a text. Its words are runs of letters and digits in
lower case; words that no caption of the training data has are left out, since nothing can be learned about them.
"""

import difflib
import re
import unicodedata
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.core.tokens import END, Vocabulary
from equipoise.errors import SettingError

SIMILAR = 0.6
"""Least similarity of a word that is suggested for an unknown one, as in other messages (difflib)."""
EXAMPLES = 3
"""Number of known words in a message that has no similar one."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text as tokens. `tokens`: T of them. `unknown`: words that were left out, each with the most similar known one.

    `dropped`: words beyond the length of a caption, which were left out, too.
    """

    text: str
    tokens: tuple[int, ...]
    unknown: Mapping[str, str | None]
    dropped: tuple[str, ...]

    def warnings(self) -> tuple[str, ...]:
        """Return what was left out, a line each."""
        lines = [
            f"'{word}' in the prompt '{self.text}' is not a word of the training captions and was left out{_hint(near)}"
            for word, near in self.unknown.items()
        ]
        if self.dropped:
            words = ", ".join(f"'{word}'" for word in self.dropped)
            lines.append(f"{words} in the prompt '{self.text}' exceed the length of a caption and were left out")
        return tuple(lines)


@dataclass(frozen=True, slots=True)
class Captions:
    """How the captions of a data set are written. `vocabulary`: the end token, then the words, most frequent first.

    `length`: tokens of a caption, T. `examples`: captions of held-out samples in known words, for samples without a
    prompt. `trained`: the words of the captions that are trained on, if these are not all words of the vocabulary.
    """

    vocabulary: Vocabulary
    length: int
    examples: tuple[str, ...]
    trained: frozenset[str] | None = None

    def encode(self, texts: Iterable[str]) -> Tensor:
        """Return captions as tokens (N, T) int64, without unknown words and those beyond the length."""
        ids = self.vocabulary.token_ids()
        rows = [[ids[word] for word in split_words(text) if word in ids][: self.length] for text in texts]
        return torch.tensor([row + [END] * (self.length - len(row)) for row in rows], dtype=torch.int64)

    def in_turn(self, count: int) -> Tensor:
        """Return tokens (count, T) int64 of `count` captions: each of the examples in turn."""
        return self.encode(self.examples)[torch.arange(count) % len(self.examples)]

    def read(self, text: str) -> Prompt:
        """Return a prompt as tokens. Raises SettingError, with the most similar words, if it has no known word."""
        ids = self.vocabulary.token_ids()
        trained = [word for word in self.vocabulary.words[1:] if self.trained is None or word in self.trained]
        words = _words_of_prompt(text, frozenset(trained))
        known = [word for word in words if word in trained]
        unknown = {word: _similar(word, trained) for word in words if word not in trained}
        if not known:
            raise SettingError(self._describe_unknown(text, unknown, len(trained)))
        tokens = [ids[word] for word in known[: self.length]]
        padded = (*tokens, *[END] * (self.length - len(tokens)))
        return Prompt(text, padded, unknown, tuple(known[self.length :]))

    def _describe_unknown(self, text: str, unknown: Mapping[str, str | None], count: int) -> str:
        similar = [f"'{near}'" for near in unknown.values() if near is not None]
        remedy = f"did you mean {' '.join(similar)}?"
        if not similar:
            examples = ", ".join(f"'{example}'" for example in self.examples[:EXAMPLES])
            remedy = f"use words of captions such as {examples}"
        return f"the prompt '{text}' has no word of the {count:,} words of the training captions; {remedy}"


def split_words(text: str) -> list[str]:
    """Split a text into its words: runs of letters and digits of ASCII, in lower case."""
    return re.findall(r"[a-z0-9]+", text.lower())


def _words_of_prompt(text: str, known: Container[str]) -> list[str]:
    """Split a prompt into words of any alphabet, so that none is left out without being named.

    A word with letters outside of ASCII is what captions make of it, if they know that, else itself without accents.
    """
    words = list[str]()
    for word in re.findall(r"[^\W_]+", text.lower()):
        parts = split_words(word)
        if not word.isascii() and not (parts and all(part in known for part in parts)):
            letters = unicodedata.normalize("NFKD", word)
            parts = ["".join(letter for letter in letters if not unicodedata.combining(letter))]
        words += parts
    return words


def _similar(word: str, words: Iterable[str]) -> str | None:
    matches = difflib.get_close_matches(word, words, n=1, cutoff=SIMILAR)
    return matches[0] if matches else None


def _hint(near: str | None) -> str:
    return "" if near is None else f"; did you mean '{near}'?"
