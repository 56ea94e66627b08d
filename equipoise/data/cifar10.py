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
from equipoise.data._arrays import Shuffled, resized
from equipoise.data._download import ANEW, Published
from equipoise.errors import DataError, SettingError

__all__ = ["CIFAR10"]

ARCHIVE = Published(
    "cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    urls=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
)
"""Address and digest as on https://www.cs.toronto.edu/~kriz/cifar.html."""
UNPACKED = "cifar-10-batches-bin"
FILES: dict[Split, tuple[str, ...]] = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "held_out": ("test_batch.bin",),
}
EACH = 10_000
"""Images in each published file."""
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE
"""Bytes of an image: its label, then red, green and blue, row by row (cifar.html, "Binary version")."""
SIZES = (16, 32)


@dataclass(frozen=True, slots=True)
class CIFAR10:
    """Photographs of animals and vehicles: (3, S, S) float32 in [-1, 1], labels 0 to 9.

    50,000 to train on; the 10,000 of the published test set are held out. 32 pixels a side are the original, 16 are
    resampled. Raises SettingError for a size that is not offered.
    """

    root: str = "data"
    """folder that holds, or gets, cifar10/cifar-10-binary.tar.gz; or that holds cifar-10-batches-bin"""
    image_size: int = 32
    """pixels a side: 16 or 32"""
    published: bool = True
    """take the published files only, by MD5, unpacked by their number of images; false for others of that form"""

    def __post_init__(self) -> None:
        if self.image_size not in SIZES:
            raise SettingError(f"image_size = {self.image_size} is not offered by 'cifar10'; use 16 or 32")

    def prepare(self) -> Iterator[Preparation]:
        """Download what is not there. Raises DataError, telling what to put where, if that fails."""
        root = Path(self.root).expanduser().resolve()
        if _local(root) is None:
            yield from _download.fetch([ARCHIVE], root / "cifar10")

    def resolve(self) -> Self:
        """The same with a full path, downloaded and checked."""
        result = dataclasses.replace(self, root=str(Path(self.root).expanduser().resolve()))
        for split in FILES:
            result._part(split)
        return result

    @property
    def spec(self) -> DataSpec:
        """Colour images of ten classes; a mirrored animal or vehicle is one."""
        size = self.image_size
        return DataSpec((3, size, size), classes=len(CLASSES), flips=True, class_names=CLASSES)

    @property
    def suggestion(self) -> Suggestion:
        """A first result within an hour on one core; good ones take a GPU."""
        return Suggestion(model="dcgan", steps=10_000, batch_size=64, controller="annealed")

    def count(self, split: Split) -> int:
        """50,000 to train on, 10,000 held out; of other files as many as there are."""
        return EACH * len(FILES[split]) if self.published else len(self._part(split)[1])

    def stream(self, split: Split, batch_size: int, seed: int) -> Shuffled:
        """Endless shuffled batches of a split, downloaded first if need be.

        Raises DataError if the split is smaller than a batch, or if a file is damaged or cannot be downloaded.
        """
        return Shuffled(*self._part(split), batch_size, seed, split)

    def _part(self, split: Split) -> tuple[Tensor, Tensor]:
        for _ in self.prepare():
            pass
        if (local := _local(Path(self.root).expanduser().resolve())) is None:
            raise DataError(f"{self.root} was changed while it was read; start again")
        return _arrays(local, split, self.image_size, self.published)


class Local(NamedTuple):
    """A local copy, the archive or the folder that is packed in it, told from a later one by time and size."""

    path: Path
    modified: int
    size: int


def _local(root: Path) -> Local | None:
    """The first copy that is there."""
    archives = [folder / ARCHIVE.name for folder in (root / "cifar10", root)]
    folders = [folder / UNPACKED for folder in (root / "cifar10", root)]
    path = _download.result(archives) or next((folder for folder in folders if folder.is_dir()), None)
    return None if path is None else Local(path, path.stat().st_mtime_ns, path.stat().st_size)


@lru_cache(maxsize=4)
def _arrays(local: Local, split: Split, size: int, published: bool) -> tuple[Tensor, Tensor]:
    """The images of a split, (N, 3, size, size) uint8, and their labels, (N,) int64. Cached, not to be changed."""
    if published and local.path.is_file():
        _download.check_file(local.path, ARCHIVE.md5)
    contents = (_unpacked if local.path.is_file() else _read)(local.path, FILES[split])
    parts = [records(f"{name} of {local.path}", content) for name, content in zip(FILES[split], contents, strict=True)]
    for name, (_, labels) in zip(FILES[split], parts, strict=True):
        if published and len(labels) != EACH:
            raise DataError(f"{name} of {local.path} holds {len(labels):,} images, not {EACH:,}; {ANEW}")
    images, labels = (torch.cat(arrays) for arrays in zip(*parts, strict=True))
    return resized(images, size), labels


def _read(folder: Path, names: tuple[str, ...]) -> list[bytes]:
    """The files of a folder. Raises DataError if one is not there."""
    return [_download.content(folder / name, None) for name in names]


def _unpacked(archive: Path, names: tuple[str, ...]) -> list[bytes]:
    """The files of the archive, wherever they lie in it. Raises DataError if it is damaged, or one is not there."""
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as opened:
            for member in opened:
                name = member.name.rpartition("/")[2]
                if name in names and (file := opened.extractfile(member)) is not None:
                    contents[name] = file.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{archive} is damaged: it cannot be unpacked; {ANEW}") from error
    if missing := [name for name in names if name not in contents]:
        raise DataError(f"there is no {missing[0]} in {archive}; {ANEW}")
    return [contents[name] for name in names]


def records(name: str, content: bytes) -> tuple[Tensor, Tensor]:
    """A binary file as images (N, 3, 32, 32) uint8 and labels (N,) int64. Raises DataError if it is cut or another."""
    if not content or len(content) % RECORD:
        raise DataError(f"{name} is cut short: {len(content):,} bytes are not images of {RECORD:,}; {ANEW}")
    rows = torch.from_numpy(np.frombuffer(content, np.uint8).reshape(-1, RECORD).copy())
    if rows[:, 0].max() >= len(CLASSES):
        raise DataError(f"{name} is no CIFAR-10: it has labels above 9; {ANEW}")
    return rows[:, 1:].reshape(-1, 3, SIDE, SIDE), rows[:, 0].long()
