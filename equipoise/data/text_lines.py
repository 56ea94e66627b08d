"""A text file in UTF-8 with one sentence per line, of words or of characters, of any length.

Words are separated by whitespace. The vocabulary, the length and the digest of the file are recorded with the run, so
that samples can be decoded without the file, and a resumed run uses the same text.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor

from equipoise.core.data import DataSpec, Preparation, Split, Suggestion
from equipoise.core.tokens import ENDING, UNKNOWN, Vocabulary
from equipoise.data._splits import check_held_out
from equipoise.data._text import SentenceStream, TextFile, read_text, split_texts, words_by_frequency
from equipoise.errors import DataError, SettingError

__all__ = ["TextLines"]

LONGEST = {"words": 32, "characters": 80}
"""Default of `longest`, in tokens: the cost of rewards grows with the square of the length."""
TASK = "reading lines"


@dataclass(frozen=True, slots=True)
class TextLines:
    """Lines of a file: (T,) int64, padded with end tokens.

    Raises SettingError for an option out of range.
    """

    file: str
    """path of the text"""
    unit: Literal["words", "characters"] = "words"
    """unit of a token"""
    longest: int | None = None
    """largest number of tokens of a line; default: the longest line, at most 32 words or 80 characters"""
    most: int = 10_000
    """largest size of the vocabulary"""
    rare: Literal["refuse", "mark"] = "refuse"
    """handling of other words: refuse the file, or replace the rarest, and any only in held-out lines, by <unknown>"""
    held_out: float = 0.1
    """share of the distinct truncated lines that is held out, selected by a hash of the content"""
    length: int | None = None
    """tokens of a sentence, with the end token; set automatically"""
    words: tuple[str, ...] | None = None
    """the vocabulary; default: the words of the file; if set, other words are refused"""
    digest: str | None = None
    """digest of the file; set automatically, so that a resumed run uses the same text"""

    def __post_init__(self) -> None:
        for name in ("longest", "most", "length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} = {value}: it must be at least 1")
        check_held_out(self.held_out)

    def prepare(self) -> Iterator[Preparation]:
        """Read the file; yields notes. Raises as `resolve` does."""
        data, result = self._parse()
        for note in data._notes(result):
            yield Preparation(TASK, len(result.truncated), len(result.truncated), note)

    def resolve(self) -> Self:
        """Return the data set with the full path, and with length, vocabulary and digest as read.

        Raises DataError for a file that is empty, not text, of one line of which a share is held out, or changed since
        `digest` was computed; for more words than `most`; for a word that is not in `words`.
        """
        return self._parse()[0]

    @property
    def spec(self) -> DataSpec:
        """Description of a sentence. Reads the file unless resolved."""
        if self.length is None or self.words is None or self.digest is None:
            return self.resolve().spec
        return DataSpec((self.length,), vocabulary=self._vocabulary(self.words))

    @property
    def suggestion(self) -> Suggestion:
        """Settings for a run of about an hour on one core."""
        return Suggestion(model="seqgan", steps=2000, batch_size=min(64, self.count("train")), metric="bleu")

    def count(self, split: Split) -> int:
        """Return the number of lines of a split."""
        return len(self._rows(split))

    def stream(self, split: Split, batch_size: int, seed: int) -> SentenceStream:
        """Return endless shuffled batches of a split. Raises DataError if the split is smaller than a batch."""
        return SentenceStream(self._rows(split), True, batch_size, seed, split)

    def _parse(self) -> tuple[Self, "_ParsedText"]:
        """Return the resolved data set, and the lines of the file."""
        path = Path(self.file).expanduser().resolve()
        lines = read_text(path)
        if self.digest not in (None, lines.digest):
            raise DataError(f"{path} changed since this run started; restore it, or start a new run with --from RUN")
        empty = self._vocabulary(())
        split_lines = [empty.split(text) for text in lines.texts]
        length = self.length or min(self.longest or LONGEST[self.unit], max(map(len, split_lines)) + 1)
        truncated = [words[:length] for words in split_lines]
        held_out = split_texts([empty.separator.join(words) for words in truncated], self.held_out)
        words = self.words or (ENDING, *self._choose_words(truncated, held_out, path))
        if words[:1] != (ENDING,):
            words = (ENDING, *words)
        if self.held_out and len(set(map(tuple, truncated))) == 1:
            raise DataError(f"{path} contains only one distinct line; use a file with many lines")
        target = sum(held_out)
        if UNKNOWN in words:  # Lines that differ only in unknown words are equal.
            vocabulary = set(words)
            rows = [tuple(word if word in vocabulary else UNKNOWN for word in line) for line in truncated]
            trained = {row for row, out in zip(rows, held_out, strict=True) if not out}
            held_out = [out and row not in trained for row, out in zip(rows, held_out, strict=True)]
        data = replace(self, file=str(path), length=length, words=words, digest=lines.digest)
        return data, _ParsedText(lines, truncated, held_out, list(map(len, split_lines)), target - sum(held_out))

    def _choose_words(self, truncated: Sequence[Sequence[str]], held_out: Sequence[bool], path: Path) -> list[str]:
        """Return the words of the vocabulary. Raises DataError if they are too many, or if one is a reserved word.

        With rare = mark, these are words of training lines only, because held-out lines must not influence training;
        otherwise words of all lines, because held-out lines could not be encoded without them.
        """
        result = words_by_frequency(truncated)
        for mark in (ENDING, UNKNOWN):
            if mark in result:
                raise DataError(f"{path} contains the reserved word {mark}; replace it in the file")
        if self.rare == "mark":
            trained = words_by_frequency([words for words, out in zip(truncated, held_out, strict=True) if not out])
            if len(trained) < self.most and len(trained) == len(result):
                return trained
            return [UNKNOWN, *trained[: max(0, self.most - 2)]]
        if len(result) < self.most:
            return result
        alternative = "" if self.unit == "characters" else ", or data.unit=characters"
        raise DataError(
            f"{path} has {len(result):,} different {self.unit} and an end token: more than most = {self.most:,}; use "
            f"--option data.most={len(result) + 1}, or data.rare=mark{alternative}"
        )

    def _vocabulary(self, words: tuple[str, ...]) -> Vocabulary:
        return Vocabulary(words, " " if self.unit == "words" else "")

    def _rows(self, split: Split) -> Tensor:
        """Return the sentences of a split: (N, T) int64."""
        data = self if self.digest and self.length and self.words else self.resolve()
        return _tokens(data, split)

    def _notes(self, result: "_ParsedText") -> Iterator[str]:
        """Yield notes on the text for the user."""
        assert self.length is not None
        assert self.words is not None
        count, longest = len(result.sizes), max(result.sizes)
        yield f"{count:,} lines of up to {longest} {self.unit}, {len(self.words):,} distinct ones with the end token"
        if number := sum(size > self.length for size in result.sizes):
            yield f"{number:,} of {count:,} lines are truncated to {self.length} {self.unit} (longest)"
        trained, held_out = (result.words(out=out) for out in (False, True))
        if UNKNOWN in self.words:
            for words, noun in ((trained, f"training {self.unit}"), (held_out, f"held-out {self.unit}")):
                total = words.total()
                if unknown := total - sum(words[word] for word in self.words):
                    yield f"{unknown:,} of {total:,} {noun} are not in the vocabulary and become {UNKNOWN} (most)"
            if result.collisions:
                yield f"{result.collisions:,} lines equal training lines except for {UNKNOWN}: not held out"
        elif count := len(held_out.keys() - trained.keys()):
            yield (
                f"{count:,} of them occur only in held-out lines: nothing is learned about these {self.unit}; "
                f"rare=mark replaces them by {UNKNOWN}"
            )


class _ParsedText(NamedTuple):
    """Parsed lines of a file. `truncated`: their words, up to the length. `sizes`: numbers of words before truncation.

    `held_out`: whether each line is held out. `collisions`: number of lines that are not held out because with
    <unknown> they equal training lines.
    """

    lines: TextFile
    truncated: list[list[str]]
    held_out: list[bool]
    sizes: list[int]
    collisions: int

    def words(self, *, out: bool) -> Counter[str]:
        """Count the words of held-out lines, or of training lines."""
        return Counter(
            word
            for words, held_out in zip(self.truncated, self.held_out, strict=True)
            if held_out == out
            for word in words
        )


@lru_cache(maxsize=4)
def _tokens(data: TextLines, split: Split) -> Tensor:
    """Return the lines of a split, (N, T) int64. Cached; do not modify. Raises DataError for a file that changed."""
    resolved, (lines, _, held_out, *_) = data._parse()
    assert resolved.length is not None
    assert resolved.words is not None
    vocabulary = resolved._vocabulary(resolved.words)
    rows = [
        vocabulary.encode(text, resolved.length, f"{resolved.file}, line {number}")
        for text, number, out in zip(lines.texts, lines.numbers, held_out, strict=True)
        if out == (split == "held_out")
    ]
    return torch.tensor(rows, dtype=torch.int64).view(-1, resolved.length)
