"""Sizes of images from their headers, and the size at which a data set is decoded by default."""

import io
import statistics
from collections.abc import Sequence
from typing import BinaryIO

from PIL import Image

from equipoise.data._files.sources import Source
from equipoise.data._images.formats import ROTATED, open_image, orientation
from equipoise.data._images.pixel_values import detect_layout, is_array, read_array_header, strip_axes

SIZES = (16, 32, 64, 128)
MAX_DEFAULT_SIZE = 64
"""Largest default size: larger images take hours on a CPU."""
SIZE_SAMPLE = 256
"""Number of headers that are read to determine the default size."""


def default_size(source: Source) -> int:
    """Return the largest default size that the median of the shorter sides reaches, with tolerance 1/8."""
    return choose_size(_sample_sizes(source))


def choose_size(sizes: Sequence[tuple[int, int]]) -> int:
    """Return the largest default size that the median of the shorter sides reaches, with tolerance 1/8."""
    sides = [min(size) for size in sizes]
    middle = statistics.median(sides) if sides else MAX_DEFAULT_SIZE
    return max((size for size in SIZES if size <= min(MAX_DEFAULT_SIZE, middle * 8 / 7)), default=SIZES[0])


def own_size(source: Source) -> int:
    """Return the side of the images in pixels if they are squares of one size, otherwise the default size."""
    sizes = set(_sample_sizes(source))
    if len(sizes) == 1:
        width, height = sizes.pop()
        if width == height:
            return width
    return default_size(source)


def _sample_sizes(source: Source) -> list[tuple[int, int]]:
    """Read width and height of images spread over the source, at most SIZE_SAMPLE of them, from their headers."""
    files = source.files
    step = max(1, len(files) // SIZE_SAMPLE)
    return [size for file in files[::step][:SIZE_SAMPLE] if (size := read_size(source, file.path))]


def read_size(source: Source, path: str) -> tuple[int, int] | None:
    """Return width and height of an image in pixels, upright, from its header; None if it cannot be read."""
    try:
        with source.open(path) as file:
            return _read_header(file)
    except Exception:  # Decoding reports the reason.
        return None


def content_size(content: bytes) -> tuple[int, int] | None:
    """Return width and height of an image file in pixels, upright; None if it is damaged."""
    try:
        return _read_header(io.BytesIO(content))
    except Exception:
        return None


def _read_header(file: BinaryIO) -> tuple[int, int]:
    start = file.read(8)
    file.seek(0)
    if is_array(start):
        return _array_size(read_array_header(file).shape)
    picture = open_image(file)
    is_rotated = orientation(picture, Image.Image.getexif) in ROTATED
    return picture.size[::-1] if is_rotated else picture.size


def _array_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return width and height of an image in an array."""
    inner = strip_axes(shape)
    height, width = inner[1:] if detect_layout(inner) == "NCHW" else inner[:2]
    return width, height
