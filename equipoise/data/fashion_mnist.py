"""Fashion-MNIST: 70,000 pieces of clothing in ten classes, in the form of MNIST.

Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747; Zalando SE, MIT licence.
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

__all__ = ["FashionMNIST"]

CLASSES = (*("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),)
SOURCE = _idx.Source(
    "fashion_mnist",
    folders=("fashion_mnist", "FashionMNIST/raw"),
    mirrors=(
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    md5={
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    },
)
"""The digests are those of torchvision 0.29, datasets/mnist.py, which lays the files into FashionMNIST/raw."""


@dataclass(frozen=True, slots=True)
class FashionMNIST:
    """Pieces of clothing, light on black: (1, S, S) float32 in [-1, 1], labels 0 to 9.

    60,000 to train on; the 10,000 of the published test set are held out. At 32 pixels a side they are the original 28
    with two black ones around, at other sizes that resampled. Raises SettingError for a size that is not offered.
    """

    root: str = "data"
    """folder that holds, or gets, fashion_mnist/train-images-idx3-ubyte.gz and its like, packed or not"""
    image_size: int = 32
    """pixels a side: 16, 32 or 64"""
    published: bool = True
    """take the published files only, by their MD5, unpacked by their number of images; false for others of that form"""

    def __post_init__(self) -> None:
        _idx.check_size("fashion_mnist", self.image_size)

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
        """Grey images of ten classes; a mirrored coat is one, but shoes all point to the left."""
        return DataSpec((1, self.image_size, self.image_size), classes=_idx.CLASSES, flips=False, class_names=CLASSES)

    @property
    def suggestion(self) -> Suggestion:
        """Some minutes on one core; the longer, the better."""
        return Suggestion(model="dcgan", steps=3000, batch_size=64, controller="annealed")

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
