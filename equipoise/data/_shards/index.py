"""The index of a set of shards: where each image is, and its label; written once, and mapped to memory from then on.

    cache/shards/<digest>/rows.bin     offset, size and label of each image, 16 bytes, shard by shard
                          blocks.npy   shards, row groups or runs of files: number of the shard, group, first row, size
                          names.bin    paths of single files, concatenated; the rows hold their places
                          about.json   shards, classes, and what was left out
                          damaged.tsv  images that could not be decoded when they were drawn, and why
    cache/shards/<location>.json       sizes and times of the shards when they were indexed, and the digest

The digest is that of all headers of the shards, not of the bytes of all images: reading these takes hours. An entry is
complete or absent, and never changes. Imports no torch.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.core.printing import printable
from equipoise.data._files.listing import content_digest, report_write_errors, save_json
from equipoise.data._shards.order import Blocks, Integers, held_out_counts

FORMAT = 2
ROWS, BLOCKS, NAMES, ABOUT, DAMAGED = "rows.bin", "blocks.npy", "names.bin", "about.json", "damaged.tsv"
ROW = np.dtype([("offset", "<u8"), ("size", "<u4"), ("label", "<i4")])
FILES = "files"
"""Kind of an index of single files; others are .tar and .parquet."""
MAX_HELD_OUT = 50_000
"""Largest number of images that are held out as a share: metrics need no more."""

INDEXING = ".indexing-"
"""Start of the names of folders in which an index is being written."""
ABANDONED_SECONDS = 3600.0
"""Time without a change after which nobody writes an index any more."""

IndexRows = npt.NDArray[np.void]


class Shard(NamedTuple):
    """A shard. `path`: relative to the root, with slashes. `size`: in bytes. `digest`: of its headers."""

    path: str
    size: int
    digest: str


class ShardBlock(NamedTuple):
    """A shard, a row group of it, or a run of files. `start`, `size`: its rows. `is_valid`: 1 if it is held out."""

    shard: int
    group: int
    start: int
    size: int
    is_valid: int


@dataclass(frozen=True, slots=True, eq=False)
class ShardIndex:
    """The index of all images. `folder`: of its files. `kind`: .tar, .parquet or FILES. `column`: of Parquet images.

    `rows`: (N,) of type ROW, memory-mapped. `blocks`: (B, 5) int64, the fields of :class:`ShardBlock`. `labels`: where
    labels are from. `left_out`: kind of files -> their number. `notes`: information for the user. `group_bytes`: the
    largest size of the images of a row group.
    """

    folder: Path
    digest: str
    kind: str
    column: str | None
    shards: tuple[Shard, ...]
    classes: tuple[str, ...]
    labels: str
    left_out: Mapping[str, int]
    notes: tuple[str, ...]
    group_bytes: int
    rows: IndexRows
    blocks: Integers

    def split_blocks(self, share: float) -> Blocks:
        """Return the blocks with the number of images of each that is held out: those of shards called valid, if any.

        Otherwise about `share` of each block, at most MAX_HELD_OUT of all.
        """
        starts, sizes, valid = self.blocks[:, 2], self.blocks[:, 3], self.blocks[:, 4]
        return Blocks(starts, sizes, sizes * valid if valid.any() else held_out_counts(sizes, share, MAX_HELD_OUT))

    def block_of(self, row: int) -> ShardBlock:
        """Return the block that contains a row."""
        number = int(np.searchsorted(self.blocks[:, 2], row, side="right")) - 1
        return ShardBlock(*(int(value) for value in self.blocks[number]))

    def file_path(self, row: int) -> str:
        """Return the path of a single file."""
        offset, size = int(self.rows["offset"][row]), int(self.rows["size"][row])
        with (self.folder / NAMES).open("rb") as file:
            file.seek(offset)
            return os.fsdecode(file.read(size))

    def damaged(self) -> dict[str, str]:
        """Return path -> reason of the images that were found to be damaged until now."""
        with suppress(OSError):
            lines = (self.folder / DAMAGED).read_text(errors="replace").splitlines()
            parts = (line.partition("\t") for line in lines)
            return {path: reason for path, tab, reason in parts if tab}
        return {}

    def record_damaged(self, path: str, reason: str) -> None:
        """Remember that an image is damaged; several processes may write at once."""
        with suppress(OSError), (self.folder / DAMAGED).open("a") as file:
            file.write(f"{printable(path)}\t{printable(reason)}\n")


class ShardState(NamedTuple):
    """Sizes and times in nanoseconds by which changes are recognised: of shards, and times of folders, by path."""

    shards: Mapping[str, tuple[int, int]]
    folders: Mapping[str, int]


class Pointer(NamedTuple):
    """What is known of a location: the digest of its index, the folder of its shards, and their state."""

    digest: str
    root: str
    state: ShardState


def open_index(cache: Path, digest: str) -> ShardIndex | None:
    """Return the index with a digest; None if it is missing or incomplete."""
    try:
        return load_index(entry_path(cache, digest))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def entry_path(cache: Path, digest: str) -> Path:
    """Return the folder of the index with a digest."""
    return cache / "shards" / digest


@lru_cache(maxsize=8)
def load_index(folder: Path) -> ShardIndex:
    """Map an index to memory. Raises OSError, ValueError, KeyError or TypeError if it is incomplete."""
    about = json.loads((folder / ABOUT).read_text())
    if about["format"] != FORMAT or (folder / ROWS).stat().st_size != about["rows"] * ROW.itemsize:
        raise ValueError("incomplete, or of another version")
    rows = np.memmap(folder / ROWS, ROW, "r").view(np.ndarray) if about["rows"] else np.empty(0, ROW)
    blocks = np.load(folder / BLOCKS, allow_pickle=False)
    shards = tuple(Shard(*shard) for shard in about["shards"])
    classes, notes = tuple(about["classes"]), tuple(about["notes"])
    left_out, group_bytes = about["left_out"], about["group_bytes"]
    return ShardIndex(
        *(folder, folder.name, about["kind"], about["column"], shards, classes, about["labels"], left_out, notes),
        *(group_bytes, rows, blocks),
    )


def load_pointer(cache: Path, key: str) -> Pointer | None:
    """Return what is known of a location with this key; None if it was not indexed."""
    try:
        value = json.loads(_pointer_path(cache, key).read_text())
        shards = {path: (int(size), int(modified)) for path, (size, modified) in value["shards"].items()}
        return Pointer(value["digest"], value["root"], ShardState(shards, value["folders"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def save_pointer(cache: Path, key: str, pointer: Pointer) -> None:
    """Remember the index of a location. Raises DataError on write errors."""
    digest, root, state = pointer
    save_json(cache, _pointer_path(cache, key), {"digest": digest, "root": root, **state._asdict()})


def location_key(location: str, options: object) -> str:
    """Return the key of a location, read with certain options."""
    return content_digest(repr((FORMAT, location, options)).encode("utf-8", "surrogateescape"))


def _pointer_path(cache: Path, key: str) -> Path:
    return cache / "shards" / f"{key}.json"


@contextmanager
def new_entry(cache: Path) -> Iterator[Path]:
    """Create a temporary folder for a new index, removed afterwards unless it is published."""
    with report_write_errors(cache):
        parent = cache / "shards"
        parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(parent)
        partial = Path(mkdtemp(prefix=INDEXING, dir=parent))
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of processes that were killed while they indexed."""
    for folder in parent.glob(f"{INDEXING}*"):
        with suppress(OSError):
            changed = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
            if time.time() - changed > ABANDONED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def publish(partial: Path, cache: Path, digest: str) -> None:
    """Rename a complete index; do nothing if another process has written the same one."""
    entry = entry_path(cache, digest)
    partial.chmod(0o755)  # mkdtemp denies access to other users.
    with suppress(OSError):
        partial.rename(entry)
        return
    if open_index(cache, digest) is None:
        shutil.rmtree(entry, ignore_errors=True)
        partial.rename(entry)
