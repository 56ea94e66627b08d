"""Arrays of the digits shipped with the package, for the data sets that use them."""

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.core.data import Split
from equipoise.core.digests import read_shipped
from equipoise.data._arrays import resize_images

FILE = Path(__file__).with_name("digits.npz")
DIGEST = "795d518aa7b9efbb77e64c428faa4f349e695baae039b640a453e19d5fc7df31"
COUNTS: dict[Split, int] = {"train": 4000, "held_out": 1000}
SIZES = (16, 32, 64, 128)


def split_arrays(size: int, split: Split) -> tuple[Tensor, Tensor]:
    """Return the images of a split, (N, 1, size, size) uint8, and their labels, (N,) int64. Do not modify.

    Raises DataError if the shipped file is missing or damaged.
    """
    images, labels = _digits(size)
    first_held_out = COUNTS["train"]
    rows = slice(None, first_held_out) if split == "train" else slice(first_held_out, None)
    return images[rows], labels[rows]


@lru_cache(maxsize=len(SIZES))
def _digits(size: int) -> tuple[Tensor, Tensor]:
    """Return all images, (5000, 1, size, size) uint8, and their labels, (5000,) int64. Cached; do not modify."""
    images, labels = read_digits(FILE)
    return resize_images(F.pad(images, (2, 2, 2, 2)), size), labels


def read_digits(file: Path) -> tuple[Tensor, Tensor]:
    """Return images (5000, 1, 28, 28) uint8 and labels (5000,) int64. Raises DataError if the file is damaged."""
    content = read_shipped(file, DIGEST)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return torch.from_numpy(arrays["images"]).unsqueeze(1), torch.from_numpy(arrays["labels"]).long()
