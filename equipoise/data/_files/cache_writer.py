"""Writing of an entry of the cache: rows, digests, statistics, and notes on copies."""

import json
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from equipoise.core.printing import agree, format_count, printable
from equipoise.data._files.decoding import DecodedFile, DecodingKey
from equipoise.data._files.listing import File, combined_digest, content_digest, format_reasons

FORMAT = 2
"""Version of the entries; incremented when their files change."""


@dataclass
class CacheWriter:
    """Writer of the rows and the metadata of a new entry."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    contents: dict[str, str] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    lowest_digest: dict[str, str] = field(default_factory=dict)
    row_digest: dict[str, str] = field(default_factory=dict)
    facts: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)
    checksum: int = 0

    def add(self, read: DecodedFile, array: BinaryIO) -> None:
        """Write the rows of a file, or record why there are none."""
        self.contents[read.path] = read.content
        if read.rows is None:
            self.skipped[read.path] = read.reason or "cannot be decoded"
            return
        rows = np.ascontiguousarray(read.rows).reshape(-1, *self.shape)
        if rows.dtype != self.dtype:
            raise TypeError(f"{read.path} was decoded to {rows.dtype}, not {self.dtype}")
        content = rows.tobytes()
        array.write(content)
        self.checksum = zlib.crc32(content, self.checksum)
        self.facts.update(read.facts)
        self.paths += [read.path] * len(rows)
        # Files with equal rows share the lowest digest, so none is held out while its copy is trained on.
        digest = self.row_digest[read.path] = content_digest(content)
        self.lowest_digest[digest] = min(read.content, self.lowest_digest.get(digest, read.content))

    def row_digests(self) -> list[str]:
        """Return the digest of the file of each row; files with equal rows share the lowest one."""
        return [self.lowest_digest[self.row_digest[path]] for path in self.paths]

    def metadata(self, files: Sequence[File], key: DecodingKey, groups: Sequence[str] | None) -> dict[str, object]:
        """Return the content of about.json, as JSON values. `groups`: of near-identical rows; None if not compared."""
        copies, digests = len(self.row_digest) - len(self.lowest_digest), self.row_digests()
        notes = []
        if self.skipped:
            count, verb = len(self.skipped), agree(len(self.skipped), "was", "were")
            notes.append(f"{count:,} of {format_count(len(files))} {verb} skipped: {format_reasons(self.skipped)}")
        if copies:
            notes.append(
                f"{format_count(copies)} {agree(copies, 'has', 'have')} the same content as another; all are used"
            )
        if groups and (note := self._near_note(digests, groups)):
            notes.append(note)
        return {
            "format": FORMAT,
            "alike": names_digest(files, key),
            "digest": combined_digest(self.contents),
            "shape": self.shape,
            "dtype": self.dtype.name,
            "files": self.contents,
            "checksum": self.checksum,
            "rows": list(zip(self.paths, digests, groups or digests, strict=True)),
            "notes": notes,
            "facts": self.facts,
            "skipped": self.skipped,
        }

    def _near_note(self, digests: Sequence[str], groups: Sequence[str]) -> str:
        """Return a note on near-identical images that are not the same; empty if there are none."""
        first: dict[str, str] = {}
        examples = []
        for path, digest, group in zip(self.paths, digests, groups, strict=True):
            other = first.setdefault(group, path)
            if digest != group and other != path:
                examples.append((other, path))
        different = len(set(digests)) - len(set(groups))
        if not different or not examples:
            return ""
        one, two = map(printable, examples[0])
        return (
            f"{format_count(different, 'image')} {agree(different, 'is', 'are')} nearly identical to another (such as "
            f"{one} and {two}); all are used"
        )


def key_digest(key: DecodingKey) -> str:
    """Return a digest of the options of decoding."""
    return content_digest(json.dumps([FORMAT, dict(key)], sort_keys=True).encode())


def names_digest(files: Sequence[File], key: DecodingKey) -> str:
    """Return a digest of paths, sizes and the key, which needs no reading of files."""
    return content_digest(json.dumps([key_digest(key), [file[:2] for file in files]]).encode())
