"""Text files: their lines, words in order of frequency, and the split of lines; streams of sentences."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.core.data import Split, TokenBatch
from equipoise.core.tokens import END
from equipoise.data._arrays import batch_indices, check_split_size
from equipoise.errors import DataError

MAX_BYTES = 2**30
"""Largest size of a file: all lines are loaded into memory."""


class TextFile(NamedTuple):
    """The non-empty lines of a text, their line numbers from 1, and the SHA-256 of the file."""

    texts: tuple[str, ...]
    numbers: tuple[int, ...]
    digest: str


def read_text(path: Path) -> TextFile:
    """Read a file in UTF-8. Raises DataError if it is missing, empty, or not text."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} is larger than 1 GiB; split it into smaller files")
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8")
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty; it must contain one sentence per line")
    numbers, texts = zip(*lines, strict=True)
    return TextFile(texts, numbers, hashlib.sha256(content).hexdigest())


def words_by_frequency(split: Sequence[Sequence[str]]) -> list[str]:
    """Return the distinct words of lines, the most frequent first, ties in alphabetical order."""
    counts = Counter(word for words in split for word in words)
    return sorted(counts, key=lambda word: (-counts[word], word))


def split_texts(texts: Sequence[str], share: float) -> list[bool]:
    """Return whether each of the truncated lines is held out: about `share` of the distinct ones, by lowest digests.

    Equal lines are in the same split. Some line is held out if `share` is above 0, and some line is trained on.
    """
    ordered = sorted(set(texts), key=lambda text: hashlib.sha256(text.encode()).digest())
    count = min(max(round(share * len(ordered)), int(share > 0)), len(ordered) - 1)
    held_out = set(ordered[:count])
    return [text in held_out for text in texts]


@dataclass(frozen=True, slots=True, eq=False)
class SentenceStream:
    """Endless epochs over sentences (N, T) int64, each in a new random order, without labels.

    `ends`: whether token 0 ends a sentence. Raises DataError if there are fewer sentences than a batch, SettingError
    for an empty batch.
    """

    sentences: Tensor
    ends: bool
    batch_size: int
    seed: int
    split: Split

    def __post_init__(self) -> None:
        check_split_size(len(self.sentences), self.batch_size, self.split, "sentences")

    def batch(self, index: int) -> TokenBatch:
        """Return batch number `index`: real (B, T) int64, lengths (B,) int64."""
        indices = batch_indices(len(self.sentences), self.batch_size, self.seed, self.split, index)
        tokens = self.sentences.index_select(0, indices)
        lengths = (tokens != END).sum(dim=1) if self.ends else torch.full((len(tokens),), tokens.shape[1])
        return TokenBatch(tokens, lengths=lengths)
