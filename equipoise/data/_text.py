"""Lines of a text file, split into words or characters, and the vocabulary that they need."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from equipoise.errors import DataError

MOST_BYTES = 2**30
"""A text of more than a GiB is no file of lines to be kept in memory."""


class Lines(NamedTuple):
    """The lines of a text that hold something, their numbers in the file from 1, and the file's SHA-256."""

    texts: tuple[str, ...]
    numbers: tuple[int, ...]
    digest: str


def read(path: Path) -> Lines:
    """The lines of a file in UTF-8. Raises DataError for one that is not there, is empty, or is no text."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path} is larger than a GiB; cut it into smaller files")
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: this is no text in UTF-8; save the file as UTF-8") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{path}, line {line}: this is no text in UTF-8; save the file as UTF-8")
    kept = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not kept:
        raise DataError(f"{path} is empty; give a file with a sentence on each line")
    numbers, lines = zip(*kept, strict=True)
    return Lines(lines, numbers, hashlib.sha256(content).hexdigest())


def words_of(split: Sequence[Sequence[str]]) -> list[str]:
    """The different words of lines: the most frequent first, equally frequent ones by their letters."""
    counts = Counter(word for words in split for word in words)
    return sorted(counts, key=lambda word: (-counts[word], word))


def held_out(texts: Sequence[str], share: float) -> list[bool]:
    """Which lines, cut, are held out: about `share` of the different ones, those with the lowest digests; at least one.

    Lines that are the same stay together; at least one is trained on.
    """
    ordered = sorted(set(texts), key=lambda text: hashlib.sha256(text.encode()).digest())
    wanted = min(max(round(share * len(ordered)), int(share > 0)), len(ordered) - 1)
    out = set(ordered[:wanted])
    return [text in out for text in texts]
