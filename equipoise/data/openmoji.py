"""2,164 emoji in colour, each with its outline drawing, in eleven groups, shipped with the package.

OpenMoji 17.0.0, the open-source emoji and icon project, https://openmoji.org, CC BY-SA 4.0: see OPENMOJI-LICENSE.txt
next to this file. `scripts/build_openmoji.py` rebuilds the images and documents which emoji are excluded and why.
"""

import io
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from equipoise.core.captions import Captions, split_words
from equipoise.core.data import DataSpec, NoPreparation, Split, Stream, Suggestion
from equipoise.core.digests import read_shipped
from equipoise.data._arrays import check_training_images, group_by_class, resize_images
from equipoise.data._emoji_captions import EmojiCaptions, emoji_captions
from equipoise.data._pairs import ImageRows, PairedStream, UnpairedStream
from equipoise.errors import SettingError

__all__ = ["OpenMoji"]

FILE = Path(__file__).with_name("openmoji.npz")
DIGEST = "fdbeaa3aff869dd56f5f9e71199d4ffc1324a873907c6a6de7cd76f6083fde92"
COUNTS: dict[Split, int] = {"train": 1952, "held_out": 212}
CAPTIONED: dict[Split, int] = {"train": 1567, "held_out": 130}
"""Numbers of emoji with a caption."""
SIZES = (16, 32, 64)
GROUPS = (
    *("activities", "animals-nature", "component", "extras-openmoji", "extras-unicode", "food-drink", "objects"),
    *("people-body", "smileys-emotion", "symbols", "travel-places"),
)


@dataclass(frozen=True, slots=True)
class OpenMoji(NoPreparation):
    """Emoji on white: colour (3, S, S) and outline (1, S, S), float32 in [-1, 1]; the label is the group of the emoji.

    Images are rendered at 64 pixels a side; smaller sizes are resampled from these. A tenth is held out, by a hash of
    the emoji's code; nearly identical emoji, such as man and woman of one profession, are in the same split. Raises
    SettingError for an unsupported size, or for more images than exist.
    """

    image_size: int = 32
    """pixels a side: 16, 32 or 64"""
    training_images: int | None = None
    """number of training images, evenly spread over the groups, equal for all seeds; default: all 1,952"""
    paired: bool = True
    """whether training outlines are paired with their emoji; held-out outlines always are"""
    balance: bool = False
    """whether all classes are drawn equally often in training, also rare ones"""
    captions: bool = False
    """whether emoji have captions, their Unicode names, instead of groups; 1,567 of 1,952 for training have one"""

    def __post_init__(self) -> None:
        if self.image_size not in SIZES:
            raise SettingError(f"image_size = {self.image_size} is not supported by 'openmoji'; use 16, 32 or 64")
        check_training_images(self.training_images, self._counts["train"])

    @property
    def spec(self) -> DataSpec:
        """Colour images of eleven groups, each with its outline; letters, clocks and arrows cannot be mirrored."""
        size = self.image_size
        return DataSpec(
            (3, size, size),
            classes=0 if self.captions else len(GROUPS),
            flips=False,
            class_names=() if self.captions else GROUPS,
            source=(1, size, size),
            paired=("train", "held_out") if self.paired else ("held_out",),
            captions=self._trained_captions() if self.captions else None,
        )

    @property
    def suggestion(self) -> Suggestion:
        """Settings for a run of minutes on one core at 32 pixels."""
        return Suggestion("dcgan", 3000, 64, metric="kd_efficientnet_lite0", controller="learnable:suite")

    def count(self, split: Split) -> int:
        """Return 1,952 for training, or `training_images`; 212 held out. Fewer with captions."""
        return self._counts[split] if split == "held_out" else self.training_images or self._counts[split]

    def stream(self, split: Split, batch_size: int, seed: int) -> Stream:
        """Return endless shuffled batches of a split: pairs; for training without `paired`, unrelated sets.

        Raises DataError if the split is smaller than a batch, or if the shipped file is missing or damaged.
        """
        emoji = _emoji(self.image_size)
        rows = self._chosen_rows(split)
        stream_type = PairedStream if split in self.spec.paired else UnpairedStream
        colour, outline, labels = ImageRows(emoji.colour, rows), ImageRows(emoji.outline, rows), emoji.labels[rows]
        classes = group_by_class(None if self.captions else labels, self.balance)
        conditions = self._captions().tokens[rows] if self.captions else labels
        return stream_type(colour, outline, conditions, batch_size, seed, split, classes)

    @property
    def _counts(self) -> dict[Split, int]:
        return CAPTIONED if self.captions else COUNTS

    def _rows(self, split: Split) -> Tensor:
        """Return the rows of the emoji of a split, (M,) int64: all, or those with a caption."""
        if self.captions:
            captions = self._captions()
            return captions.train if split == "train" else captions.held_out
        start = 0 if split == "train" else COUNTS["train"]
        return torch.arange(start, start + COUNTS[split])

    def _chosen_rows(self, split: Split) -> Tensor:
        """Return the rows of a split that are used: all, or `training_images` of them, evenly spread."""
        available, count = self._rows(split), self.count(split)
        return available[torch.arange(count) * len(available) // count]

    def _trained_captions(self) -> Captions:
        """Return how captions are written, with the words of the captions that are trained on."""
        own = self._captions()
        if self.training_images is None:
            return own.captions
        words = own.captions.vocabulary.words
        trained = frozenset(words[token] for token in own.tokens[self._chosen_rows("train")].unique().tolist() if token)
        examples = tuple(text for text in own.captions.examples if trained.issuperset(split_words(text)))
        return replace(own.captions, examples=examples or own.captions.examples, trained=trained)

    def _captions(self) -> EmojiCaptions:
        return emoji_captions(_emoji(self.image_size).codes, COUNTS["train"])


class EmojiArrays(NamedTuple):
    """Arrays of emoji: `colour` (N, 3, S, S) and `outline` (N, 1, S, S), uint8; `labels` (N,) int64; `codes`."""

    colour: Tensor
    outline: Tensor
    labels: Tensor
    codes: tuple[str, ...]


@lru_cache(maxsize=len(SIZES))
def _emoji(size: int) -> EmojiArrays:
    """Return all emoji, training emoji first. Cached; do not modify."""
    original = _read(FILE)
    colour, outline = resize_images(original.colour, size), resize_images(original.outline, size)
    return original._replace(colour=colour, outline=outline)


def _read(file: Path) -> EmojiArrays:
    """Read all emoji at 64 pixels. Raises DataError if the file is not the shipped one."""
    content = read_shipped(file, DIGEST)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        colour = torch.from_numpy(arrays["colour"]).permute(0, 3, 1, 2).contiguous()
        outline, labels = torch.from_numpy(arrays["outline"]).unsqueeze(1), torch.from_numpy(arrays["labels"]).long()
        return EmojiArrays(colour, outline, labels, tuple(code.decode() for code in arrays["codes"]))
