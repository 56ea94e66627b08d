"""Images and labels in the IDX format of MNIST, and the data sets published in it.

IDX (LeCun, Cortes and Burges, "The MNIST database of handwritten digits"): two zero bytes, a type (8 for unsigned
bytes), the number of dimensions, each dimension as a 4-byte big-endian integer, and then the values.
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
from equipoise.data._arrays import resize_images
from equipoise.data._download import REMEDY, PublishedFile
from equipoise.errors import DataError, SettingError

COUNTS: dict[Split, int] = {"train": 60_000, "held_out": 10_000}
SIDE = 28
CLASSES = 10
SIZES = (16, 32, 64)
PADDED_SIDE = 32
UNSIGNED_BYTES = 8
FILE_NAMES: dict[Split, tuple[str, str]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "held_out": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


@dataclass(frozen=True, slots=True)
class IdxSource:
    """Location of a data set. `folders`: relative to the root, the first one for downloads. `md5`: of the .gz files."""

    name: str
    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    md5: dict[str, str]

    def published(self, name: str) -> PublishedFile:
        """Return the published archive of one of the four files."""
        packed = f"{name}.gz"
        return PublishedFile(packed, self.md5[name], tuple(f"{mirror}{packed}" for mirror in self.mirrors))

    def candidate_paths(self, root: Path, name: str) -> list[Path]:
        """Return the possible paths of one of the four files: packed or unpacked, also with the dot of LeCun's tool."""
        dotted = name.replace("-idx", ".idx")
        return [root / folder / file for folder in self.folders for file in (f"{name}.gz", name, dotted)]


def check_size(name: str, image_size: int) -> None:
    """Raise SettingError for an unsupported size."""
    if image_size not in SIZES:
        raise SettingError(f"image_size = {image_size} is not supported by '{name}'; use 16, 32 or 64")


def prepare(source: IdxSource, root: str) -> Iterator[Preparation]:
    """Download missing files. Raises DataError, which names the missing files and their folder."""
    folder = Path(root).expanduser().resolve()
    missing = [
        name
        for names in FILE_NAMES.values()
        for name in names
        if not _download.first_existing(source.candidate_paths(folder, name))
    ]
    yield from _download.download([source.published(name) for name in missing], folder / source.folders[0])


def load_split(source: IdxSource, root: str, split: Split, size: int, published: bool) -> tuple[Tensor, Tensor]:
    """Return the images of a split, (N, 1, size, size) uint8, and labels, (N,) int64, downloaded if necessary.

    At 32 pixels a side, images are the original 28 pixels with a border of two black pixels; other sizes are
    resampled. Do not modify. Raises
    DataError if a file is damaged or, with `published`, is not the published one.
    """
    for _ in prepare(source, root):
        pass
    folder = Path(root).expanduser().resolve()
    images, labels = (
        _local(_download.first_existing(source.candidate_paths(folder, name)), source.md5[name] if published else None)
        for name in FILE_NAMES[split]
    )
    return _arrays(images, labels, size, COUNTS[split] if published else None)


class LocalFile(NamedTuple):
    """A local copy, identified by time and size. `md5`: expected digest, None for any."""

    path: Path
    modified: int
    size: int
    md5: str | None


def _local(path: Path | None, md5: str | None) -> LocalFile:
    if path is None:
        raise DataError("a file was removed while it was read; run the command again")
    status = path.stat()
    return LocalFile(path, status.st_mtime_ns, status.st_size, md5 if path.suffix == ".gz" else None)


@lru_cache(maxsize=2)
def _arrays(images: LocalFile, labels: LocalFile, size: int, count: int | None) -> tuple[Tensor, Tensor]:
    """Read, check and resize a split. `count`: expected number of images, None for any."""
    pixels, classes = (parse_idx(file.path, _download.read_file(file.path, file.md5)) for file in (images, labels))
    expected = len(pixels) if count is None else count
    if pixels.shape != (expected, SIDE, SIDE):
        shape = " x ".join(map(str, pixels.shape))
        raise DataError(f"{images.path} contains {shape} values, not {expected} images of 28 x 28 pixels; {REMEDY}")
    if classes.shape != (expected,) or (expected and classes.max() >= CLASSES):
        raise DataError(f"{labels.path} does not contain {expected} labels from 0 to 9, one for each image; {REMEDY}")
    border = (PADDED_SIDE - SIDE) // 2
    return resize_images(F.pad(pixels.unsqueeze(1), (border,) * 4), size), classes.long()


def parse_idx(path: Path, content: bytes) -> Tensor:
    """Return the values of an IDX file, uint8 of its own shape. `path`: decompressed first if it ends in .gz.

    Raises DataError if the file is damaged, truncated, or of another format.
    """
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} is damaged: it cannot be decompressed; {REMEDY}") from error
    if len(content) < 4 or content[:3] != bytes((0, 0, UNSIGNED_BYTES)):
        raise DataError(f"{path} is not an IDX file of bytes: it does not start with 0, 0, 8; {REMEDY}")
    start = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}I", content[4:start]) if len(content) >= start else ()
    if not shape or len(content) - start != math.prod(shape):
        raise DataError(f"{path} is truncated, or longer than its header says; {REMEDY}")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy())
