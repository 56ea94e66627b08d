"""Decoding of image files of every kind, compared with the definitions of their pixels."""

import io
import struct
import zlib
from functools import cache

import numpy as np
import pytest
from PIL import Image

from equipoise.data._files.sources import FolderStorage, Source
from equipoise.data._images.decoding import ImageFormat, decode
from equipoise.data._images.formats import MAX_PIXELS
from equipoise.data._images.sizes import read_size
from equipoise.errors import DataError

SIDE = 24
SAME = ImageFormat(SIDE, "crop", "white")
LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True, "exact": True}}


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (SIDE, SIDE, *shape), dtype, endpoint=True)


def saved(image, kind="PNG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def rows(image, form=SAME, kind="PNG", **options):
    """Return the pixels of a decoded file as int (H, W, 3)."""
    result = decode(saved(image, kind, **options), form).rows
    assert result.shape == (3, form.size, form.size)
    assert result.dtype == np.uint8
    return result.transpose(1, 2, 0).astype(int)


def over(colour, alpha, background):
    """Compute colour over an opaque background, rounded (Porter and Duff 1984)."""
    return np.rint((colour.astype(float) * alpha + background * (255.0 - alpha)) / 255)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_colour_is_kept_to_the_bit(kind):
    pixels = noise(3)
    assert (rows(Image.fromarray(pixels), kind=kind, **LOSSLESS[kind]) == pixels).all()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_grey_is_kept_to_the_bit(kind):
    pixels = noise()
    assert (rows(Image.fromarray(pixels), kind=kind) == pixels[:, :, None]).all()
    assert decode(saved(Image.fromarray(pixels), kind), SAME).facts["grey"] == 1
    assert decode(saved(Image.fromarray(noise(3)), kind), SAME).facts["grey"] == 0


def test_colour_files_of_grey_pixels_are_grey():
    pixels = np.repeat(noise(1), 3, axis=2)
    assert decode(saved(Image.fromarray(pixels)), SAME).facts["grey"] == 1


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_black_and_white(kind):
    bits = noise() > 127
    assert (rows(Image.fromarray(bits), kind=kind) == 255 * bits[:, :, None]).all()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_palettes(kind):
    places, palette = noise() % 7, np.random.default_rng(1).integers(0, 256, (7, 3), np.uint8)
    image = Image.frombytes("P", (SIDE, SIDE), places.tobytes())
    image.putpalette(palette.tobytes())
    assert (rows(image, kind=kind) == palette[places]).all()


@pytest.mark.parametrize(("background", "value"), [("white", 255), ("black", 0)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_transparency_shows_the_background(kind, background, value):
    pixels = noise(4)
    result = rows(Image.fromarray(pixels), ImageFormat(SIDE, "crop", background), kind, **LOSSLESS[kind])
    assert np.abs(result - over(pixels[:, :, :3], pixels[:, :, 3:], value)).max() <= 1
    assert decode(saved(Image.fromarray(pixels), kind), SAME).facts["transparent"] == 1
    pixels[:, :, 3] = 255
    assert decode(saved(Image.fromarray(pixels), kind), SAME).facts["transparent"] == 0


def test_grey_with_transparency():
    pixels = noise(2)
    result = rows(Image.frombytes("LA", (SIDE, SIDE), pixels.tobytes()))
    assert np.abs(result - over(pixels[:, :, :1], pixels[:, :, 1:], 255)).max() <= 1


@pytest.mark.parametrize("transparency", [3, bytes([0, 128, 255, 64])])
def test_palettes_with_transparency(transparency):
    places, palette = noise() % 4, np.random.default_rng(1).integers(0, 256, (4, 3), np.uint8)
    image = Image.frombytes("P", (SIDE, SIDE), places.tobytes())
    image.putpalette(palette.tobytes())
    alpha = [255, 255, 255, 0] if transparency == 3 else list(transparency)
    result = rows(image, transparency=transparency)
    assert np.abs(result - over(palette[places], np.array(alpha)[places][:, :, None], 255)).max() <= 1


def test_a_transparent_colour():
    pixels = noise(3)
    pixels[:12] = (10, 20, 30)
    result = rows(Image.fromarray(pixels), transparency=(10, 20, 30))
    assert (result[:12] == 255).all()
    assert (result[12:] == pixels[12:]).all()


@pytest.mark.parametrize(("kind", "order"), [("PNG", "<"), ("TIFF", "<"), ("TIFF", ">")])
def test_16_bits_are_scaled_not_clipped(kind, order):
    values = noise(dtype=np.uint16)
    values[0, :4] = (0, 128, 129, 65535)
    mode = "I;16" if order == "<" else "I;16B"
    image = Image.frombytes(mode, (SIDE, SIDE), values.astype(f"{order}u2").tobytes())
    result = rows(image, kind=kind)
    assert (result == np.rint(values / 257.0)[:, :, None]).all()
    assert result[0, :4, 0].tolist() == [0, 0, 1, 255]


def test_cmyk_is_converted():
    """Without a profile: the transmission of the ink times that of black."""
    inks = noise(4)
    result = rows(Image.frombytes("CMYK", (SIDE, SIDE), inks.tobytes()), kind="TIFF")
    transmission = 255.0 - inks.astype(float)
    assert np.abs(result - transmission[:, :, :3] * transmission[:, :, 3:] / 255).max() <= 1


def test_cmyk_jpeg():
    flat = Image.new("CMYK", (SIDE, SIDE), (0, 255, 255, 0))
    assert np.abs(rows(flat, kind="JPEG", quality=95) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(kind, orientation):
    """Exif 2.3, section 4.6.4: the sides of the image on which the first row and column of the file are."""
    upright = noise(3)
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(turned))
    assert (rows(image, kind=kind, exif=exif, **LOSSLESS[kind]) == upright).all()


def test_damaged_exif_is_ignored():
    pixels = noise(3)
    assert (rows(Image.fromarray(pixels), exif=b"Exif\0\0II*\0\xff\xff\xff") == pixels).all()


def stripes(width, height):
    """Write an image of red, green and blue thirds along the longer side."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for third in range(3):
        longer = max(width, height)
        part = slice(third * longer // 3, (third + 1) * longer // 3)
        pixels[(slice(None), part) if width > height else (part, slice(None))][..., third] = 255
    return pixels


@pytest.mark.parametrize("upright", [True, False])
def test_fit_of_non_square_images(upright):
    pixels = stripes(90, 30) if upright else stripes(30, 90)
    image = Image.fromarray(pixels)

    def along(fit, background="white"):
        result = rows(image, ImageFormat(30, fit, background))
        return result if upright else result.swapaxes(0, 1)

    assert (along("crop") == (0, 255, 0)).all()
    stretched = along("stretch")
    assert (stretched[:, 3:7] == (255, 0, 0)).all()
    assert (stretched[:, 13:17] == (0, 255, 0)).all()
    assert (stretched[:, 23:27] == (0, 0, 255)).all()
    for background, value in (("white", 255), ("black", 0)):
        padded = along("pad", background)
        assert (padded[10:20] == stretched[10:20]).all()
        assert (padded[:10] == value).all()
        assert (padded[20:] == value).all()


@pytest.mark.parametrize(
    ("width", "height", "fit", "not_square", "enlarged"),
    [
        (24, 24, "crop", 0, 0),
        (25, 24, "crop", 1, 0),
        (48, 23, "crop", 1, 1),
        (48, 23, "pad", 1, 0),
        (23, 20, "pad", 1, 1),
        (48, 23, "stretch", 1, 1),
    ],
)
def test_facts_describe_conversions(width, height, fit, not_square, enlarged):
    facts = decode(saved(Image.new("RGB", (width, height))), ImageFormat(24, fit, "white")).facts
    assert (facts["not_square"], facts["enlarged"]) == (not_square, enlarged)


@pytest.mark.parametrize("factor", [4, 5, 32])
def test_downsampling_does_not_alias(factor):
    """A chessboard of single pixels has no content below its frequency except the mean."""
    side = 16 * factor
    board = np.indices((side, side)).sum(axis=0) % 2 * 255
    result = rows(Image.fromarray(board.astype(np.uint8)), ImageFormat(16, "crop", "white"))
    assert np.abs(result[1:-1, 1:-1] - 127.5).max() <= 6


def test_reduced_decoding_is_accurate():
    y, x = np.mgrid[0:700, 0:900] / 100
    pixels = np.stack([np.sin(x * y), np.cos(3 * x), np.sin(y + x)], axis=2) * 127.5 + 127.5
    photo = Image.fromarray(pixels.astype(np.uint8))
    form = ImageFormat(64, "crop", "white")
    assert np.abs(rows(photo, form, "JPEG", quality=95) - rows(photo, form, "PNG")).mean() < 1.5


def test_first_page_is_used():
    first, second = (Image.fromarray(noise(3) // part) for part in (1, 2))
    for kind, options in (("TIFF", {}), ("WEBP", LOSSLESS["WEBP"]), ("PNG", {})):
        result = rows(first, kind=kind, save_all=True, append_images=[second], **options)
        assert (result == np.asarray(first)).all(), kind


@cache
def bomb():
    """Return a valid PNG of 49 kB with 20,000 × 20,000 pixels of one bit, without 400 MB of memory."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    pixels = zlib.compress(bytes(20_000 * (1 + 20_000 // 8)))
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"These are words.", "not an image in a known format"),
        (b"\x89PNG\r\n\x1a\n", "damaged or truncated"),
        (
            saved(Image.new("F", (9, 9)), "TIFF"),
            "floating-point values of unknown range; save it with 8 or 16 bits",
        ),
        (saved(Image.new("I", (9, 9)), "TIFF"), "32-bit values of unknown range; save it with 8 or 16 bits"),
        (bomb(), f"20,000 x 20,000 pixels, more than {MAX_PIXELS:,}: not decoded"),
    ],
    ids=["empty", "words", "start", "float", "int", "bomb"],
)
def test_invalid_images_are_refused_with_a_reason(content, reason):
    with pytest.raises(DataError) as error:
        decode(content, SAME)
    assert str(error.value) == reason


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.filterwarnings("ignore:Truncated File Read:UserWarning", "ignore:Corrupt EXIF:UserWarning")
def test_truncated_images_are_refused(kind, share):
    content = saved(Image.fromarray(noise(3)), kind)
    with pytest.raises(DataError, match=r"^damaged or truncated$"):
        decode(content[: int(share * len(content))], SAME)


def test_png_checksum_is_verified():
    content = bytearray(saved(Image.fromarray(noise(3))))
    content[len(content) // 2] ^= 1
    with pytest.raises(DataError, match=r"^damaged or truncated$"):
        decode(bytes(content), SAME)


def test_the_size_is_read_from_the_header(tmp_path):
    path, source = tmp_path / "a.jpg", Source(tmp_path, (), FolderStorage(tmp_path))
    path.write_bytes(saved(Image.new("RGB", (30, 50)), "JPEG"))
    assert read_size(source, "a.jpg") == (30, 50)
    path.write_bytes(b"")
    assert read_size(source, "a.jpg") is None
    path.write_bytes(bomb())
    assert read_size(source, "a.jpg") is None
