"""Whole images at their own size, decoded one at a time: the inputs of translation."""

from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from equipoise.core.data import Preparation
from equipoise.core.files import ARRAY_ENDINGS, ending
from equipoise.data._arrays import luma
from equipoise.data._files.sources import Source, open_file
from equipoise.data._images.decoding import decode, decode_whole
from equipoise.data._images.formats import ENDINGS
from equipoise.data._images.image_format import RGBA, ImageFormat
from equipoise.data._images.notes import format_notes
from equipoise.data._images.sources import format_left_out, open_images
from equipoise.data._images.value_range import ValueRange, measure_range


class Picture(NamedTuple):
    """An image. `pixels`: (C, H, W) float32 in [-1, 1]. `is_converted`: whether it is a colour image made grey."""

    pixels: Tensor
    is_converted: bool


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """The images of a source, with 1, 3 or 4 `channels`, the fourth one the opacity.

    `form`: how they are decoded; its size is that of squares.

    `notes`: information for the user on the range of the values. `facts`: counts made while reading squares.
    """

    source: Source
    form: ImageFormat
    channels: int
    notes: tuple[str, ...] = ()
    facts: Counter[str] = field(default_factory=Counter)

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the images in the source, sorted."""
        return tuple(file.path for file in self.source.files)

    def read(self, path: str, *, is_square: bool) -> Picture:
        """Decode an image: whole, or as a square as in training.

        Raises OSError for a file that cannot be read, DataError with a short reason for one that cannot be decoded.
        """
        content = self.source.read(path)
        if is_square:
            rows, facts = decode(content, self.form)
            self.facts.update({**facts, "count": 1})
        else:
            rows = decode_whole(content, self.form)
        pixels = torch.from_numpy(np.ascontiguousarray(rows).astype(np.float32))
        if rows.dtype == np.uint8:
            pixels.div_(127.5).sub_(1)
        if self.channels != 1:
            return Picture(pixels, False)
        is_grey = bool((pixels == pixels[:1]).all())
        return Picture(pixels[:1] if is_grey else luma(pixels[None])[0], not is_grey)

    def final_notes(self) -> Iterator[str]:
        """Yield notes on how the squares that were read differ from the files."""
        yield from format_notes(self.facts, self.facts["count"], self.form)


def open_pictures(
    location: Path, cache: Path, form: ImageFormat, options: ValueRange, channels: int
) -> Generator[Preparation, None, Pictures]:
    """Open the images of a folder, archive or array, or one image file, as 1, 3 or 4 `channels`.

    Measures the range of their values if `options` does not set it; see `measure_range`. Yields progress. Raises
    DataError if there is no image.
    """
    form = form._replace(alpha="keep") if channels == RGBA else form
    source = open_file(location) if _is_image_file(location) else open_images(location)
    measured = options
    if options.black is None:
        measured = yield from measure_range(source, cache, options)
    left_out = (format_left_out(source.left_out),) if source.left_out else ()
    return Pictures(source, measured.apply(form), channels, (*source.notes, *left_out, *measured.notes))


def _is_image_file(path: Path) -> bool:
    return path.is_file() and ending(path.name) in ENDINGS and ending(path.name) not in ARRAY_ENDINGS
