"""Decoding of image files to arrays of one size: every format that Pillow reads, HEIC, numpy arrays, of any depth."""

import io
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from equipoise.data._files.decoding import Decoded, Decoding
from equipoise.data._images.fitting import REDUCING_GAP, backdrop, fit_planes, merge_planes
from equipoise.data._images.formats import HEIF_ENDINGS, has_pages, open_image, upright
from equipoise.data._images.image_format import Background, ImageFormat
from equipoise.data._images.pixel_values import (
    PixelValues,
    is_array,
    is_cut,
    is_deep,
    read_array,
    read_picture_values,
    split_alpha,
)
from equipoise.errors import DataError

DECODER = 1
"""Version of the decoder; incremented when its output changes."""
TASK = "decoding images"
DEPTHS = {"F": "floating-point values", "I": "32-bit values"}
OUTSIDE_SHARE = 0.001
"""Share of the values of an image beyond black and white from which the image is counted as clipped."""
DARK_BITS = 5
"""Images whose values use at most this number of bits are nearly black: 31 of 255."""
BRIGHT = 240
"""Smallest value of an image, of 255, that is nearly white everywhere."""
VALUE_STEP = 16
"""Accuracy with which the range of the values of a set is known, of 255."""
ONE_COLOUR = 2
"""Largest difference of the pixels of an image of a single colour, of 255: JPEG adds as much."""


def decode(content: bytes, target: ImageFormat) -> Decoded:
    """Decode an image file to (3, height, width), upright, composited on the background; the first of several pages.

    If the format keeps transparency, to (4, height, width): colour times opacity, then opacity.

    Facts, 0 or 1: `grey`, `not_square` (not of the target's shape), `enlarged`, `shrunk`, `transparent`, `pages`,
    `cut` (16 bits of which 8 are read), `outside` (values beyond black and white), `one_colour`, `up_to_N` (no value
    needs more than N bits), `from_N`, `to_N` (the steps of VALUE_STEP with the smallest and the largest value).
    Raises DataError with a short reason for content that is no image, damaged, too large, or of a kind that is unknown.
    """
    loaded = _load(content, target, halves=1)
    pixels = fit_planes(loaded.planes, target)
    grey = (pixels[0] == pixels[1]).all() and (pixels[1] == pixels[2]).all()
    return Decoded(pixels, {"grey": int(grey), **_facts(loaded.size, loaded, target), **_value_facts(pixels)})


def decode_pixels(content: bytes, target: ImageFormat) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
    """Decode as `decode` does, without the facts, which take half of the time of small images."""
    return fit_planes(_load(content, target, halves=1).planes, target)


def decode_halves(content: bytes, target: ImageFormat) -> Decoded:
    """Decode two images side by side in one file to (6, height, width), the left one first; facts as for `decode`.

    Raises DataError as `decode` does, and for an image that is not wider than high, or of odd width.
    """
    loaded = _load(content, target, halves=2)
    width, height = loaded.planes[0].size
    if not can_split(width, height):
        raise DataError(
            f"{width} x {height} pixels: two images side by side must be wider than high, and of even width"
        )
    boxes = [(left, 0, left + width // 2, height) for left in (0, width // 2)]
    pixels = np.concatenate([fit_planes([plane.crop(box) for plane in loaded.planes], target) for box in boxes])
    half = (loaded.size[0] // 2, loaded.size[1])
    return Decoded(pixels, _facts(half, loaded, target))


def decode_whole(content: bytes, target: ImageFormat) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
    """Decode an image file at its own size: (3, H, W), upright, composited on the background; see `decode`."""
    loaded = _load(content, target, halves=2)  # 2: at full size
    return merge_planes([np.asarray(plane) for plane in loaded.planes], loaded.planes[0].mode, target)


def decoding_key(target: ImageFormat) -> dict[str, object]:
    """Return the options that determine how a set of images is decoded."""
    return {"data": "image_folder", "decoder": DECODER, **target.key()}


def image_decoding(target: ImageFormat) -> Decoding:
    """Return how a set of images becomes rows of the cache."""
    return Decoding(
        decoding_key(target),
        partial(_decode_item, target),
        target.shape,
        target.dtype,
        TASK,
        compare=True,
        optional=HEIF_ENDINGS,
    )


def _decode_item(target: ImageFormat, content: bytes, path: str) -> Decoded:
    return decode(content, target)


def can_split(width: int, height: int) -> bool:
    """Return whether an image of this size can be two images side by side."""
    return width > height and width % 2 == 0


class LoadedImage(NamedTuple):
    """An upright image. `planes`: one RGB image, or 1 or 3 images of floats in [-1, 1]. `size`: in the file.

    With transparency: images of floats, multiplied by the opacity, and a last one of the opacity in [-1, 1]. `facts`:
    names of the facts that are true.
    """

    planes: list[Image.Image]
    size: tuple[int, int]
    facts: frozenset[str]


def _load(content: bytes, target: ImageFormat, halves: int) -> LoadedImage:
    """Load the pixels of a file that contains this number of images side by side. Raises DataError with the reason."""
    if not content:
        raise DataError("empty")
    try:
        if is_array(content):
            return _load_array(content, target)
        return _load_picture(content, target, halves)
    except DataError:
        raise
    except Exception as error:  # Decoders raise many types of errors for invalid bytes.
        raise DataError("damaged or truncated") from error


def _load_picture(content: bytes, target: ImageFormat, halves: int) -> LoadedImage:
    picture = open_image(io.BytesIO(content))
    size = picture.size
    if isinstance(picture, PngImageFile):
        PngImageFile(io.BytesIO(content)).verify()  # Decoding does not check the checksums.
    if is_deep(picture) and target.black is not None:
        loaded = _scale(read_picture_values(content), target)
        return loaded._replace(size=size, facts=loaded.facts | ({"pages"} if has_pages(picture) else frozenset()))
    if picture.mode in DEPTHS:
        raise DataError(f"{DEPTHS[picture.mode]} of unknown range; save it with 8 or 16 bits")
    facts = {"cut"} if is_cut(picture) or (is_deep(picture) and picture.mode.startswith("RGB")) else set()
    if isinstance(picture, JpegImageFile) and halves == 1:  # the border between halves must not be averaged
        minimum_side = round(REDUCING_GAP * max(target.sides))  # of both sides: it may be rotated
        picture.draft(None, (minimum_side, minimum_side))  # decodes at 1/2, 1/4 or 1/8 of the size if that suffices
    picture.load()
    facts |= {"pages"} if has_pages(picture) else set()
    return _loaded_8_bits(upright(picture), size, facts, target)


def _load_array(content: bytes, target: ImageFormat) -> LoadedImage:
    """Load a numpy array: of 8 bits as an image file would be, otherwise scaled."""
    values = read_array(content, target.layout)
    size = (values.shape[1], values.shape[0])
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(255)
    if values.dtype == np.uint8:
        picture = Image.fromarray(np.ascontiguousarray(values[:, :, 0] if values.shape[2] == 1 else values))
        return _loaded_8_bits(picture, size, set(), target)
    if target.black is None:
        raise DataError(f"{values.dtype} values of unknown range; set data.black and data.white")
    return _scale(split_alpha(values), target)


def _loaded_8_bits(picture: Image.Image, size: tuple[int, int], facts: set[str], target: ImageFormat) -> LoadedImage:
    """Return an image of 8 bits: as it is, or scaled by black and white if these apply to images of 8 bits."""
    is_scaled = target.black is not None and not target.full_scale
    if target.keeps_alpha:
        values = split_alpha(np.asarray(_with_8_bits(picture).convert("RGBA")))
        loaded = _scale(values, target if is_scaled else target._replace(black=0.0, white=255.0))
        return loaded._replace(size=size, facts=loaded.facts | facts)
    rgb, transparent = _opaque(picture, target.background)
    facts |= {"transparent"} if transparent else set()
    if not is_scaled:
        return LoadedImage([rgb], size, frozenset(facts))
    loaded = _scale(PixelValues(np.asarray(rgb)), target)
    return loaded._replace(size=size, facts=loaded.facts | facts)


def _scale(pixels: PixelValues, target: ImageFormat) -> LoadedImage:
    """Scale values so that black is -1 and white is 1, clipped, and composite them on the background.

    Composited on black, colours are multiplied by their opacity: that is how they are kept with it.
    """
    black, white = target.black or 0.0, 1.0 if target.white is None else target.white
    if not np.isfinite(pixels.values).all():
        raise DataError("has values that are not finite numbers (NaN or infinity)")
    scaled = ((pixels.values.astype(np.float64) - black) * (2 / (white - black)) - 1).astype(np.float32)
    facts = {"outside"} if (np.abs(scaled) > 1 + 1e-6).mean() > OUTSIDE_SHARE else set()
    scaled = np.clip(-scaled if pixels.inverted else scaled, -1, 1)
    if pixels.alpha is not None:
        alpha = pixels.alpha[:, :, None]
        scaled = scaled * alpha + backdrop(target) * (1 - alpha)
        facts |= {"transparent"} if (alpha < 1).any() else set()
    height, width, channels = scaled.shape
    if target.keeps_alpha:
        alpha = np.ones((height, width), np.float32) if pixels.alpha is None else pixels.alpha
        scaled, channels = np.dstack([scaled, 2 * alpha - 1]).astype(np.float32), channels + 1
    planes = [Image.fromarray(np.ascontiguousarray(scaled[:, :, channel])) for channel in range(channels)]
    return LoadedImage(planes, (width, height), frozenset(facts))


def _facts(size: tuple[int, int], loaded: LoadedImage, target: ImageFormat) -> dict[str, int]:
    """Return the facts, 0 or 1, of an image of this size in its file."""
    width, height = size
    scales = target.sides.width / width, target.sides.height / height
    scale = min(scales) if target.fit == "pad" else max(scales)
    facts = {
        "not_square": width * target.sides.height != height * target.sides.width,
        "enlarged": scale > 1,
        "shrunk": scale < 1,
        **{name: name in loaded.facts for name in ("transparent", "pages", "cut", "outside")},
    }
    return {name: int(value) for name, value in facts.items()}


def _value_facts(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.float32]) -> dict[str, int]:
    """Return the facts on the values: whether there is a single colour, and the number of bits that are used."""
    spread = float(np.ptp(pixels, axis=(1, 2)).max()) * (1 if pixels.dtype == np.uint8 else 127.5)
    is_dark = pixels.dtype == np.uint8 and pixels.max() < 2**DARK_BITS  # such as masks of 0 and 1
    facts = {"one_colour": int(spread <= (0 if is_dark else ONE_COLOUR))}
    if pixels.dtype == np.uint8:
        low, high = int(pixels.min()), int(pixels.max())
        facts |= {f"up_to_{high.bit_length()}": 1, f"from_{low // VALUE_STEP}": 1, f"to_{high // VALUE_STEP}": 1}
        facts["bright"] = int(low >= BRIGHT)
    return facts


def _opaque(picture: Image.Image, background: Background) -> tuple[Image.Image, bool]:
    """Return the image in RGB, and whether the background is visible."""
    if picture.mode.startswith("I;16") or not picture.has_transparency_data:
        return _with_8_bits(picture).convert("RGB"), False
    layer = picture.convert("RGBA")
    (minimum, _) = layer.getchannel("A").getextrema()
    backdrop = Image.new("RGBA", layer.size, background)
    return Image.alpha_composite(backdrop, layer).convert("RGB"), minimum != 255


def _with_8_bits(picture: Image.Image) -> Image.Image:
    """Return an image whose grey values are at most of 8 bits."""
    return _from_16_bits(np.asarray(picture)) if picture.mode.startswith("I;16") else picture


def _from_16_bits(values: npt.NDArray[np.uint16]) -> Image.Image:
    """Convert grey values from [0, 65535] to [0, 255], rounded: 65,535 = 257 * 255."""
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
