"""Sizes of images that networks reach from a small map by doubling, and the message for all others."""

from typing import NamedTuple

from equipoise.core.data import DataSpec
from equipoise.core.image_sizes import ImageSides
from equipoise.errors import SettingError

START = 4
"""Shorter side of the smallest map: 4 to 7."""


class ImagePyramid(NamedTuple):
    """Sides of the maps of a network. `start`: height and width of the smallest. `doublings`: up to the image."""

    start: tuple[int, int]
    doublings: int

    def sides(self, level: int) -> tuple[int, int]:
        """Return height and width after `level` doublings."""
        return self.start[0] << level, self.start[1] << level


def image_pyramid(
    name: str, spec: DataSpec, *, smallest: int = 4, largest: int = 1024, channels: tuple[int, ...] = (1, 2, 3, 4)
) -> ImagePyramid:
    """Return the maps of a network for images like `spec`.

    Both sides must be START 2^n, or another multiple of 2^n with a shorter side below 2 START 2^n: 28 is 7 x 4, 48 is
    6 x 8. Raises SettingError for other data, with the nearest size that is possible.
    """
    if not spec.is_image:
        kind, alternative = "sentences", "seqgan"
        if spec.vocabulary is None:
            kind, alternative = ("sequences", "dcgan") if spec.is_sequence else ("points", "mlp")
        raise SettingError(f"{name} generates images, not {kind}; use --model {alternative} for this data")
    sides = ImageSides(*spec.shape[1:])
    nearest = _nearest(sides, smallest, largest)
    remedy = f"use --image-size {nearest.setting}"
    if not smallest <= min(sides) <= max(sides) <= largest:
        raise SettingError(
            f"{name} generates images of {smallest} to {largest} pixels a side, not {sides.text}; {remedy}"
        )
    if nearest != sides:
        raise SettingError(
            f"{name} doubles a map of {START} to {2 * START - 1} pixels up to the image, which does not give "
            f"{sides.text} pixels; {remedy}"
        )
    if spec.shape[0] not in channels:
        raise SettingError(
            f"{name} generates images of {channels[0]} to {channels[-1]} channels, not {spec.shape[0]}; "
            "use --option data.channels=3"
        )
    doublings = _doublings(sides)
    return ImagePyramid((sides.height >> doublings, sides.width >> doublings), doublings)


def _doublings(sides: ImageSides) -> int:
    return (min(sides) // START).bit_length() - 1


def _nearest(sides: ImageSides, smallest: int, largest: int) -> ImageSides:
    """Return the nearest sides that doubling can reach, each within the range."""
    result = ImageSides(*(min(max(side, smallest), largest) for side in sides))
    while True:
        step = 1 << _doublings(result)
        rounded = ImageSides(*((side + step // 2) // step * step for side in result))
        if rounded == result:
            return result
        result = rounded
