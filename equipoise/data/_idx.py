"""Images and labels in the IDX format of MNIST, and the data sets that are published in it.

IDX (LeCun, Cortes and Burges, "The MNIST database of handwritten digits"): two zero bytes, a type (8 for unsigned
bytes), the number of dimensions, each dimension as 4 bytes, most significant first, and then the numbers.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.core.data import Preparation, Split
from equipoise.data import _download
from equipoise.data._arrays import resized
from equipoise.data._download import ANEW, Published
from equipoise.errors import DataError, SettingError

COUNTS: dict[Split, int] = {"train": 60_000, "held_out": 10_000}
SIDE = 28
CLASSES = 10
SIZES = (16, 32, 64)
SIDE_AT_HAND = 32
UNSIGNED_BYTES = 8
NAMES: dict[Split, tuple[str, str]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "held_out": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a data set lies. `folders`: below the root, the first one for downloads. `md5`: of the .gz, as in NAMES."""

    name: str
    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    md5: dict[str, str]

    def published(self, name: str) -> Published:
        """One of the four files, packed."""
        packed = f"{name}.gz"
        return Published(packed, self.md5[name], tuple(f"{mirror}{packed}" for mirror in self.mirrors))

    def places(self, root: Path, name: str) -> list[Path]:
        """Where one of the four files may lie: packed or unpacked, the latter also with the dot of LeCun's tool."""
        dotted = name.replace("-idx", ".idx")
        return [root / folder / it for folder in self.folders for it in (f"{name}.gz", name, dotted)]


def check_size(name: str, image_size: int) -> None:
    """Raise SettingError for a size that is not offered."""
    if image_size not in SIZES:
        raise SettingError(f"image_size = {image_size} is not offered by '{name}'; use 16, 32 or 64")


def prepare(source: Source, root: str) -> Iterator[Preparation]:
    """Download those of the four files that are not there. Raises DataError, telling what to put where."""
    folder = Path(root).expanduser().resolve()
    missing = [name for names in NAMES.values() for name in names if not _download.result(source.places(folder, name))]
    yield from _download.fetch([source.published(name) for name in missing], folder / source.folders[0])


def split_of(source: Source, root: str, split: Split, size: int, published: bool) -> tuple[Tensor, Tensor]:
    """The images of a split, (N, 1, size, size) uint8, and their labels, (N,) int64; downloaded if they must be.

    At 32 pixels a side the original 28 with two black ones around, at others that resampled. Not to be changed. Raises
    DataError if a file is damaged or, where only the `published` ones will do, another one.
    """
    for _ in prepare(source, root):
        pass
    folder = Path(root).expanduser().resolve()
    images, labels = (
        _local(_download.result(source.places(folder, name)), source.md5[name] if published else None)
        for name in NAMES[split]
    )
    return _arrays(images, labels, size, COUNTS[split] if published else None)


class Local(NamedTuple):
    """A local copy, told from a later one by time and size. `md5`: what its digest must be, None for anything."""

    path: Path
    modified: int
    size: int
    md5: str | None


def _local(path: Path | None, md5: str | None) -> Local:
    if path is None:
        raise DataError("a file was taken away while it was read; start again")
    status = path.stat()
    return Local(path, status.st_mtime_ns, status.st_size, md5 if path.suffix == ".gz" else None)


@lru_cache(maxsize=2)
def _arrays(images: Local, labels: Local, size: int, count: int | None) -> tuple[Tensor, Tensor]:
    """Read, checked and resized. `count`: how many there must be, None for any number."""
    pixels, classes = (read(file.path, _download.content(file.path, file.md5)) for file in (images, labels))
    wanted = len(pixels) if count is None else count
    if pixels.shape != (wanted, SIDE, SIDE):
        shown = " x ".join(map(str, pixels.shape))
        raise DataError(f"{images.path} holds {shown} numbers, not {wanted} images of 28 x 28 pixels; {ANEW}")
    if classes.shape != (wanted,) or (wanted and classes.max() >= CLASSES):
        raise DataError(f"{labels.path} does not hold {wanted} labels from 0 to 9, one for each image; {ANEW}")
    border = (SIDE_AT_HAND - SIDE) // 2
    return resized(F.pad(pixels.unsqueeze(1), (border,) * 4), size), classes.long()


def read(path: Path, content: bytes) -> Tensor:
    """The numbers of an IDX file, uint8 of its own shape. `path`: unpacked first if it ends in .gz, and for messages.

    Raises DataError if the file is damaged, cut short, or of another format.
    """
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} is damaged: it cannot be unpacked; {ANEW}") from error
    if len(content) < 4 or content[:3] != bytes((0, 0, UNSIGNED_BYTES)):
        raise DataError(f"{path} is no IDX file of bytes: it does not begin with 0, 0, 8; {ANEW}")
    start = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}I", content[4:start]) if len(content) >= start else ()
    if not shape or len(content) - start != math.prod(shape):
        raise DataError(f"{path} is cut short, or longer than its first bytes say; {ANEW}")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy())
