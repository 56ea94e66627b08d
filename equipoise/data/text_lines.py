"""Your own text: a file in UTF-8 with a sentence on each line, of words or of characters, of any length.

Words are what stands between blanks. The vocabulary, the length and the digest of the file become part of the run, so
that samples can be read without the file, and a run goes on with the text that it began with.
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
from equipoise.data._sentences import SentenceStream
from equipoise.data._text import Lines, held_out, read, words_of
from equipoise.errors import DataError, SettingError

__all__ = ["TextLines"]

LONGEST = {"words": 32, "characters": 80}
"""Tokens of a line that are kept unless `longest` says otherwise: what rewards cost grows with the square."""
TASK = "reading lines"


@dataclass(frozen=True, slots=True)
class TextLines:
    """Lines of a file: (T,) int64, an end behind the last word and as many more as T leaves room for.

    Raises SettingError for an option out of its range.
    """

    file: str
    """where the text is"""
    unit: Literal["words", "characters"] = "words"
    """what a token is"""
    longest: int | None = None
    """tokens of a line that are kept; left out: all of the longest line, but 32 words or 80 characters at most"""
    most: int = 10_000
    """words of the vocabulary at most"""
    rare: Literal["refuse", "mark"] = "refuse"
    """what happens to words beyond that: the file is refused, or the rarest ones become <unknown>, and so do words of
    held-out lines alone"""
    held_out: float = 0.1
    """share of the different lines, as they are kept, that is never trained on, chosen by content"""
    length: int | None = None
    """tokens of a sentence, the end included; found"""
    words: tuple[str, ...] | None = None
    """the vocabulary; found, or given: then a word that is not in it is refused"""
    digest: str | None = None
    """of the file; found, so that a run goes on with the text that it began with"""

    def __post_init__(self) -> None:
        for name in ("longest", "most", "length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} = {value}: it must be at least 1")
        if not 0 <= self.held_out <= 0.5:
            raise SettingError(f"held_out = {self.held_out:g}: it must be from 0 to 0.5")

    def prepare(self) -> Iterator[Preparation]:
        """Read the file; tells what was found. Raises as `settled` does."""
        data, result = self._found()
        for note in data._notes(result):
            yield Preparation(TASK, len(result.cut), len(result.cut), note)

    def resolve(self) -> Self:
        """The same with the full path, and length, vocabulary and digest as found.

        Raises DataError for a file that is empty, or no text, or of one line, or not the one that `digest` is of; for
        more words than `most`; for a word that is not in `words`.
        """
        return self._found()[0]

    @property
    def spec(self) -> DataSpec:
        """Sentences. Once settled, without a look at the file."""
        if self.length is None or self.words is None or self.digest is None:
            return self.resolve().spec
        return DataSpec((self.length,), vocabulary=self._vocabulary(self.words))

    @property
    def suggestion(self) -> Suggestion:
        """An hour or so on one core."""
        return Suggestion(model="seqgan", steps=2000, batch_size=min(64, self.count("train")), metric="bleu")

    def count(self, split: Split) -> int:
        """How many lines a split has."""
        return len(self._rows(split))

    def stream(self, split: Split, batch_size: int, seed: int) -> SentenceStream:
        """Endless shuffled batches of a split. Raises DataError if the split is smaller than a batch."""
        return SentenceStream(self._rows(split), True, batch_size, seed, split)

    def _found(self) -> tuple[Self, "_Read"]:
        """Settled, and the lines of the file."""
        path = Path(self.file).expanduser().resolve()
        lines = read(path)
        if self.digest not in (None, lines.digest):
            raise DataError(f"{path} is not as it was when this run began; restore it, or train anew with --from RUN")
        blank = self._vocabulary(())
        whole = [blank.split(text) for text in lines.texts]
        length = self.length or min(self.longest or LONGEST[self.unit], max(map(len, whole)) + 1)
        cut = [words[:length] for words in whole]
        aside = held_out([blank.separator.join(words) for words in cut], self.held_out)
        words = self.words or (ENDING, *self._chosen(cut, aside, path))
        if words[:1] != (ENDING,):
            words = (ENDING, *words)
        if len(set(map(tuple, cut))) == 1:
            raise DataError(f"{path} holds one line alone, or the same again and again; give a file with many lines")
        wanted = sum(aside)
        if UNKNOWN in words:  # what differs in unknown words alone is one sentence
            known = set(words)
            rows = [tuple(word if word in known else UNKNOWN for word in line) for line in cut]
            trained = {row for row, out in zip(rows, aside, strict=True) if not out}
            aside = [out and row not in trained for row, out in zip(rows, aside, strict=True)]
        data = replace(self, file=str(path), length=length, words=words, digest=lines.digest)
        return data, _Read(lines, cut, aside, list(map(len, whole)), wanted - sum(aside))

    def _chosen(self, cut: Sequence[Sequence[str]], aside: Sequence[bool], path: Path) -> list[str]:
        """The words of the vocabulary. Raises DataError if they are too many, or one of them is a mark of our own.

        With a mark for unknown words those of lines to train on alone, for held-out lines decide nothing; without one
        those of all lines, for there is no other way to write them.
        """
        result = words_of(cut)
        for mark in (ENDING, UNKNOWN):
            if mark in result:
                raise DataError(f"{path} holds the word {mark}, which stands for something here; write it another way")
        if self.rare == "mark":
            seen = words_of([words for words, out in zip(cut, aside, strict=True) if not out])
            if len(seen) < self.most and len(seen) == len(result):
                return seen
            return [UNKNOWN, *seen[: max(0, self.most - 2)]]
        if len(result) < self.most:
            return result
        others = "" if self.unit == "characters" else ", or data.unit=characters"
        raise DataError(
            f"{path} has {len(result):,} different {self.unit}, and an end: more than most = {self.most:,}; give "
            f"--option data.most={len(result) + 1}, or data.rare=mark{others}"
        )

    def _vocabulary(self, words: tuple[str, ...]) -> Vocabulary:
        return Vocabulary(words, " " if self.unit == "words" else "")

    def _rows(self, split: Split) -> Tensor:
        """(N, T) int64."""
        data = self if self.digest and self.length and self.words else self.resolve()
        return _tokens(data, split)

    def _notes(self, result: "_Read") -> Iterator[str]:
        """What the user should know of the text."""
        assert self.length is not None
        assert self.words is not None
        count, longest = len(result.sizes), max(result.sizes)
        yield f"{count:,} lines of up to {longest} {self.unit}, {len(self.words):,} different ones with the end"
        if number := sum(size > self.length for size in result.sizes):
            yield f"{number:,} of {count:,} lines are cut after {self.length} {self.unit} (longest)"
        trained, aside = (result.words(out=out) for out in (False, True))
        if UNKNOWN in self.words:
            for words, of in ((trained, f"{self.unit} to train on"), (aside, f"{self.unit} held out")):
                if lost := words.total() - sum(words[word] for word in self.words):
                    yield f"{lost:,} of {words.total():,} {of} are not among the {len(self.words):,}: {UNKNOWN} (most)"
            if result.spoilt:
                yield f"{result.spoilt:,} lines differ from lines to train on in {UNKNOWN} alone: not held out"
        elif alone := len(aside.keys() - trained.keys()):
            yield (
                f"{alone:,} of them stand in held-out lines alone: nothing is learnt of these {self.unit}; "
                f"rare=mark takes them as {UNKNOWN}"
            )


class _Read(NamedTuple):
    """The lines of a file, `cut` to words that are kept, which of them are held out, and their sizes before.

    `spoilt`: how many more would be held out, if they did not become the same sentences as lines to train on.
    """

    lines: Lines
    cut: list[list[str]]
    aside: list[bool]
    sizes: list[int]
    spoilt: int

    def words(self, *, out: bool) -> Counter[str]:
        """How often each word stands in lines that are held out, or not."""
        return Counter(
            word for words, aside in zip(self.cut, self.aside, strict=True) if aside == out for word in words
        )


@lru_cache(maxsize=4)
def _tokens(data: TextLines, split: Split) -> Tensor:
    """The lines of a split, (N, T) int64. Cached, not to be changed. Raises DataError for a file that has changed."""
    resolve, (lines, _, aside, *_) = data._found()
    assert resolve.length is not None
    assert resolve.words is not None
    vocabulary = resolve._vocabulary(resolve.words)
    rows = [
        vocabulary.tokens(text, resolve.length, f"{resolve.file}, line {number}")
        for text, number, out in zip(lines.texts, lines.numbers, aside, strict=True)
        if out == (split == "held_out")
    ]
    return torch.tensor(rows, dtype=torch.int64).view(-1, resolve.length)
