"""Opening of image files of every format with Pillow's decoders: headers, sizes, orientation."""

import importlib
import logging
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import BinaryIO

from PIL import Image, ImageOps, features
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from equipoise.errors import DataError

HEIF_ENDINGS = (".heic", ".heif", ".hif")
"""Extensions of the format of phones, which needs an optional package."""
# Pillow warns and logs about damaged metadata; a skipped file is reported with its reason, once.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())

EIGHT_BIT_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif"),
    *(*HEIF_ENDINGS, ".avif", ".pbm"),
)
"""Extensions of formats that are decoded to 8 bits a channel."""
DEEP_ENDINGS = (".png", ".tif", ".tiff", ".jp2", ".j2k", ".jpx", ".pgm", ".ppm", ".pnm", ".npy", ".npz")
"""Extensions of formats that may hold more than 8 bits a channel."""
ENDINGS = (*DEEP_ENDINGS, *EIGHT_BIT_ENDINGS)
PNG_START, TIFF_STARTS = b"\x89PNG\r\n\x1a\n", (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
TEXT_STARTS: Mapping[bytes, str] = {
    b"version htt": "a pointer of Git LFS, not the image: run git lfs pull",
    **dict.fromkeys((b"<!doctype", b"<html", b"<?xml"), "a web page or other text, not an image: download it again"),
}
"""First bytes of texts that are in place of images, in lower case."""
SIGNATURES: Mapping[bytes, type[ImageFile]] = {
    PNG_START: PngImageFile,
    b"\xff\xd8\xff": JpegImageFile,
    b"RIFF": WebPImageFile,
    b"BM": BmpImageFile,
    **dict.fromkeys(TIFF_STARTS, TiffImageFile),
    **dict.fromkeys((b"GIF87a", b"GIF89a"), GifImageFile),
    **dict.fromkeys((b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"), Jpeg2KImageFile),
    **{b"P%d" % number: PpmImageFile for number in range(1, 7)},
}
"""First bytes of a file -> decoder.

Pillow's decoders are selected directly, because `Image.open` tries further formats, and warns of large images before
their size can be checked.
"""
AVIF_BRANDS = (b"avif", b"avis")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
"""Brands of ISO media files, bytes 8 to 12 (ISO/IEC 23008-12, annex B)."""
MAX_PIXELS = 178_956_970
"""Twice Pillow's MAX_IMAGE_PIXELS, above which it reports a decompression bomb."""
ORIENTATION = 0x0112
"""Tag of the orientation (Exif 2.3, table 4); its value 1 is upright."""
ROTATED = range(5, 9)
"""Orientations that swap width and height."""
BITS_TAG, CHANNELS_TAG, SAMPLE_FORMAT_TAG = 258, 277, 339
"""TIFF tags BitsPerSample, SamplesPerPixel, SampleFormat."""


def open_image(file: BinaryIO) -> ImageFile:
    """Open an image: reads the header, not the pixels.

    Raises DataError for a file of another format, without its decoder, of too many pixels, or of unsupported channels,
    and errors of many types for a damaged one.
    """
    start = file.read(12)
    file.seek(0)
    decoder = _find_decoder(start)
    try:
        picture = decoder(file)
    except SyntaxError:
        if start.startswith(TIFF_STARTS):
            _explain_tiff(file)
        raise
    check_pixels(*picture.size)
    return picture


def check_pixels(width: int, height: int) -> None:
    """Raise DataError for an image that would take too much memory."""
    if width * height > MAX_PIXELS:
        raise DataError(f"{width:,} x {height:,} pixels, more than {MAX_PIXELS:,}: not decoded")


def _find_decoder(start: bytes) -> type[ImageFile]:
    """Return the decoder of a file that starts with these 12 bytes."""
    for first, decoder in SIGNATURES.items():
        if start.startswith(first):
            return decoder
    brand = start[8:12] if start[4:8] == b"ftyp" else b""
    if brand in AVIF_BRANDS:
        if not features.check("avif"):
            raise DataError("this Pillow cannot read AVIF: pip install --upgrade pillow")
        from PIL.AvifImagePlugin import AvifImageFile

        return AvifImageFile
    if brand in HEIF_BRANDS:
        return _heif_decoder()
    text = start.lstrip().lower()
    reasons = (reason for first, reason in TEXT_STARTS.items() if text.startswith(first))
    raise DataError(next(reasons, "not an image in a known format"))


def _heif_decoder() -> type[ImageFile]:
    """Return the decoder of HEIC, the format of phones. Raises DataError if its package is not installed."""
    try:
        decoder: type[ImageFile] = importlib.import_module("pi_heif").HeifImageFile
    except ImportError as error:
        raise DataError("reading HEIC needs another package: pip install 'equipoise[heic]'") from error
    return decoder


def _explain_tiff(file: BinaryIO) -> None:
    """Raise DataError with the kind of pixels of a TIFF file that Pillow does not read; return if it is damaged."""
    bits, channels, sample_format = (8,), 1, (1,)
    with suppress(Exception):
        file.seek(0)
        directory = ImageFileDirectory_v2(file.read(8))
        file.seek(directory.next)
        directory.load(file)
        bits, channels = directory.get(BITS_TAG, (1,)), int(directory.get(CHANNELS_TAG, 1))
        sample_format = directory.get(SAMPLE_FORMAT_TAG, (1,))
    if channels > 4 or channels == 2:
        raise DataError(describe_channels(channels))
    if max(bits) > 8:
        kind = {1: "whole numbers", 2: "signed numbers", 3: "fractions"}.get(max(sample_format), "numbers")
        raise DataError(
            f"TIFF with {channels} x {max(bits)} bits of {kind}, which Pillow cannot read: save as .npy or 16-bit PNG"
        )


def describe_channels(count: int) -> str:
    """Return the reason why an image with this number of channels is not used."""
    return f"{count:,} channels: 1 (grey), 3 (colour) or 4 (colour and transparency) can be used"


def upright(picture: ImageFile) -> Image.Image:
    """Rotate the image as its Exif orientation says; unchanged if that is damaged."""
    return ImageOps.exif_transpose(picture) if orientation(picture, type(picture).getexif) in range(2, 9) else picture


def orientation(picture: ImageFile, exif: Callable[[ImageFile], Image.Exif]) -> int:
    """Return the Exif orientation, 1 to 8; 1 if it is missing or damaged.

    `exif` reads the metadata: `Image.getexif` reads only the bytes before the pixels, `PngImageFile.getexif` decodes
    the whole image.
    """
    with suppress(Exception):
        return int(exif(picture).get(ORIENTATION, 1))
    return 1


def has_pages(picture: ImageFile) -> bool:
    """Return whether a loaded image is the first of several pages or frames."""
    with suppress(Exception):
        return bool(getattr(picture, "is_animated", False))
    return False
