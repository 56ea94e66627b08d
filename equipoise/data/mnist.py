"""MNIST: 70,000 handwritten digits in ten classes.

By Yann LeCun, Corinna Cortes and Christopher J. C. Burges; its licence is commonly stated as CC BY-SA 3.0.
Read from a local copy, or downloaded on first use: see docs/reference/data.md.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from equipoise.core.data import DataSpec, Preparation, Split, Suggestion
from equipoise.data import _idx
from equipoise.data._arrays import Shuffled

__all__ = ["MNIST"]

SOURCE = _idx.Source(
    "mnist",
    folders=("mnist", "MNIST/raw"),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    md5={
        "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
    },
)
"""The digests are those of torchvision 0.29, datasets/mnist.py, which lays the files into MNIST/raw."""


@dataclass(frozen=True, slots=True)
class MNIST:
    """Handwritten digits, white on black: (1, S, S) float32 in [-1, 1], labels 0 to 9.

    60,000 to train on; the 10,000 of the published test set are held out. At 32 pixels a side they are the original 28
    with two black ones around, at other sizes that resampled. Raises SettingError for a size that is not offered.
    """

    root: str = "data"
    """folder that holds, or gets, mnist/train-images-idx3-ubyte.gz and its like, packed or not"""
    image_size: int = 32
    """pixels a side: 16, 32 or 64"""
    published: bool = True
    """take the published files only, by their MD5, unpacked by their number of images; false for others of that form"""

    def __post_init__(self) -> None:
        _idx.check_size("mnist", self.image_size)

    def prepare(self) -> Iterator[Preparation]:
        """Download what is not there. Raises DataError, telling what to put where, if that fails."""
        return _idx.prepare(SOURCE, self.root)

    def resolve(self) -> Self:
        """The same with a full path, downloaded and checked."""
        result = dataclasses.replace(self, root=str(Path(self.root).expanduser().resolve()))
        for split in _idx.COUNTS:
            _idx.split_of(SOURCE, result.root, split, result.image_size, result.published)
        return result

    @property
    def spec(self) -> DataSpec:
        """Grey images of ten classes; a mirrored digit is none."""
        return DataSpec((1, self.image_size, self.image_size), classes=_idx.CLASSES, flips=False)

    @property
    def suggestion(self) -> Suggestion:
        """Some minutes on one core; the longer, the better."""
        return Suggestion(model="dcgan", steps=3000, batch_size=64, metric="kd_digits", controller="annealed")

    def count(self, split: Split) -> int:
        """60,000 to train on, 10,000 held out; of other files as many as there are."""
        if self.published:
            return _idx.COUNTS[split]
        return len(_idx.split_of(SOURCE, self.root, split, self.image_size, self.published)[1])

    def stream(self, split: Split, batch_size: int, seed: int) -> Shuffled:
        """Endless shuffled batches of a split, downloaded first if need be.

        Raises DataError if the split is smaller than a batch, or if a file is damaged or cannot be downloaded.
        """
        images, labels = _idx.split_of(SOURCE, self.root, split, self.image_size, self.published)
        return Shuffled(images, labels, batch_size, seed, split)
