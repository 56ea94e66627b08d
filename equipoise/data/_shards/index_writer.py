"""Writing of an index: rows as they are read, then the labels that apply. Memory does not grow with the images."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO

import numpy as np

from equipoise.core.printing import agree, format_count, printable
from equipoise.data._labels.labels import FOLDERS, NONE, natural_order
from equipoise.data._shards.index import ABOUT, BLOCKS, FORMAT, ROW, ROWS, Shard, ShardBlock
from equipoise.data._splits import SplitName

RAW = np.dtype([*ROW.descr, ("folder", "<i4")])
"""A row before labels are chosen: `label` is the label next to the image, `folder` that of its folder."""
RAW_ROWS = "rows.raw"
BUFFERED = 65_536
"""Number of rows that are written at once."""
MAX_CLASSES = 10_000
"""Largest number of classes; more different labels are texts or numbers of images."""
MAX_LENGTH = 100
"""Largest length of a class name, in characters."""
PART = re.compile(r"\d{4,}")
"""Names of folders that are parts of a large set, and no classes: 00000, 00001."""


@dataclass(slots=True)
class LabelNumbers:
    """Numbers of labels in order of appearance. `is_full`: there are too many, so that they are no classes."""

    numbers: dict[str, int] = field(default_factory=dict)
    is_full: bool = False

    def number(self, label: str) -> int:
        """Return the number of a label; -1 for none."""
        if not label or self.is_full:
            return -1
        if len(label) > MAX_LENGTH or len(self.numbers) > MAX_CLASSES:
            self.is_full = True
        return self.numbers.setdefault(label, len(self.numbers))


@dataclass(slots=True)
class IndexWriter:
    """Writer of a new index in the folder `partial`. `label_source`: name of the labels next to images."""

    partial: Path
    kind: str
    label_source: str = ""
    column: str | None = None
    shards: list[Shard] = field(default_factory=list)
    blocks: list[ShardBlock] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    group_bytes: int = 0
    count: int = 0
    _labels: LabelNumbers = field(default_factory=LabelNumbers)
    _folders: LabelNumbers = field(default_factory=LabelNumbers)
    _buffer: list[tuple[int, int, int, int]] = field(default_factory=list)
    _file: IO[bytes] | None = None

    def add_block(self, group: int, split: SplitName | None) -> None:
        """Start a block of the next shard."""
        self.blocks.append(ShardBlock(len(self.shards), group, self.count, 0, int(split == "valid")))

    def add(self, offset: int, size: int, label: str, folder: str) -> None:
        """Add an image to the last block: its place, the label next to it, and the name of its folder."""
        self._buffer.append((offset, size, self._labels.number(label), self._folders.number(folder)))
        self.count += 1
        if len(self._buffer) >= BUFFERED:
            self._flush()

    def add_shard(self, path: str, size: int, digest: str) -> None:
        """End a shard."""
        self.shards.append(Shard(path, size, digest))

    def finish(self, labels: str) -> str:
        """Write the index with the labels that apply, and return its digest. `labels`: auto, none or folders."""
        self._flush()
        if self._file is not None:
            self._file.close()
        ends = [*(block.start for block in self.blocks[1:]), self.count]
        self.blocks = [block._replace(size=end - block.start) for block, end in zip(self.blocks, ends, strict=True)]
        raw = np.memmap(self.partial / RAW_ROWS, RAW, "r") if self.count else np.empty(0, RAW)
        column, numbers, source = self._choose(raw, labels)
        classes = sorted(numbers.numbers, key=natural_order) if column else []
        places = np.full(len(numbers.numbers) + 1, -1, np.int32)  # the last one is that of -1, no label
        for place, name in enumerate(classes):
            places[numbers.numbers[name]] = place
        blocks = self._write_rows(raw, column, places)
        del raw
        (self.partial / RAW_ROWS).unlink(missing_ok=True)
        np.save(self.partial / BLOCKS, np.array(blocks, np.int64).reshape(-1, len(ShardBlock._fields)))
        about = {
            **{"format": FORMAT, "kind": self.kind, "column": self.column, "shards": self.shards, "classes": classes},
            **{"labels": source, "left_out": dict(self.left_out), "notes": self.notes, "rows": self.count},
            "group_bytes": self.group_bytes,
        }
        (self.partial / ABOUT).write_text(json.dumps(about))
        lines = (f"{shard.digest} {shard.path}\n" for shard in self.shards)
        text = "\n".join((self.kind, self.column or "", source, *classes, *lines))
        return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()

    def _flush(self) -> None:
        if self._file is None:
            self._file = (self.partial / RAW_ROWS).open("wb")
        self._file.write(np.array(self._buffer, RAW).tobytes())
        self._buffer.clear()

    def _choose(self, raw: "np.ndarray[tuple[int], np.dtype[np.void]]", labels: str) -> tuple[str, LabelNumbers, str]:
        """Return the column of RAW with the labels, "" for none, their numbers, and where they are from."""
        candidates = [("label", self._labels, self.label_source)] if labels == "auto" else []
        if labels in ("auto", FOLDERS):
            candidates.append(("folder", self._folders, FOLDERS))
        for column, numbers, source in candidates:
            if column == "folder" and all(PART.fullmatch(name) for name in numbers.numbers):
                continue
            if numbers.is_full:
                self.notes.append(f"{printable(source)}: not used as labels, because they are too many or too long")
                continue
            labelled = sum(
                int((raw[column][start : start + BUFFERED] >= 0).sum()) for start in range(0, self.count, BUFFERED)
            )
            if 1 < len(numbers.numbers) <= max(2, labelled // 2) and 2 * labelled > self.count:
                return column, numbers, source
        return "", LabelNumbers(), NONE

    def _write_rows(
        self,
        raw: "np.ndarray[tuple[int], np.dtype[np.void]]",
        column: str,
        places: "np.ndarray[tuple[int], np.dtype[np.int32]]",
    ) -> Sequence[ShardBlock]:
        """Write the rows with their labels, without images that have none if others do; return the blocks."""
        blocks, start = [], 0
        with (self.partial / ROWS).open("wb") as file:
            for block in self.blocks:
                size = 0
                for first in range(block.start, block.start + block.size, BUFFERED):
                    part = raw[first : min(first + BUFFERED, block.start + block.size)]
                    rows = np.empty(len(part), ROW)
                    rows["offset"], rows["size"] = part["offset"], part["size"]
                    rows["label"] = places[part[column]] if column else -1
                    rows = rows[rows["label"] >= 0] if column else rows
                    file.write(rows.tobytes())
                    size += len(rows)
                if size:
                    blocks.append(block._replace(start=start, size=size))
                start += size
        if missing := self.count - start:
            count, verb = format_count(missing, "image"), agree(missing, "has", "have")
            self.notes.append(f"{count} {verb} no label, unlike the others: not used; labels=none uses all of them")
            self.left_out["images without a label"] += missing
        self.count = start
        return blocks
