"""Fashion-MNIST: 70,000 images of clothing in ten classes, in the format of MNIST.

Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747; Zalando SE, MIT licence. Read from a local copy, or downloaded on first
use: see docs/reference/data.md.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from equipoise.core.data import DataSpec, Preparation, Split, Suggestion
from equipoise.data import _idx
from equipoise.data._arrays import ImageStream, group_by_class

__all__ = ["FashionMNIST"]

CLASSES = (*("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),)
SOURCE = _idx.IdxSource(
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
"""Digests as in torchvision 0.29, datasets/mnist.py, which stores the files in FashionMNIST/raw."""


@dataclass(frozen=True, slots=True)
class FashionMNIST:
    """Clothing, light on black: (1, S, S) float32 in [-1, 1], labels 0 to 9.

    60,000 images for training; the published test set of 10,000 is held out. At 32 pixels a side, images are the
    original 28 pixels with a border of two black pixels; other sizes are resampled. Raises SettingError for an
    unsupported size.
    """

    root: str = "data"
    """folder that contains, or receives, fashion_mnist/train-images-idx3-ubyte.gz and the others, packed or unpacked"""
    image_size: int = 32
    """pixels a side: 16, 32 or 64"""
    published: bool = True
    """whether the published files are required, checked by MD5 (archives) or number of images; false for other files"""
    balance: bool = False
    """whether all classes are drawn equally often in training, also rare ones"""

    def __post_init__(self) -> None:
        _idx.check_size("fashion_mnist", self.image_size)

    def prepare(self) -> Iterator[Preparation]:
        """Download missing files. Raises DataError with instructions if that fails."""
        return _idx.prepare(SOURCE, self.root)

    def resolve(self) -> Self:
        """Return the data set with a full path, after downloading and checking its files."""
        result = dataclasses.replace(self, root=str(Path(self.root).expanduser().resolve()))
        for split in _idx.COUNTS:
            _idx.load_split(SOURCE, result.root, split, result.image_size, result.published)
        return result

    @property
    def spec(self) -> DataSpec:
        """Grey images of ten classes; mirror images are not valid, because all shoes point to the left."""
        return DataSpec((1, self.image_size, self.image_size), classes=_idx.CLASSES, flips=False, class_names=CLASSES)

    @property
    def suggestion(self) -> Suggestion:
        """Settings for a run of minutes on one core; longer runs improve the result."""
        return Suggestion(model="dcgan", steps=3000, batch_size=64, controller="learnable:suite")

    def count(self, split: Split) -> int:
        """Return 60,000 for training, 10,000 held out; for other files, their number of images."""
        if self.published:
            return _idx.COUNTS[split]
        return len(_idx.load_split(SOURCE, self.root, split, self.image_size, self.published)[1])

    def stream(self, split: Split, batch_size: int, seed: int) -> ImageStream:
        """Return endless shuffled batches of a split, downloaded first if necessary.

        Raises DataError if the split is smaller than a batch, or if a file is damaged or cannot be downloaded.
        """
        images, labels = _idx.load_split(SOURCE, self.root, split, self.image_size, self.published)
        classes = group_by_class(labels, self.balance)
        return ImageStream(images, labels, batch_size, seed, split, classes=classes)
