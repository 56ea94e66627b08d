"""Pixels of more than 8 bits: 16-bit and 32-bit images, floating-point images, and numpy arrays, in their own unit."""

import io
import zipfile
from typing import IO, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from equipoise.core.files import NPY_START
from equipoise.data._files.stored_arrays import ArrayHeader, read_npy_header
from equipoise.data._images.formats import SAMPLE_FORMAT_TAG, check_pixels, describe_channels, open_image, upright
from equipoise.errors import DataError

Layout = Literal["NHWC", "NCHW"]
PixelArray = npt.NDArray[np.number]

NPZ_START = b"PK\x03\x04"
CHANNELS = (1, 3, 4)
"""Numbers of channels: grey, colour, colour and transparency."""
MAX_CHANNELS = 64
"""Largest length of an axis that a message calls channels."""
IMAGE_NAMES = ("image", "images", "img", "picture", "pixels", "data", "x", "array", "arr_0")
"""Names of the array that holds the image, if an .npz file has several."""
PHOTOMETRIC_TAG, WHITE_IS_ZERO = 262, 0
"""TIFF tag PhotometricInterpretation; the value for which larger numbers are darker."""
LOW_BYTE = {"RGB;16B": "RGB;16L", "RGB;16L": "RGB;16B", "RGBA;16B": "RGBA;16L", "RGBA;16L": "RGBA;16B"}
"""Pillow's raw mode of 16-bit colour, of which it keeps the high byte -> the one that gives the low byte.

The two differ in the order of the bytes only, so decoding the same file with both gives all 16 bits.
"""
GREY_ALPHA = "LA;16B"
"""Raw mode of 16-bit grey with transparency: 4 bytes a pixel, which the raw mode RGBA gives unchanged."""


class PixelValues(NamedTuple):
    """Unscaled pixels. `values`: (H, W, C), C of 1 or 3. `alpha`: (H, W) in [0, 1], None if opaque.

    `inverted`: whether smaller values are brighter.
    """

    values: PixelArray
    alpha: npt.NDArray[np.float32] | None = None
    inverted: bool = False


def is_array(start: bytes) -> bool:
    """Return whether a file that starts with these bytes is an .npy or .npz file."""
    return start.startswith((NPY_START, NPZ_START))


def is_deep(picture: ImageFile) -> bool:
    """Return whether an opened image has values of more than 8 bits that can be read in full."""
    return picture.mode.startswith(("I", "F")) or _raw_mode(picture) in (*LOW_BYTE, GREY_ALPHA)


def is_cut(picture: ImageFile) -> bool:
    """Return whether Pillow reads only the high byte of 16-bit values, such as of CMYK, and there is no other way."""
    return not is_deep(picture) and ";16" in _raw_mode(picture)


def read_picture_values(content: bytes) -> PixelValues:
    """Return the values of a deep image, upright. Raises errors of many types for damaged content."""
    picture = open_image(io.BytesIO(content))
    raw_mode = _raw_mode(picture)
    if picture.mode.startswith(("I", "F")):
        inverted = isinstance(picture, TiffImageFile) and picture.tag_v2.get(PHOTOMETRIC_TAG) == WHITE_IS_ZERO
        return PixelValues(_grey_values(picture)[:, :, None], inverted=inverted)
    if raw_mode == GREY_ALPHA:
        _set_raw_mode(picture, "RGBA")
        parts = np.asarray(upright(picture)).astype(np.uint16)
        return split_alpha(parts[:, :, ::2] << 8 | parts[:, :, 1::2])
    low = open_image(io.BytesIO(content))
    _set_raw_mode(low, LOW_BYTE[raw_mode])
    high = np.asarray(upright(picture)).astype(np.uint16)
    return split_alpha(high << 8 | np.asarray(upright(low)))


def split_alpha(values: PixelArray) -> PixelValues:
    """Separate the transparency of (H, W, 2) or (H, W, 4) pixels."""
    if values.shape[2] in (1, 3):
        return PixelValues(values)
    alpha = values[:, :, -1].astype(np.float32)
    full = 2.0 ** (8 * values.dtype.itemsize) - 1 if values.dtype.kind == "u" else max(1.0, float(alpha.max(initial=0)))
    return PixelValues(values[:, :, :-1], np.clip(alpha / np.float32(full), 0, 1))


def _grey_values(picture: ImageFile) -> PixelArray:
    """Return (H, W) values of an image of mode I;16, I or F, unsigned where the file says so."""
    is_unsigned = isinstance(picture, TiffImageFile) and picture.tag_v2.get(SAMPLE_FORMAT_TAG, (1,))[0] == 1
    values: PixelArray = np.asarray(upright(picture))
    if values.dtype.kind == "u":
        return values.astype(np.uint16)
    return values.view(np.uint32) if picture.mode == "I" and is_unsigned else values


def _raw_mode(picture: ImageFile) -> str:
    """Return Pillow's name of the arrangement of the bytes in the file; "" if unknown."""
    if not isinstance(picture, PngImageFile | TiffImageFile) or not picture.tile:
        return ""
    args = picture.tile[0].args
    mode = args[0] if isinstance(args, tuple) and args else args
    if not isinstance(mode, str):
        return ""
    return mode.replace(";16N", ";16L" if np.little_endian else ";16B")


def _set_raw_mode(picture: ImageFile, mode: str) -> None:
    picture.tile = [
        tile._replace(args=(mode, *tile.args[1:]) if isinstance(tile.args, tuple) else mode) for tile in picture.tile
    ]


def read_array(content: bytes, layout: Layout | None) -> PixelArray:
    """Return the image in an .npy or .npz file: (H, W, C), C of 1, 3 or 4.

    Raises DataError with a short reason, and errors of many types for a damaged file.
    """
    stream = io.BytesIO(content)
    if not content.startswith(NPZ_START):
        return to_channels_last(_read_values(stream, read_header(stream), len(content)), layout)
    with zipfile.ZipFile(stream) as archive:
        name, _ = _choose_array(archive)
        with archive.open(name) as member:
            header = read_header(member)
            return to_channels_last(_read_values(member, header, archive.getinfo(name).file_size), layout)


def read_array_header(file: IO[bytes]) -> ArrayHeader:
    """Return type and shape of the image in an .npy or .npz file, without its values. Raises as `read_array` does."""
    start = file.read(len(NPZ_START))
    file.seek(0)
    if start != NPZ_START:
        return read_header(file)
    with zipfile.ZipFile(file) as archive:
        return _choose_array(archive)[1]


def read_header(file: IO[bytes]) -> ArrayHeader:
    """Read the header of an .npy file; the file is then at its first value. Raises DataError for a type of no use."""
    header = read_npy_header(file)
    if header.dtype.kind not in "buif":
        kind = "Python objects" if header.dtype.kind == "O" else f"values of type {header.dtype}"
        raise DataError(f"{kind}, where numbers are needed")
    return header


def _read_values(file: IO[bytes], header: ArrayHeader, size: int) -> PixelArray:
    """Read the values that follow a header, of a file of `size` bytes."""
    check_image_shape(header.shape)
    count = int(np.prod(header.shape, dtype=np.int64))
    if count * header.dtype.itemsize > size:
        raise DataError("damaged or truncated")
    values = np.frombuffer(file.read(count * header.dtype.itemsize), header.dtype, count)
    shaped: PixelArray = values.reshape(header.shape, order="F" if header.fortran_order else "C")
    return shaped


def _choose_array(archive: zipfile.ZipFile) -> tuple[str, ArrayHeader]:
    """Return the member of an .npz file that holds the image, and its header.

    The only array of the shape of an image, or the one with the first of IMAGE_NAMES.
    """
    headers: dict[str, ArrayHeader] = {}
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    for name in names:
        with archive.open(name) as member:
            try:
                header = read_header(member)
                check_image_shape(header.shape)
            except DataError:
                continue
            headers[name] = header
    if len(headers) != 1:
        headers = {f"{name}.npy": headers[f"{name}.npy"] for name in IMAGE_NAMES if f"{name}.npy" in headers}
    if not headers:
        listed = ", ".join(name.removesuffix(".npy") for name in names[:4])
        raise DataError(f"{len(names)} arrays ({listed}), of which none is named {' or '.join(IMAGE_NAMES[:2])}")
    return next(iter(headers.items()))


def check_image_shape(shape: tuple[int, ...]) -> None:
    """Raise DataError unless an array of this shape can be one image."""
    inner = strip_axes(shape)
    if len(inner) == 2 or (len(inner) == 3 and (inner[2] in CHANNELS or inner[0] in CHANNELS)):
        height, width = (inner[:2] if len(inner) == 2 or inner[2] in CHANNELS else inner[1:])[:2]
        if not height or not width:
            raise DataError("empty")
        check_pixels(width, height)
        return
    if len(inner) == 3 and (channels := min(inner[0], inner[2])) <= MAX_CHANNELS:
        raise DataError(describe_channels(channels))
    axes = " x ".join(map(str, shape)) or "no axes"
    raise DataError(f"an array of {axes}: an image has height and width, and 1, 3 or 4 channels before or after them")


def strip_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without leading axes of length 1 before the last three axes."""
    while len(shape) > 3 and shape[0] == 1:
        shape = shape[1:]
    return shape


def detect_layout(shape: tuple[int, ...]) -> Layout | None:
    """Return which axis of an image holds the channels, the last one if both could; None without such an axis."""
    inner = strip_axes(shape)
    if len(inner) != 3:
        return None
    return "NHWC" if inner[2] in CHANNELS else "NCHW"


def is_ambiguous(shape: tuple[int, ...]) -> bool:
    """Return whether both the first and the last axis of an image could hold the channels."""
    inner = strip_axes(shape)
    return len(inner) == 3 and inner[0] in CHANNELS and inner[2] in CHANNELS


def to_channels_last(values: PixelArray, layout: Layout | None) -> PixelArray:
    """Return an image as (H, W, C). Raises DataError if the axis of the channels in this layout is no such axis."""
    image = values.reshape(strip_axes(values.shape))
    if image.ndim == 2:
        return image[:, :, None]
    if (layout or detect_layout(image.shape)) == "NCHW":
        image = image.transpose(1, 2, 0)
    if image.shape[2] not in CHANNELS:
        raise DataError(f"{describe_channels(image.shape[2])}; it was read as {layout or 'NHWC'} (data.layout)")
    return image
