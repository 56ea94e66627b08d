"""The range of the values of a set of images that are not all of 8 bits: which value is black, and which is white."""

from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

from equipoise.core.data import Preparation
from equipoise.data._image_files import ImageFormat, Layout
from equipoise.data._sources import Source


class ValueRange(NamedTuple):
    """How the values of a set of images are scaled.

    `black`, `white`: values that become -1 and 1, in the unit of the files; None if every image is of 8 bits and
    neither was set. `layout`: of arrays with channels, None if there are none. `full_scale`: whether images of 8 bits
    keep their own scale of 0 to 255, because the set also has deeper ones. `notes`: information for the user.
    """

    black: float | None = None
    white: float | None = None
    layout: Layout | None = None
    full_scale: bool | None = None
    notes: tuple[str, ...] = ()

    def apply(self, form: ImageFormat) -> ImageFormat:
        """Return the target format with this range."""
        return form._replace(black=self.black, white=self.white, layout=self.layout, full_scale=self.full_scale)


def measure_range(source: Source, cache: Path, options: ValueRange) -> Generator[Preparation, None, ValueRange]:
    """Measure the range of the images of a source that are not of 8 bits; only these are read.

    `options`: what the user set, None for values to be measured. The result is stored in the cache, so that files which
    did not change are not read again. Yields progress.
    """
    return options
    yield
