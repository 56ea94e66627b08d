"""The shipped digits as arrays, for the data sets made of them."""

import hashlib
import io
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.core.data import Split
from equipoise.data._arrays import resized
from equipoise.errors import DataError

FILE = Path(__file__).with_name("digits.npz")
DIGEST = "795d518aa7b9efbb77e64c428faa4f349e695baae039b640a453e19d5fc7df31"
COUNTS: dict[Split, int] = {"train": 4000, "held_out": 1000}
SIZES = (16, 32, 64, 128)


def part(size: int, split: Split) -> tuple[Tensor, Tensor]:
    """The images of a split, (N, 1, size, size) uint8, and their labels, (N,) int64. Not to be changed.

    Raises DataError if the shipped file is missing or damaged.
    """
    images, labels = _digits(size)
    border = COUNTS["train"]
    rows = slice(None, border) if split == "train" else slice(border, None)
    return images[rows], labels[rows]


@lru_cache(maxsize=len(SIZES))
def _digits(size: int) -> tuple[Tensor, Tensor]:
    """All images, (5000, 1, size, size) uint8, and their labels, (5000,) int64. Cached, not to be changed."""
    images, labels = read(FILE)
    return resized(F.pad(images, (2, 2, 2, 2)), size), labels


def read(file: Path) -> tuple[Tensor, Tensor]:
    """Images (5000, 1, 28, 28) uint8 and labels (5000,) int64. Raises DataError if the file is not the shipped one."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}; install equipoise again") from error
    if hashlib.sha256(content).hexdigest() != DIGEST:
        raise DataError(f"{file} is damaged: its SHA-256 is not the published one; install equipoise again")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return torch.from_numpy(arrays["images"]).unsqueeze(1), torch.from_numpy(arrays["labels"]).long()
