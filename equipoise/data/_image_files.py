"""Decoding of image files to square arrays: PNG, JPEG, WebP, BMP and TIFF of any depth and colour.

Downsampled with Pillow's Lanczos filter over all covered pixels: nearest or bilinear sampling without antialiasing
aliases (Parmar, Zhang and Zhu 2022, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation").
"""

import io
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from equipoise.data._decoding import Decoded
from equipoise.data._files import agree, format_count
from equipoise.data._sources import Source
from equipoise.errors import DataError

Fit = Literal["crop", "pad", "stretch"]
Background = Literal["white", "black"]
Layout = Literal["NHWC", "NCHW"]

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
SIGNATURES: Mapping[bytes, type[ImageFile]] = {
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"\xff\xd8\xff": JpegImageFile,
    b"RIFF": WebPImageFile,
    b"BM": BmpImageFile,
    **dict.fromkeys((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"), TiffImageFile),
}
"""First bytes of a file -> decoder.

Pillow's decoders are selected directly, because `Image.open` tries further formats, and warns of large images before
their size can be checked.
"""
MAX_PIXELS = 178_956_970
"""Twice Pillow's MAX_IMAGE_PIXELS, above which it reports a decompression bomb."""
REDUCING_GAP = 2.0
"""Factor above the target size to which an image is first decoded or averaged.

Pillow's documentation of `reducing_gap` calls the result close to fair resampling from 2.0 on.
"""
ORIENTATION = 0x0112
"""Tag of the orientation (Exif 2.3, table 4); its value 1 is upright."""
ROTATED = range(5, 9)
"""Orientations that swap width and height."""
SIZES = (16, 32, 64, 128)
MAX_DEFAULT_SIZE = 64
"""Largest default size: larger images take hours on a CPU."""
SIZE_SAMPLE = 256
"""Number of headers that are read to determine the default size."""
DEPTHS = {"F": "floating-point values", "I": "32-bit values"}


class ImageFormat(NamedTuple):
    """The target format of images: (3, size, size), uint8 without `black` and `white`, else float32 in [-1, 1].

    `fit`: handling of non-square images; see `ImageFolder`. `black`, `white`: values that become -1 and 1; None for 8
    bits. `layout`: of arrays with channels; None: from their shape. `full_scale`: whether images of 8 bits keep the
    scale of 0 to 255 whatever `black` and `white` are.
    """

    size: int
    fit: Fit
    background: Background
    black: float | None = None
    white: float | None = None
    layout: Layout | None = None
    full_scale: bool | None = None

    @property
    def dtype(self) -> Literal["uint8", "float32"]:
        """Type of the decoded pixels."""
        return "uint8" if self.black is None or self.white is None else "float32"

    def key(self) -> dict[str, object]:
        """Return the options as JSON values, without those of deeper images if they are not set."""
        return {name: value for name, value in self._asdict().items() if value is not None}


def decode(content: bytes, target: ImageFormat) -> Decoded:
    """Decode an image file to (3, size, size) uint8, upright, composited on the background; the first of several pages.

    Facts, 0 or 1: `grey`, `not_square`, `enlarged`, `transparent`. Raises DataError with a short reason for content
    that is not an image, damaged, too large, or not of 8 or 16 bits.
    """
    loaded = _load(content, target, halves=1)
    pixels = _pixels(loaded.picture, target)
    grey = (pixels[0] == pixels[1]).all() and (pixels[1] == pixels[2]).all()
    return Decoded(pixels, {"grey": int(grey), **_facts(loaded.size, loaded.transparent, target)})


def decode_halves(content: bytes, target: ImageFormat) -> Decoded:
    """Decode two images side by side in one file to (6, size, size) uint8, the left one first; facts as for `decode`.

    Raises DataError as `decode` does, and for an image that is not wider than high, or of odd width.
    """
    loaded = _load(content, target, halves=2)
    width, height = loaded.picture.size
    if not can_split(width, height):
        raise DataError(
            f"{width} x {height} pixels: two images side by side must be wider than high, and of even width"
        )
    halves = [loaded.picture.crop((left, 0, left + width // 2, height)) for left in (0, width // 2)]
    pixels = np.concatenate([_pixels(half, target) for half in halves])
    half = (loaded.size[0] // 2, loaded.size[1])
    return Decoded(pixels, _facts(half, loaded.transparent, target))


def can_split(width: int, height: int) -> bool:
    """Return whether an image of this size can be two images side by side."""
    return width > height and width % 2 == 0


class LoadedImage(NamedTuple):
    """An upright RGB `picture`. `size`: in the file. `transparent`: whether the background is visible."""

    picture: Image.Image
    size: tuple[int, int]
    transparent: bool


def _load(content: bytes, target: ImageFormat, halves: int) -> LoadedImage:
    """Load the pixels of a file that contains this number of images side by side. Raises DataError with the reason."""
    if not content:
        raise DataError("empty")
    try:
        picture = _open(io.BytesIO(content))
        size = picture.size
        if isinstance(picture, PngImageFile):
            PngImageFile(io.BytesIO(content)).verify()  # Decoding does not check the checksums.
        if isinstance(picture, JpegImageFile) and halves == 1:  # the border between halves must not be averaged
            minimum_side = round(REDUCING_GAP * target.size)
            picture.draft(None, (minimum_side, minimum_side))  # decodes at 1/2, 1/4 or 1/8 of the size if that suffices
        picture.load()
        upright, transparent = _opaque(_upright(picture), target.background)
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise many types of errors for invalid bytes.
        raise DataError("damaged or truncated") from error
    return LoadedImage(upright, size, transparent)


def _pixels(picture: Image.Image, target: ImageFormat) -> npt.NDArray[np.uint8]:
    """Return the pixels in the target format: (3, size, size) uint8."""
    return np.asarray(_square(picture, target)).transpose(2, 0, 1)


def _facts(size: tuple[int, int], transparent: bool, target: ImageFormat) -> dict[str, int]:
    """Return the facts `not_square`, `enlarged` and `transparent`, 0 or 1, of an image of this size in its file."""
    shorter = max(size) if target.fit == "pad" else min(size)
    facts = {"not_square": size[0] != size[1], "enlarged": shorter < target.size, "transparent": transparent}
    return {name: int(value) for name, value in facts.items()}


def format_notes(facts: Mapping[str, int], count: int, target: ImageFormat) -> Iterator[str]:
    """Yield notes on how `count` images were converted."""
    total = format_count(count, "image")
    actions = {"crop": "centre-cropped", "pad": f"padded with {target.background}", "stretch": "stretched"}
    if number := facts["not_square"]:
        yield f"{number:,} of {total} {agree(number, 'is', 'are')} not square: {actions[target.fit]} (fit)"
    if number := facts["enlarged"]:
        yield (
            f"{number:,} of {total} {agree(number, 'is', 'are')} smaller than {target.size} pixels: "
            "enlarged (image_size)"
        )
    if number := facts["transparent"]:
        yield (
            f"{number:,} of {total} {agree(number, 'is', 'are')} partly transparent: "
            f"composited on {target.background} (background)"
        )


def default_size(source: Source) -> int:
    """Return the largest default size that the median of the shorter sides reaches, with tolerance 1/8."""
    files = source.files
    step = max(1, len(files) // SIZE_SAMPLE)
    sides = [side for file in files[::step][:SIZE_SAMPLE] if (side := shorter_side(source, file.path))]
    middle = statistics.median(sides) if sides else MAX_DEFAULT_SIZE
    return max((size for size in SIZES if size <= min(MAX_DEFAULT_SIZE, middle * 8 / 7)), default=SIZES[0])


def shorter_side(source: Source, path: str) -> int | None:
    """Return the shorter side of an image in pixels, from its header; None if it cannot be read."""
    size = read_size(source, path)
    return min(size) if size else None


def read_size(source: Source, path: str) -> tuple[int, int] | None:
    """Return width and height of an image in pixels, upright, from its header; None if it cannot be read."""
    try:
        with source.open(path) as file:
            picture = _open(file)
            is_rotated = _orientation(picture, Image.Image.getexif) in ROTATED
            return picture.size[::-1] if is_rotated else picture.size
    except Exception:  # Decoding reports the reason.
        return None


def _open(file: BinaryIO) -> ImageFile:
    """Open an image: reads the header, not the pixels."""
    start = file.read(8)
    file.seek(0)
    decoder = next((decoder for first, decoder in SIGNATURES.items() if start.startswith(first)), None)
    if decoder is None:
        raise DataError("not a PNG, JPEG, WebP, BMP or TIFF image")
    picture = decoder(file)
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise DataError(f"{width:,} x {height:,} pixels, more than {MAX_PIXELS:,}: not decoded")
    if picture.mode in DEPTHS:
        raise DataError(f"{DEPTHS[picture.mode]} of unknown range; save it with 8 or 16 bits")
    return picture


def _upright(picture: ImageFile) -> Image.Image:
    """Rotate the image as its Exif orientation says; unchanged if that is damaged."""
    return ImageOps.exif_transpose(picture) if _orientation(picture, type(picture).getexif) in range(2, 9) else picture


def _orientation(picture: ImageFile, exif: Callable[[ImageFile], Image.Exif]) -> int:
    """Return the Exif orientation, 1 to 8; 1 if it is missing or damaged.

    `exif` reads the metadata: `Image.getexif` reads only the bytes before the pixels, `PngImageFile.getexif` decodes
    the whole image.
    """
    with suppress(Exception):
        return int(exif(picture).get(ORIENTATION, 1))
    return 1


def _opaque(picture: Image.Image, background: Background) -> tuple[Image.Image, bool]:
    """Return the image in RGB, and whether the background is visible."""
    if picture.mode.startswith("I;16"):
        return _from_16_bits(np.asarray(picture)).convert("RGB"), False
    if not picture.has_transparency_data:
        return picture.convert("RGB"), False
    layer = picture.convert("RGBA")
    (minimum, _) = layer.getchannel("A").getextrema()
    backdrop = Image.new("RGBA", layer.size, background)
    return Image.alpha_composite(backdrop, layer).convert("RGB"), minimum != 255


def _from_16_bits(values: npt.NDArray[np.uint16]) -> Image.Image:
    """Convert grey values from [0, 65535] to [0, 255], rounded: 65,535 = 257 * 255."""
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _square(picture: Image.Image, target: ImageFormat) -> Image.Image:
    """Resize an image to (size, size) pixels: cropped to the centre, padded with the background, or stretched."""
    width, height = picture.size
    size, shorter, longer = target.size, min(picture.size), max(picture.size)
    if target.fit == "crop":
        left, top = (width - shorter) / 2, (height - shorter) / 2
        return _resize(picture, (size, size), (left, top, left + shorter, top + shorter))
    if target.fit == "stretch" or width == height:
        return _resize(picture, (size, size), (0, 0, width, height))
    inside = (max(1, round(size * width / longer)), max(1, round(size * height / longer)))
    canvas = Image.new("RGB", (size, size), target.background)
    canvas.paste(_resize(picture, inside, (0, 0, width, height)), ((size - inside[0]) // 2, (size - inside[1]) // 2))
    return canvas


def _resize(picture: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    return picture.resize(size, Image.Resampling.LANCZOS, box, REDUCING_GAP)
