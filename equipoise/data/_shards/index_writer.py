"""Writing of an index: rows as they are read, then the labels that apply. Memory does not grow with the images."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from equipoise.core.printing import agree, format_count, printable
from equipoise.data._labels.labels import FOLDERS, NONE, natural_order
from equipoise.data._shards.folders import FolderMeaning, FolderNumbers
from equipoise.data._shards.index import ABOUT, BLOCKS, FORMAT, ROW, ROWS, Shard, ShardBlock
from equipoise.data._splits import SplitName

RAW = np.dtype([*ROW.descr, ("folder", "<i4")])
"""A row before labels are chosen: `label`, `folder`: numbers of the label next to the image, of its folder."""
RAW_ROWS = "rows.raw"
BUFFERED = 65_536
"""Number of rows that are written at once."""
MAX_CLASSES = 10_000
"""Largest number of classes; more different labels are texts or numbers of images."""
MAX_LENGTH = 100
"""Largest length of a class name, in characters."""
PART = re.compile(r"\d{4,}")
"""Names of folders that are parts of a large set, and no classes: 00000, 00001."""
TESTS = "images of tests, never trained on"
RawRows = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class ChosenLabels:
    """A column of RAW as labels. `names`: by number, "" for none. `source`: where they are from."""

    column: str
    names: Sequence[str]
    source: str

    @property
    def classes(self) -> list[str]:
        """The classes, in natural order."""
        return sorted({name for name in self.names if name}, key=natural_order)

    def places(self) -> npt.NDArray[np.int32]:
        """Return the number of the class by the number in the column; -1 for none, as for the number -1."""
        places = {name: place for place, name in enumerate(self.classes)}
        return np.array([*(places.get(name, -1) for name in self.names), -1], np.int32)


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
    _folders: FolderNumbers = field(default_factory=FolderNumbers)
    _buffer: list[tuple[int, int, int, int]] = field(default_factory=list)
    _file: IO[bytes] | None = None

    def add_block(self, group: int, split: SplitName | None) -> None:
        """Start a block of the next shard."""
        self.blocks.append(ShardBlock(len(self.shards), group, self.count, 0, int(split == "valid")))

    def add(self, offset: int, size: int, label: str, folder: str) -> None:
        """Add an image to the last block: its place, the label next to it, and the path of its folder."""
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
        folders = self._folders.meanings()
        if any(block.is_valid for block in self.blocks):  # the shards have splits
            folders = [folder._replace(split=None) for folder in folders]
        chosen = self._choose(raw, folders, labels)
        blocks = self._write_rows(raw, chosen, folders)
        del raw
        (self.partial / RAW_ROWS).unlink(missing_ok=True)
        np.save(self.partial / BLOCKS, np.array(blocks, np.int64).reshape(-1, len(ShardBlock._fields)))
        classes, source = (chosen.classes, chosen.source) if chosen else ([], NONE)
        about = {
            **{"format": FORMAT, "kind": self.kind, "column": self.column, "shards": self.shards, "classes": classes},
            **{"labels": source, "left_out": dict(self.left_out), "notes": self.notes, "rows": self.count},
            "group_bytes": self.group_bytes,
        }
        (self.partial / ABOUT).write_text(json.dumps(about))
        lines = (f"{shard.digest} {shard.size} {shard.path}\n" for shard in self.shards)
        text = "\n".join((self.kind, self.column or "", source, *classes, *lines))
        return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()

    def _flush(self) -> None:
        if self._file is None:
            self._file = (self.partial / RAW_ROWS).open("wb")
        self._file.write(np.array(self._buffer, RAW).tobytes())
        self._buffer.clear()

    def _choose(self, raw: RawRows, folders: Sequence[FolderMeaning], labels: str) -> ChosenLabels | None:
        """Return the labels that apply; None for no labels."""
        candidates = [ChosenLabels("label", list(self._labels.numbers), self.label_source)] if labels == "auto" else []
        if labels in ("auto", FOLDERS):
            candidates.append(
                ChosenLabels("folder", ["" if one.split == "test" else one.name for one in folders], FOLDERS)
            )
        is_test = np.array([*(folder.split == "test" for folder in folders), False])
        for each in candidates:
            if each.column == "folder" and all(PART.fullmatch(name) for name in each.classes):
                continue
            if (each.column == "label" and self._labels.is_full) or len(each.classes) > MAX_CLASSES:
                self.notes.append(
                    f"{printable(each.source)}: not used as labels, because they are too many or too long"
                )
                continue
            places, labelled, count = each.places(), 0, 0
            for start in range(0, self.count, BUFFERED):
                part = raw[start : start + BUFFERED]
                used = ~is_test[part["folder"]]
                count += int(used.sum())
                labelled += int((used & (places[part[each.column]] >= 0)).sum())
            if 1 < len(each.classes) <= max(2, labelled // 2) and 2 * labelled > count:
                return each
        return None

    def _write_rows(
        self, raw: RawRows, labels: ChosenLabels | None, folders: Sequence[FolderMeaning]
    ) -> Sequence[ShardBlock]:
        """Write the rows with their labels, without tests, and without those that have no label if others do.

        Returns the blocks: those of images that are held out, because of their folder, are blocks of their own.
        """
        places = None if labels is None else labels.places()
        is_test, is_valid = (
            np.array([*(folder.split == split for folder in folders), False]) for split in ("test", "valid")
        )
        blocks, start, tests = list[ShardBlock](), 0, 0
        with (self.partial / ROWS).open("wb") as file:
            for block in self.blocks:
                own = list[ShardBlock]()
                for first in range(block.start, block.start + block.size, BUFFERED):
                    part = raw[first : min(first + BUFFERED, block.start + block.size)]
                    tests += int(is_test[part["folder"]].sum())
                    part = part[~is_test[part["folder"]]]
                    rows = np.empty(len(part), ROW)
                    rows["offset"], rows["size"] = part["offset"], part["size"]
                    rows["label"] = -1 if labels is None or places is None else places[part[labels.column]]
                    valid = is_valid[part["folder"]] | bool(block.is_valid)
                    if labels is not None:
                        valid, rows = valid[rows["label"] >= 0], rows[rows["label"] >= 0]
                    file.write(rows.tobytes())
                    own += _runs(block, start, valid)
                    start += len(rows)
                blocks += _joined(own)
        self._note_splits(tests, has_valid=any(folder.split == "valid" for folder in folders))
        if missing := self.count - tests - start:
            count, verb = format_count(missing, "image"), agree(missing, "has", "have")
            self.notes.append(f"{count} {verb} no label, unlike the others: not used; labels=none uses all of them")
            self.left_out["images without a label"] += missing
        self.count = start
        return blocks

    def _note_splits(self, tests: int, *, has_valid: bool) -> None:
        if tests:
            self.left_out[TESTS] += tests
        if has_valid:
            self.notes.append("the images in folders called valid are held out")


def _runs(block: ShardBlock, start: int, valid: npt.NDArray[np.bool_]) -> Sequence[ShardBlock]:
    """Return the parts of a block whose rows are all held out, or all not; `start`: the first row."""
    edges = [0, *(np.flatnonzero(valid[1:] != valid[:-1]) + 1).tolist(), len(valid)]
    return [
        block._replace(start=start + first, size=last - first, is_valid=int(valid[first]))
        for first, last in pairwise(edges)
        if last > first
    ]


def _joined(blocks: Sequence[ShardBlock]) -> Sequence[ShardBlock]:
    """Join adjacent blocks of the same split."""
    result = list[ShardBlock]()
    for block in blocks:
        if result and result[-1].is_valid == block.is_valid:
            result[-1] = result[-1]._replace(size=result[-1].size + block.size)
        else:
            result.append(block)
    return result
