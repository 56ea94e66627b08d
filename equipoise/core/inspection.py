"""What is known of every image of a data set before training, as a data set reports it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from equipoise.core.image_sizes import ImageSides


@dataclass(frozen=True, slots=True)
class InspectedImage:
    """One image. `path`: in the folder or file. `kind`: its extension, or "" for an item of an array or table.

    `bytes`: size of the file. `width`, `height`: in pixels, upright, 0 if unknown. `is_deep`: whether it has more than
    8 bits a channel. `split`: train, valid, test or "". `label`: or "". `content`: the same for images of equal pixels.
    `group`: the same for images that are nearly identical.
    """

    path: str
    kind: str
    bytes: int
    width: int
    height: int
    is_deep: bool
    split: str
    label: str
    content: str
    group: str


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """All images of a data set, every split included.

    `images`: those that can be decoded. `pixels`: returns some of them, by their places in `images`, as (B, C, H, W)
    float32 in [-1, 1]; C is 3, or 4 with transparency. `sides`: H and W, as of training. `fit`: handling of images of
    another shape. `damaged`, `left_out`: path -> reason of files that cannot be decoded, and of other files. `notes`:
    for the user.
    """

    images: Sequence[InspectedImage]
    pixels: Callable[[Sequence[int]], Tensor]
    sides: ImageSides
    fit: str
    damaged: Mapping[str, str]
    left_out: Mapping[str, str]
    notes: tuple[str, ...]


@runtime_checkable
class InspectableData(Protocol):
    """A data set that can list its images."""

    def inspect(self) -> Inspection:
        """Decode all images, and return what is known of them."""
