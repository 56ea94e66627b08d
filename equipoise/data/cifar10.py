"""CIFAR-10: 60,000 small photographs in ten classes.

Alex Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images"; no licence is stated. The binary version
is read, from a local copy or downloaded on first use, never the pickled one: see docs/reference/data.md.
"""

import dataclasses
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from equipoise.core.data import DataSpec, Preparation, Split, Suggestion
from equipoise.data import _download
from equipoise.data._arrays import ImageStream, group_by_class, resize_images
from equipoise.data._download import REMEDY, PublishedFile
from equipoise.errors import DataError, SettingError

__all__ = ["CIFAR10"]

ARCHIVE = PublishedFile(
    "cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    urls=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
)
"""URL and digest as on https://www.cs.toronto.edu/~kriz/cifar.html."""
UNPACKED = "cifar-10-batches-bin"
FILES: dict[Split, tuple[str, ...]] = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "held_out": ("test_batch.bin",),
}
IMAGES_PER_FILE = 10_000
"""Images in each published file."""
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE
"""Bytes of an image: its label, then red, green and blue, row by row (cifar.html, "Binary version")."""
SIZES = (16, 32)


@dataclass(frozen=True, slots=True)
class CIFAR10:
    """Photographs of animals and vehicles: (3, S, S) float32 in [-1, 1], labels 0 to 9.

    50,000 images for training; the published test set of 10,000 is held out. The original has 32 pixels a side; images
    of 16 are resampled. Raises SettingError for an unsupported size.
    """

    root: str = "data"
    """folder that contains, or receives, cifar10/cifar-10-binary.tar.gz; or that contains cifar-10-batches-bin"""
    image_size: int = 32
    """pixels a side: 16 or 32"""
    published: bool = True
    """whether the published files are required, checked by MD5 (archive) or number of images; false for other files"""
    balance: bool = False
    """whether all classes are drawn equally often in training, also rare ones"""

    def __post_init__(self) -> None:
        if self.image_size not in SIZES:
            raise SettingError(f"image_size = {self.image_size} is not supported by 'cifar10'; use 16 or 32")

    def prepare(self) -> Iterator[Preparation]:
        """Download missing files. Raises DataError with instructions if that fails."""
        root = Path(self.root).expanduser().resolve()
        if _local(root) is None:
            yield from _download.download([ARCHIVE], root / "cifar10")

    def resolve(self) -> Self:
        """Return the data set with a full path, after downloading and checking its files."""
        result = dataclasses.replace(self, root=str(Path(self.root).expanduser().resolve()))
        for split in FILES:
            result._part(split)
        return result

    @property
    def spec(self) -> DataSpec:
        """Colour images of ten classes; mirrored images are valid."""
        size = self.image_size
        return DataSpec((3, size, size), classes=len(CLASSES), flips=True, class_names=CLASSES)

    @property
    def suggestion(self) -> Suggestion:
        """Settings for a first result within an hour on one core; good results need a GPU."""
        return Suggestion(model="dcgan", steps=10_000, batch_size=64, controller="learnable:suite")

    def count(self, split: Split) -> int:
        """Return 50,000 for training, 10,000 held out; for other files, their number of images."""
        return IMAGES_PER_FILE * len(FILES[split]) if self.published else len(self._part(split)[1])

    def stream(self, split: Split, batch_size: int, seed: int) -> ImageStream:
        """Return endless shuffled batches of a split, downloaded first if necessary.

        Raises DataError if the split is smaller than a batch, or if a file is damaged or cannot be downloaded.
        """
        images, labels = self._part(split)
        classes = group_by_class(labels, self.balance)
        return ImageStream(images, labels, batch_size, seed, split, classes=classes)

    def _part(self, split: Split) -> tuple[Tensor, Tensor]:
        for _ in self.prepare():
            pass
        if (local := _local(Path(self.root).expanduser().resolve())) is None:
            raise DataError(f"{self.root} was changed while it was read; run the command again")
        return _arrays(local, split, self.image_size, self.published)


class LocalArchive(NamedTuple):
    """A local copy, the archive or the unpacked folder, identified by time and size."""

    path: Path
    modified: int
    size: int


def _local(root: Path) -> LocalArchive | None:
    """Return the first local copy that exists, or None."""
    archives = [folder / ARCHIVE.name for folder in (root / "cifar10", root)]
    folders = [folder / UNPACKED for folder in (root / "cifar10", root)]
    path = _download.first_existing(archives) or next((folder for folder in folders if folder.is_dir()), None)
    return None if path is None else LocalArchive(path, path.stat().st_mtime_ns, path.stat().st_size)


@lru_cache(maxsize=4)
def _arrays(local: LocalArchive, split: Split, size: int, published: bool) -> tuple[Tensor, Tensor]:
    """Return the images of a split, (N, 3, size, size) uint8, and labels, (N,) int64. Cached; do not modify."""
    if published and local.path.is_file():
        _download.check_file(local.path, ARCHIVE.md5)
    contents = (_read_archive if local.path.is_file() else _read_folder)(local.path, FILES[split])
    parts = [
        parse_records(f"{name} of {local.path}", content) for name, content in zip(FILES[split], contents, strict=True)
    ]
    for name, (_, labels) in zip(FILES[split], parts, strict=True):
        if published and len(labels) != IMAGES_PER_FILE:
            raise DataError(
                f"{name} of {local.path} contains {len(labels):,} images, not {IMAGES_PER_FILE:,}; {REMEDY}"
            )
    images, labels = (torch.cat(arrays) for arrays in zip(*parts, strict=True))
    return resize_images(images, size), labels


def _read_folder(folder: Path, names: tuple[str, ...]) -> list[bytes]:
    """Read the files of a folder. Raises DataError if one is missing."""
    return [_download.read_file(folder / name, None) for name in names]


def _read_archive(archive: Path, names: tuple[str, ...]) -> list[bytes]:
    """Read files from any folder of the archive. Raises DataError if it is damaged, or a file is missing."""
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as archived:
            for member in archived:
                name = member.name.rpartition("/")[2]
                if name in names and (file := archived.extractfile(member)) is not None:
                    contents[name] = file.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{archive} is damaged: it cannot be unpacked; {REMEDY}") from error
    if missing := [name for name in names if name not in contents]:
        raise DataError(f"{archive} lacks {missing[0]}; {REMEDY}")
    return [contents[name] for name in names]


def parse_records(name: str, content: bytes) -> tuple[Tensor, Tensor]:
    """Parse a binary file to images (N, 3, 32, 32) uint8 and labels (N,) int64. Raises DataError if it is invalid."""
    if not content or len(content) % RECORD:
        raise DataError(f"{name} is truncated: {len(content):,} bytes are not a multiple of {RECORD:,}; {REMEDY}")
    rows = torch.from_numpy(np.frombuffer(content, np.uint8).reshape(-1, RECORD).copy())
    if rows[:, 0].max() >= len(CLASSES):
        raise DataError(f"{name} is not CIFAR-10: it has labels above 9; {REMEDY}")
    return rows[:, 1:].reshape(-1, 3, SIDE, SIDE), rows[:, 0].long()
