"""Text files: their lines, words in order of frequency, and the split of lines."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from equipoise.errors import DataError

MAX_BYTES = 2**30
"""Files larger than 1 GiB are refused, because all lines are kept in memory."""


class TextFile(NamedTuple):
    """The non-blank lines of a text, their line numbers from 1, and the SHA-256 of the file."""

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
    """Return which of the truncated lines are held out: about `share` of the distinct ones, by lowest digests.

    Equal lines stay together; at least one is held out if `share` is above 0, and at least one is trained on.
    """
    ordered = sorted(set(texts), key=lambda text: hashlib.sha256(text.encode()).digest())
    count = min(max(round(share * len(ordered)), int(share > 0)), len(ordered) - 1)
    out = set(ordered[:count])
    return [text in out for text in texts]
