"""Sizes of images as users give them: 64 for 64 x 64 pixels, 64x96 for 64 pixels wide and 96 high."""

import re
from typing import NamedTuple

from equipoise.errors import SettingError

MIN_SIDE, MAX_SIDE = 1, 1024
"""Range of a side in pixels."""


class ImageSides(NamedTuple):
    """Height and width of an image in pixels, in the order of a shape."""

    height: int
    width: int

    @property
    def setting(self) -> int | str:
        """The value of `image_size` that gives these sides: 64, or "64x96" (width x height)."""
        return self.height if self.height == self.width else f"{self.width}x{self.height}"

    @property
    def text(self) -> str:
        """The sides for a message, width first: "64 x 96"."""
        return f"{self.width} x {self.height}"


def parse_image_size(value: int | str) -> ImageSides:
    """Return the sides of an image: 64 and "64" are squares, "64x96" is 64 pixels wide and 96 high.

    Raises SettingError for another form, and for a side outside of 1 to 1,024.
    """
    match = re.fullmatch(r"\s*(\d{1,9})(?:\s*[x×]\s*(\d{1,9}))?\s*", str(value), re.I)
    if match is None:
        if re.fullmatch(r"-?\d+", str(value).strip()):
            raise SettingError(f"image_size = {value}: it must be from {MIN_SIDE} to {MAX_SIDE}")
        raise SettingError(f"image_size = {value!r}: it must be a number of pixels, or width x height, such as 64x96")
    width, height = int(match[1]), int(match[2] or match[1])
    if not (MIN_SIDE <= width <= MAX_SIDE and MIN_SIDE <= height <= MAX_SIDE):
        raise SettingError(f"image_size = {value}: it must be from {MIN_SIDE} to {MAX_SIDE}")
    return ImageSides(height, width)
