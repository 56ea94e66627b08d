"""Image files into square arrays: PNG, JPEG, WebP, BMP and TIFF of any depth and colour.

Reduced with Lanczos' filter over all pixels that a new one covers, as Pillow does: nearest or bilinear sampling without
it aliases (Parmar, Zhang and Zhu 2022, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation").
"""

import io
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

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
from equipoise.data._files import File, counted
from equipoise.errors import DataError

Fit = Literal["crop", "pad", "stretch"]
Background = Literal["white", "black"]

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
STARTS: Mapping[bytes, type[ImageFile]] = {
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"\xff\xd8\xff": JpegImageFile,
    b"RIFF": WebPImageFile,
    b"BM": BmpImageFile,
    **dict.fromkeys((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"), TiffImageFile),
}
"""First bytes -> decoder. Taken from Pillow one by one, for its `open` knows formats that no picture here is in, and
warns of large images before one can ask for their size."""
MOST_PIXELS = 178_956_970
"""Twice Pillow's MAX_IMAGE_PIXELS, from where on it takes an image for a decompression bomb."""
GAP = 2.0
"""How much larger than asked for an image is decoded or averaged at first; Pillow's documentation of `reducing_gap`
calls the result close to fair resampling from 2.0 on."""
ORIENTATION = 0x0112
"""The tag of Exif 2.3, table 4; 1 is upright."""
LYING = range(5, 9)
"""Orientations in which width and height of the file are height and width of the image."""
SIZES = (16, 32, 64, 128)
USUAL = 64
"""The largest size that is chosen unasked: larger ones take hours on a CPU."""
LOOKED_AT = 256
"""Headers that are read to choose a size."""
DEPTHS = {"F": "floating-point numbers", "I": "32-bit numbers"}


class Form(NamedTuple):
    """What every image becomes: (3, size, size) uint8. `fit`: of images that are not square; see `ImageFolder`."""

    size: int
    fit: Fit
    background: Background


def decode(content: bytes, form: Form) -> Decoded:
    """An image file as (3, size, size) uint8, upright, transparency laid on the background, the first page of several.

    Facts, 0 or 1: `grey`, `not_square`, `enlarged`, `transparent`. Raises DataError with the reason, as it would stand
    in brackets behind the name of the file, for what is no image, damaged, too large, or not of 8 or 16 bits.
    """
    loaded = _loaded(content, form, halves=1)
    pixels = _pixels(loaded.picture, form)
    grey = (pixels[0] == pixels[1]).all() and (pixels[1] == pixels[2]).all()
    return Decoded(pixels, {"grey": int(grey), **_facts(loaded.size, loaded.transparent, form)})


def decode_halves(content: bytes, form: Form) -> Decoded:
    """Two images side by side in one file as (6, size, size) uint8, the left one first; facts as those of `decode`.

    Raises DataError as `decode` does, and for an image that is not wider than high, or of an odd number of pixels.
    """
    loaded = _loaded(content, form, halves=2)
    width, height = loaded.picture.size
    if not fit_halves(width, height):
        raise DataError(
            f"{width} x {height} pixels: two images side by side are wider than high, and an even number of pixels wide"
        )
    halves = [loaded.picture.crop((left, 0, left + width // 2, height)) for left in (0, width // 2)]
    pixels = np.concatenate([_pixels(half, form) for half in halves])
    half = (loaded.size[0] // 2, loaded.size[1])
    return Decoded(pixels, _facts(half, loaded.transparent, form))


def fit_halves(width: int, height: int) -> bool:
    """Whether an image of so many pixels can be two images side by side."""
    return width > height and width % 2 == 0


class Loaded(NamedTuple):
    """An image in RGB, upright; its size in the file; whether anything of the background shows."""

    picture: Image.Image
    size: tuple[int, int]
    transparent: bool


def _loaded(content: bytes, form: Form, halves: int) -> Loaded:
    """The pixels of a file that holds so many images side by side. Raises DataError with the reason."""
    if not content:
        raise DataError("empty")
    try:
        picture = _opened(io.BytesIO(content))
        size = picture.size
        if isinstance(picture, PngImageFile):
            PngImageFile(io.BytesIO(content)).verify()  # Decoding does not look at the checksums.
        if isinstance(picture, JpegImageFile) and halves == 1:  # halves may not lie on borders of a reduced image
            enough = round(GAP * form.size)
            picture.draft(None, (enough, enough))  # decodes 1/2, 1/4 or 1/8 of the size, as long as that is enough
        picture.load()
        upright, transparent = _opaque(_upright(picture), form.background)
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything for bytes that are not as they should be.
        raise DataError("damaged or cut short") from error
    return Loaded(upright, size, transparent)


def _pixels(picture: Image.Image, form: Form) -> npt.NDArray[np.uint8]:
    """(3, size, size)."""
    return np.asarray(_square(picture, form)).transpose(2, 0, 1)


def _facts(size: tuple[int, int], transparent: bool, form: Form) -> dict[str, int]:
    """0 or 1 each, of an image of this size in its file."""
    shorter = max(size) if form.fit == "pad" else min(size)
    facts = {"not_square": size[0] != size[1], "enlarged": shorter < form.size, "transparent": transparent}
    return {name: int(value) for name, value in facts.items()}


def told(facts: Mapping[str, int], count: int, form: Form) -> Iterator[str]:
    """What the user should know of how `count` images were brought to their form."""
    total = counted(count, "image")
    done = {"crop": "cropped to their middle", "pad": f"padded with {form.background}", "stretch": "stretched"}
    if facts["not_square"]:
        yield f"{facts['not_square']:,} of {total} not square: {done[form.fit]} (fit)"
    if facts["enlarged"]:
        yield f"{facts['enlarged']:,} of {total} smaller than {form.size} pixels: enlarged (image_size)"
    if facts["transparent"]:
        yield f"{facts['transparent']:,} of {total} transparent in part: laid on {form.background} (background)"


def usual_size(folder: Path, files: Sequence[File]) -> int:
    """The largest usual size that the median of the shorter sides reaches; an eighth less will do, as for 28 pixels."""
    step = max(1, len(files) // LOOKED_AT)
    sides = [side for file in files[::step][:LOOKED_AT] if (side := shorter_side(folder / file.path))]
    middle = statistics.median(sides) if sides else USUAL
    return max((size for size in SIZES if size <= min(USUAL, middle * 8 / 7)), default=SIZES[0])


def shorter_side(path: Path) -> int | None:
    """The shorter side of an image in pixels, by its header alone; None if it cannot be read."""
    size = size_of(path)
    return min(size) if size else None


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height of an image in pixels, upright, by its header alone; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            picture = _opened(file)
            lies = _orientation(picture, Image.Image.getexif) in LYING
            return picture.size[::-1] if lies else picture.size
    except Exception:  # Whatever is wrong with the file, decoding will tell.
        return None


def _opened(file: BinaryIO) -> ImageFile:
    """An image of which the header was read, not yet the pixels."""
    start = file.read(8)
    file.seek(0)
    decoder = next((decoder for first, decoder in STARTS.items() if start.startswith(first)), None)
    if decoder is None:
        raise DataError("not a PNG, JPEG, WebP, BMP or TIFF image")
    picture = decoder(file)
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise DataError(f"{width:,} x {height:,} pixels, more than {MOST_PIXELS:,}: not decoded")
    if picture.mode in DEPTHS:
        raise DataError(f"{DEPTHS[picture.mode]}, whose range is not known; save it with 8 or 16 bits")
    return picture


def _upright(picture: ImageFile) -> Image.Image:
    """Turned as a camera's note in the file says; upright if that note is damaged."""
    return ImageOps.exif_transpose(picture) if _orientation(picture, type(picture).getexif) in range(2, 9) else picture


def _orientation(picture: ImageFile, exif: Callable[[Any], Image.Exif]) -> int:
    """What a camera notes of how it was held, 1 to 8; 1 if that note is damaged, or not there.

    `exif` reads the notes: that of Image itself what stands before the pixels, that of a PNG decodes the whole image.
    """
    with suppress(Exception):
        return int(exif(picture).get(ORIENTATION, 1))
    return 1


def _opaque(picture: Image.Image, background: Background) -> tuple[Image.Image, bool]:
    """The same in RGB, and whether anything of the background shows."""
    if picture.mode.startswith("I;16"):
        return _from_16_bits(np.asarray(picture)).convert("RGB"), False
    if not picture.has_transparency_data:
        return picture.convert("RGB"), False
    layer = picture.convert("RGBA")
    (least, _) = layer.getchannel("A").getextrema()
    below = Image.new("RGBA", layer.size, background)
    return Image.alpha_composite(below, layer).convert("RGB"), least != 255


def _from_16_bits(values: npt.NDArray[np.uint16]) -> Image.Image:
    """Grey of 0 to 65,535 as 0 to 255, rounded: 65,535 = 257 * 255."""
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _square(picture: Image.Image, form: Form) -> Image.Image:
    """(size, size) pixels: the middle cut out, or the whole with background beside it, or stretched."""
    width, height = picture.size
    size, shorter, longer = form.size, min(picture.size), max(picture.size)
    if form.fit == "crop":
        left, top = (width - shorter) / 2, (height - shorter) / 2
        return _resized(picture, (size, size), (left, top, left + shorter, top + shorter))
    if form.fit == "stretch" or width == height:
        return _resized(picture, (size, size), (0, 0, width, height))
    inside = (max(1, round(size * width / longer)), max(1, round(size * height / longer)))
    canvas = Image.new("RGB", (size, size), form.background)
    canvas.paste(_resized(picture, inside, (0, 0, width, height)), ((size - inside[0]) // 2, (size - inside[1]) // 2))
    return canvas


def _resized(picture: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    return picture.resize(size, Image.Resampling.LANCZOS, box, GAP)
