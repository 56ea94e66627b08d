"""Reading and decoding of batches from shards. A reader is small: other processes get copies of it.

Imports no torch, so that a process that reads batches starts in half a second and needs little memory.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.core.printing import printable
from equipoise.data._images.decoding import decode_pixels
from equipoise.data._images.image_format import ImageFormat
from equipoise.data._shards.index import FILES, ShardBlock, ShardIndex, load_index
from equipoise.data._shards.order import Integers, ShardOrder
from equipoise.data._shards.tar_members import read_members
from equipoise.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_DAMAGED = 64
"""Number of images in a row that may be damaged."""
GROUPS_BYTES = 2**29
"""Memory for the row groups of Parquet files that are mixed, in bytes."""
MAX_GROUPS = 16
"""Largest number of row groups that are mixed."""


class ReadBatch(NamedTuple):
    """Decoded images. `pixels`: (B, 3 or 4, H, W) uint8. `labels`: (B,) int64, -1 without one."""

    pixels: npt.NDArray[np.uint8]
    labels: Integers


@dataclass(frozen=True, slots=True)
class ShardReader:
    """Reader of the batches of one stream: `read(i)` depends on these values and i alone.

    `entry`: folder of the index. `root`: folder of the shards. `is_held_out`: whether the split is the held-out one;
    `share`: of the images that is held out. `window`: number of blocks that are mixed; None: that of
    :func:`default_window`.
    """

    entry: Path
    root: Path
    form: ImageFormat
    is_held_out: bool
    share: float
    batch_size: int
    seed: int
    window: int | None = None

    def __len__(self) -> int:
        return len(_order(self))

    def read(self, index: int) -> ReadBatch:
        """Read and decode batch number `index`.

        A damaged image is recorded with the index, and replaced by the next one of the order. Raises DataError for a
        shard that is missing or changed, or if many images in a row are damaged.
        """
        stored, order = load_index(self.entry), _order(self)
        positions = self._positions(index)
        rows = order.rows(positions)
        pixels = np.empty((len(rows), *self.form.shape), np.uint8)
        for place, result in self._decode(stored, rows):
            attempt = 0
            while isinstance(result, DataError):
                attempt += 1
                _report(stored, self.root, int(rows[place]), str(result))
                if attempt > MAX_DAMAGED:
                    name = printable(image_name(stored, self.root, int(rows[place])))
                    raise DataError(
                        f"{MAX_DAMAGED} images in a row cannot be used, {name} as the last: {result}; check them"
                    )
                rows[place] = order.rows(positions[place : place + 1], attempt)[0]
                ((_, result),) = self._decode(stored, rows[place : place + 1])
            pixels[place] = result
        return ReadBatch(pixels, stored.rows["label"][rows].astype(np.int64))

    def rows(self, index: int) -> Integers:
        """Return the rows of the images of batch number `index`, (B,) int64, before damaged ones are replaced."""
        return _order(self).rows(self._positions(index))

    def _positions(self, index: int) -> Integers:
        return np.arange(index * self.batch_size, (index + 1) * self.batch_size)

    def damaged(self) -> dict[str, str]:
        """Return path -> reason of the images that were found to be damaged until now, by any process."""
        return load_index(self.entry).damaged()

    def _decode(
        self, stored: ShardIndex, rows: Integers
    ) -> Iterator[tuple[int, "npt.NDArray[np.uint8] | npt.NDArray[np.float32] | DataError"]]:
        """Yield place and pixels of images, in the order of the shards, or the error of one that is damaged."""
        for place, content in read_images(stored, self.root, rows, self.window):
            try:
                yield place, content if isinstance(content, DataError) else decode_pixels(content, self.form)
            except DataError as error:
                yield place, error


def default_window(index: ShardIndex) -> int:
    """Return the number of blocks that are mixed by default: all, but of Parquet files as many as memory holds.

    An image of a row group can be read only with all the others, so that a few groups are read at a time and mixed.
    """
    if index.kind != ".parquet":
        return len(index.blocks)
    return max(1, min(MAX_GROUPS, GROUPS_BYTES // max(1, index.group_bytes)))


@lru_cache(maxsize=16)
def _order(reader: ShardReader) -> ShardOrder:
    index = load_index(reader.entry)
    window = reader.window or default_window(index)
    return ShardOrder(index.split_blocks(reader.share), reader.seed, reader.is_held_out, min(window, len(index.blocks)))


def read_images(
    index: ShardIndex, root: Path, rows: Integers, window: int | None = None
) -> Iterator[tuple[int, bytes | DataError]]:
    """Yield place and bytes of the images in these rows, shard by shard, or why one of them cannot be read.

    `window`: number of row groups that are mixed, and so many are kept; None: that of :func:`default_window`. Raises
    DataError for a shard that is missing, changed or cannot be read.
    """
    places = np.argsort(rows, kind="stable")
    if index.kind == FILES:
        for place in places:
            yield int(place), _read_file(root / index.file_path(int(rows[place])))
        return
    numbers = np.searchsorted(index.blocks[:, 2], rows[places], side="right") - 1
    for number in np.unique(numbers):
        block = ShardBlock(*(int(value) for value in index.blocks[number]))
        own = places[numbers == number]
        if index.kind == ".tar":
            yield from _read_members(index, root, block, own, rows)
        else:
            yield from _read_rows(index, _groups(index.folder, root, window or default_window(index)), block, own, rows)


def image_name(index: ShardIndex, root: Path, row: int) -> str:
    """Return the shard and the name in it of an image, for a message."""
    if index.kind == FILES:
        return index.file_path(row)
    block = index.block_of(row)
    shard = index.shards[block.shard].path
    if index.kind != ".tar":
        return f"{shard}, row group {block.group}, row {int(index.rows['offset'][row])}"
    try:
        offset = int(index.rows["offset"][row])
        members = read_members(root / shard)
        return f"{shard}/{next(member.name for member in members if member.offset == offset)}"
    except (OSError, DataError, StopIteration):
        return f"{shard}, byte {offset:,}"


_reported: set[tuple[Path, int]] = set()


def _report(index: ShardIndex, root: Path, row: int, reason: str) -> None:
    """Record a damaged image, once in this process."""
    if (index.folder, row) not in _reported:
        _reported.add((index.folder, row))
        name = image_name(index, root, row)
        if printable(name) not in index.damaged():
            index.record_damaged(name, reason)


def _read_file(path: Path) -> bytes | DataError:
    """Read an image file. One that is missing or locked is like a damaged one; raises DataError for other errors."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        return DataError(f"cannot be read: {error.strerror or error}")
    except OSError as error:
        raise _unreadable(path, error) from error


def _read_members(
    index: ShardIndex, root: Path, block: ShardBlock, places: Integers, rows: Integers
) -> Iterator[tuple[int, bytes | DataError]]:
    shard = index.shards[block.shard]
    path = root / shard.path
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        if os.fstat(file).st_size != shard.size:
            raise DataError(f"{path} changed while it was read; restore it, or start a new run with --from RUN")
        members = index.rows[rows[places]]
        parts = zip(places.tolist(), members["size"].tolist(), members["offset"].tolist(), strict=True)
        for place, size, offset in parts:
            yield place, os.pread(file, size, offset)
    except OSError as error:  # of the drive: an image that is replaced would make another run
        raise _unreadable(path, error) from error
    finally:
        os.close(file)


def _read_rows(
    index: ShardIndex, groups: "RowGroups", block: ShardBlock, places: Integers, rows: Integers
) -> Iterator[tuple[int, bytes | DataError]]:
    from equipoise.data._files.parquet import image_bytes

    group = groups.read(index, block)
    for place in places:
        try:
            yield int(place), image_bytes(group[int(index.rows["offset"][rows[place]])].as_py())
        except DataError as error:
            yield int(place), error


@dataclass(slots=True, eq=False)
class RowGroups:
    """The row groups that were read last, as many as are mixed and one more; used by several threads."""

    root: Path
    most: int
    groups: "dict[tuple[int, int], pa.ChunkedArray]" = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, index: ShardIndex, block: ShardBlock) -> "pa.ChunkedArray":
        """Return the images of a row group. Raises DataError if the file is missing, changed or damaged."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        key, shard = (block.shard, block.group), index.shards[block.shard]
        with self.lock:
            if key in self.groups:
                self.groups[key] = self.groups.pop(key)  # as the newest
                return self.groups[key]
            while len(self.groups) >= self.most:
                del self.groups[next(iter(self.groups))]
            path = self.root / shard.path
            try:
                if path.stat().st_size != shard.size:
                    raise DataError(f"{path} changed while it was read; restore it, or start a new run with --from RUN")
                with pq.ParquetFile(path) as file:
                    self.groups[key] = file.read_row_group(block.group, columns=[index.column]).column(0)
            except (OSError, pa.ArrowException) as error:
                raise _unreadable(path, error) from error
            return self.groups[key]


@lru_cache(maxsize=4)
def _groups(entry: Path, root: Path, window: int) -> RowGroups:
    return RowGroups(root, min(window, len(load_index(entry).blocks)) + 1)


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path} is no longer there; restore it, and resume the run")
    return DataError(f"{path} cannot be read: {error}; restore it, and resume the run")


def sample_images(index: ShardIndex, root: Path, count: int) -> Sequence[bytes]:
    """Return the bytes of images that are spread over an index, at most `count` of them, without those unreadable."""
    rows = np.unique(np.linspace(0, len(index.rows) - 1, min(count, len(index.rows))).astype(np.int64))
    return [content for _, content in read_images(index, root, rows) if isinstance(content, bytes)]
