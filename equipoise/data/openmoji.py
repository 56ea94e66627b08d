"""2,164 emoji in colour, each with its outline drawing, in eleven groups, shipped with the package.

OpenMoji 17.0.0, the open-source emoji and icon project, https://openmoji.org, CC BY-SA 4.0: see OPENMOJI-LICENSE.txt
beside this file. `scripts/build_openmoji.py` rebuilds the pictures and says which emoji are left out and why.
"""

import hashlib
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from equipoise.core.data import DataSpec, NoPreparation, Split, Stream, Suggestion
from equipoise.data._arrays import check_part, resized
from equipoise.data._pairs import Apart, Images, Pairs
from equipoise.errors import DataError, SettingError

__all__ = ["OpenMoji"]

FILE = Path(__file__).with_name("openmoji.npz")
DIGEST = "fdbeaa3aff869dd56f5f9e71199d4ffc1324a873907c6a6de7cd76f6083fde92"
COUNTS: dict[Split, int] = {"train": 1952, "held_out": 212}
SIZES = (16, 32, 64)
GROUPS = (
    *("activities", "animals-nature", "component", "extras-openmoji", "extras-unicode", "food-drink", "objects"),
    *("people-body", "smileys-emotion", "symbols", "travel-places"),
)


@dataclass(frozen=True, slots=True)
class OpenMoji(NoPreparation):
    """Emoji on white: colour (3, S, S) and outline (1, S, S), float32 in [-1, 1]; the label is the group of the emoji.

    Drawn at 64 pixels a side, smaller ones resampled from that. Held out is a tenth, by a hash of the emoji's code;
    emoji that look nearly alike, such as man and woman of one profession, lie on the same side.
    Raises SettingError for a size that is not offered, or more images than there are.
    """

    image_size: int = 32
    """pixels a side: 16, 32 or 64"""
    training_images: int | None = None
    """so many to train on, evenly spread over the groups, for every seed the same; left out: all 1,952"""
    paired: bool = True
    """whether outlines to train on come with their own emoji, or in an order of their own; those held out always do"""

    def __post_init__(self) -> None:
        if self.image_size not in SIZES:
            raise SettingError(f"image_size = {self.image_size} is not offered by 'openmoji'; use 16, 32 or 64")
        check_part(self.training_images, COUNTS["train"])

    @property
    def spec(self) -> DataSpec:
        """Colour images of eleven groups, each with its outline; letters, clocks and arrows cannot be mirrored."""
        size = self.image_size
        return DataSpec(
            (3, size, size),
            classes=len(GROUPS),
            flips=False,
            class_names=GROUPS,
            source=(1, size, size),
            paired=("train", "held_out") if self.paired else ("held_out",),
        )

    @property
    def suggestion(self) -> Suggestion:
        """Minutes on one core at 32 pixels."""
        return Suggestion(model="dcgan", steps=3000, batch_size=64, controller="annealed")

    def count(self, split: Split) -> int:
        """1,952 to train on, unless fewer are wanted; 212 held out."""
        return COUNTS[split] if split == "held_out" else self.training_images or COUNTS[split]

    def stream(self, split: Split, batch_size: int, seed: int) -> Stream:
        """Endless shuffled batches of a split: pairs, or, to train on, both apart if they are not to be paired.

        Raises DataError if the split is smaller than a batch, or if the shipped file is missing or damaged.
        """
        emoji = _emoji(self.image_size)
        start, count = 0 if split == "train" else COUNTS["train"], self.count(split)
        rows = start + torch.arange(count) * COUNTS[split] // count
        kind = Pairs if split in self.spec.paired else Apart
        return kind(
            Images(emoji.colour, rows), Images(emoji.outline, rows), emoji.labels[rows], batch_size, seed, split
        )


class Emoji(NamedTuple):
    """`colour` (N, 3, S, S) and `outline` (N, 1, S, S), uint8; `labels` (N,) int64."""

    colour: Tensor
    outline: Tensor
    labels: Tensor


@lru_cache(maxsize=len(SIZES))
def _emoji(size: int) -> Emoji:
    """All emoji, those to train on first. Cached, not to be changed."""
    whole = _read(FILE)
    return Emoji(resized(whole.colour, size), resized(whole.outline, size), whole.labels)


def _read(file: Path) -> Emoji:
    """All emoji at 64 pixels. Raises DataError if the file is not the shipped one."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}; install equipoise again") from error
    if hashlib.sha256(content).hexdigest() != DIGEST:
        raise DataError(f"{file} is damaged: its SHA-256 is not the published one; install equipoise again")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        colour = torch.from_numpy(arrays["colour"]).permute(0, 3, 1, 2).contiguous()
        return Emoji(
            colour, torch.from_numpy(arrays["outline"]).unsqueeze(1), torch.from_numpy(arrays["labels"]).long()
        )
