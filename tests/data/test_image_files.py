"""Decoding of arrays, deep images and formats of phones and scanners, compared with the values that were written."""

import io
import struct
import subprocess
import zlib
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, features

from equipoise.data._files.sources import FolderStorage, Source
from equipoise.data._images.decoding import decode
from equipoise.data._images.image_format import ImageFormat
from equipoise.data._images.notes import format_notes
from equipoise.data._images.sizes import read_size
from equipoise.errors import DataError

SIDE = 24
EIGHT = ImageFormat(SIDE, "crop", "white")
TWELVE = ImageFormat(SIDE, "crop", "white", 0.0, 4095.0)
HEIC = Path(__file__).parents[1] / "fixtures" / "two_colours.heic"
"""64 x 64 pixels: upper half (200, 40, 40), lower half (40, 40, 200); written with x265."""


def random(*shape, high=4096, dtype=np.uint16):
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def npy(values):
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()


def npz(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def saved(image, kind, **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def png_16(values, colour_type):
    """Write a PNG of 16 bits: (H, W, C)."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width = values.shape[:2]
    pixels = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def tiff(values, *tags, code="H"):
    """Write an uncompressed little-endian TIFF with these (tag, type, values) in addition to the sizes."""
    height, width = values.shape[:2]
    body = values.tobytes()
    entries = [(256, "I", [width]), (257, "I", [height]), (259, "H", [1]), (278, "I", [height])]
    entries += [(273, "I", [8]), (279, "I", [len(body)]), *tags]
    blocks, table = b"", b""
    start = 8 + len(body) + len(body) % 2
    for tag, kind, numbers in sorted(entries):
        data = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        place = struct.pack("<I", start + len(blocks)) if len(data) > 4 else data.ljust(4, b"\0")
        blocks += data if len(data) > 4 else b""
        table += struct.pack("<HHI", tag, {"H": 3, "I": 4}[kind], len(numbers)) + place
    directory = struct.pack("<H", len(entries)) + table + bytes(4)
    return b"II*\0" + struct.pack("<I", start + len(blocks)) + body.ljust(start - 8, b"\0") + blocks + directory


def values_of(content, form):
    """Return the decoded pixels in the unit of the file: (H, W, 3) float."""
    rows = decode(content, form).rows
    assert rows.dtype == form.dtype
    assert np.abs(rows).max() <= (255 if form.black is None else 1)
    return (rows.transpose(1, 2, 0).astype(float) + 1) / 2 * (form.white - form.black) + form.black


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.uint32, np.int64, np.float16, np.float32, np.float64])
def test_arrays_of_every_type_are_scaled(dtype, channels):
    values = random(SIDE, SIDE, channels, high=2048, dtype=dtype)
    assert np.abs(values_of(npy(values), TWELVE) - values).max() < 0.01
    assert decode(npy(values), TWELVE).facts["grey"] == int(channels == 1)


def test_layouts_of_arrays():
    last = random(SIDE, SIDE, 3)
    first = np.ascontiguousarray(last.transpose(2, 0, 1))
    for values in (last, first, first[None], np.asfortranarray(last), last.astype(">u2")):
        assert np.abs(values_of(npy(values), TWELVE) - last).max() < 0.01
    both = random(3, SIDE, 3)
    small = TWELVE._replace(fit="stretch")
    as_last = decode(npy(both), small).rows
    assert (decode(npy(both), small._replace(layout="NHWC")).rows == as_last).all()
    assert not np.allclose(decode(npy(both), small._replace(layout="NCHW")).rows, as_last)


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (SIDE, SIDE, 1), (1, SIDE, SIDE)])
def test_grey_arrays(shape):
    values = random(*shape)
    assert np.abs(values_of(npy(values), TWELVE)[:, :, 1] - values.reshape(SIDE, SIDE)).max() < 0.01


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_arrays_of_8_bits_equal_image_files(channels):
    values = random(SIDE, SIDE, channels, high=256, dtype=np.uint8)
    image = Image.fromarray(values.squeeze())
    assert (decode(npy(values), EIGHT).rows == decode(saved(image, "PNG"), EIGHT).rows).all()
    assert decode(npy(values), EIGHT).rows.dtype == np.uint8


def test_truth_values_are_black_and_white():
    values = random(SIDE, SIDE, high=2, dtype=bool)
    assert (decode(npy(values), EIGHT).rows[0] == 255 * values).all()


def test_the_image_of_an_archive_is_chosen():
    values, other = random(SIDE, SIDE), random(SIDE, SIDE)[::-1]
    for content in (npz(height=values), npz(height=values, label=np.array(3)), npz(image=values, mask=other)):
        assert np.abs(values_of(content, TWELVE)[:, :, 0] - values).max() < 0.01
    with pytest.raises(DataError, match=r"^2 arrays \(a, b\), of which none is named image or images$"):
        decode(npz(a=values, b=other), TWELVE)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (random(SIDE, SIDE, 5), "5 channels: 1 (grey), 3 (colour) or 4 (colour and transparency) can be used"),
        (random(5, SIDE, SIDE), "5 channels: 1 (grey), 3 (colour) or 4 (colour and transparency) can be used"),
        (random(SIDE), "an array of 24: an image has height and width, and 1, 3 or 4 channels before or after them"),
        (random(0, SIDE), "empty"),
        (np.full((SIDE, SIDE), np.nan), "has values that are not finite numbers (NaN or infinity)"),
        (np.full((SIDE, SIDE), -np.inf), "has values that are not finite numbers (NaN or infinity)"),
        (np.full((SIDE, SIDE), 1j), "values of type complex128, where numbers are needed"),
        (np.array([["a"]]), "values of type <U1, where numbers are needed"),
    ],
)
def test_unusable_arrays_are_refused_with_a_reason(values, reason):
    with pytest.raises(DataError) as error:
        decode(npy(values), TWELVE)
    assert str(error.value) == reason


def test_python_objects_are_never_loaded():
    content = io.BytesIO()
    np.save(content, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DataError, match=r"^Python objects, where numbers are needed$"):
        decode(content.getvalue(), TWELVE)


def test_headers_that_lie_about_the_size_are_refused():
    taller = npy(random(SIDE, SIDE)).replace(b"(24, 24)", b"(99, 24)")
    for broken in (npy(random(SIDE, SIDE))[:-1], taller, npz(x=random(SIDE, SIDE))[:-30]):
        with pytest.raises(DataError, match="damaged or truncated"):
            decode(broken, TWELVE)
    huge = npy(np.zeros((1, 1), np.uint8)).replace(b"(1, 1), }         ", b"(1, 999999999999)}")
    with pytest.raises(DataError, match=r"pixels, more than|damaged"):
        decode(huge, TWELVE)


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3)])
def test_all_16_bits_of_a_png_are_read(colour_type, channels):
    """Pillow keeps only the upper 8 bits of 16-bit colour."""
    values = random(SIDE, SIDE, channels)
    assert np.abs(values_of(png_16(values, colour_type), TWELVE) - values).max() < 0.01


@pytest.mark.parametrize(("colour_type", "channels"), [(4, 2), (6, 4)])
def test_transparency_of_16_bits(colour_type, channels):
    values = random(SIDE, SIDE, channels, high=65536)
    alpha = values[:, :, -1:] / 65535
    form = TWELVE._replace(white=65535.0)
    expected = values[:, :, :-1] * alpha + 65535 * (1 - alpha)
    assert np.abs(values_of(png_16(values, colour_type), form) - expected).max() < 0.5
    black = values_of(png_16(values, colour_type), form._replace(background="black"))
    assert np.abs(black - values[:, :, :-1] * alpha).max() < 0.5
    assert decode(png_16(values, colour_type), form).facts["transparent"] == 1


@pytest.mark.parametrize("compression", ["raw", "lzw", "deflate"])
@pytest.mark.parametrize(("layout", "channels"), [("gray16le", 1), ("rgb48le", 3)])
def test_all_16_bits_of_a_tiff_are_read(compression, layout, channels):
    values = random(SIDE, SIDE, channels)
    raw = ["-f", "rawvideo", "-pix_fmt", layout, "-s", f"{SIDE}x{SIDE}", "-i", "-"]
    encoder = ["-c:v", "tiff", "-compression_algo", compression, "-pix_fmt", layout, "-f", "image2pipe", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *raw, *encoder]
    content = subprocess.run(command, input=values.tobytes(), stdout=subprocess.PIPE, check=True).stdout
    assert np.abs(values_of(content, TWELVE) - values).max() < 0.01


@pytest.mark.parametrize("mode", ["F", "I"])
def test_32_bit_tiff(mode):
    values = random(SIDE, SIDE, dtype=np.float32 if mode == "F" else np.int32) - 1000
    form = TWELVE._replace(black=-1000.0, white=3095.0)
    assert np.abs(values_of(saved(Image.fromarray(values), "TIFF"), form)[:, :, 0] - values).max() < 0.01


def test_unsigned_32_bit_tiff():
    values = random(SIDE, SIDE, dtype=np.uint32) + np.uint32(2**31)
    content = tiff(values, (258, "H", [32]), (262, "H", [1]), (277, "H", [1]), (339, "H", [1]))
    form = TWELVE._replace(black=2.0**31, white=2.0**31 + 4095)
    assert np.abs(values_of(content, form)[:, :, 0] - values).max() < 0.01


def test_tiff_whose_zero_is_white_is_inverted():
    values = random(SIDE, SIDE)
    tags = ((258, "H", [16]), (277, "H", [1]))
    assert np.abs(values_of(tiff(values, (262, "H", [0]), *tags), TWELVE)[:, :, 0] - (4095.0 - values)).max() < 0.01
    assert np.abs(values_of(tiff(values, (262, "H", [1]), *tags), TWELVE)[:, :, 0] - values).max() < 0.01


def test_tiff_of_many_channels_says_so():
    tags = ((258, "H", [8] * 5), (262, "H", [1]), (277, "H", [5]), (338, "H", [0] * 4))
    with pytest.raises(DataError, match=r"^5 channels: 1"):
        decode(tiff(random(SIDE, SIDE, 5, high=256, dtype=np.uint8), *tags), EIGHT)
    tags = ((258, "H", [32] * 3), (262, "H", [2]), (277, "H", [3]), (339, "H", [3] * 3))
    with pytest.raises(DataError, match=r"^TIFF with 3 x 32 bits of fractions, which Pillow cannot read: save as"):
        decode(tiff(random(SIDE, SIDE, 3, dtype=np.float32), *tags), EIGHT)


def test_values_beyond_black_and_white_are_clipped_and_counted():
    values = random(SIDE, SIDE)
    form = TWELVE._replace(black=1000.0, white=2000.0)
    assert np.abs(values_of(npy(values), form)[:, :, 0] - values.clip(1000, 2000)).max() < 0.01
    facts = decode(npy(values), form).facts
    assert facts["outside"] == 1
    assert list(format_notes(facts, 1, form)) == [
        "1 of 1 image has values outside of 1000 to 2000: clipped (data.black, data.white)"
    ]


def test_black_above_white_inverts():
    values = random(SIDE, SIDE)
    rows = decode(npy(values), TWELVE._replace(black=4095.0, white=0.0)).rows
    assert np.allclose(rows, -decode(npy(values), TWELVE).rows, atol=1e-5)


def test_8_bits_keep_their_scale_among_deeper_images():
    values = random(SIDE, SIDE, 3, high=256, dtype=np.uint8)
    content = saved(Image.fromarray(values), "PNG")
    own = decode(content, TWELVE._replace(full_scale=True)).rows
    assert np.allclose(own, decode(content, EIGHT).rows / 127.5 - 1, atol=1e-6)
    alike = values_of(content, ImageFormat(SIDE, "crop", "white", 0.0, 255.0))
    assert np.abs(alike - values).max() < 0.01


def test_deep_images_are_resized_as_8_bits_are():
    values = np.asarray(Image.effect_noise((90, 60), 60))
    wide = npy(values.astype(np.uint16) * 16)
    for fit in ("crop", "pad", "stretch"):
        form = ImageFormat(SIDE, fit, "black")
        deep = decode(wide, form._replace(black=0.0, white=4080.0))
        flat = decode(npy(values), form)
        assert np.abs((deep.rows + 1) * 127.5 - flat.rows).max() < 2
        assert deep.facts["not_square"] == deep.facts["shrunk"] == 1


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_deep_images_are_turned_as_their_exif_says(orientation):
    values = random(SIDE, SIDE)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(Image.fromarray(values), "TIFF", exif=exif)
    turns = {3: 2, 6: -1, 8: 1}[orientation]
    assert np.abs(values_of(content, TWELVE)[:, :, 0] - np.rot90(values, turns)).max() < 0.01


def test_first_frame_of_a_gif():
    red, blue = Image.new("RGB", (SIDE, SIDE), (200, 10, 10)), Image.new("RGB", (SIDE, SIDE), (10, 10, 200))
    moving = decode(saved(red, "GIF", save_all=True, append_images=[blue]), EIGHT)
    assert np.abs(moving.rows[:, 0, 0].astype(int) - (200, 10, 10)).max() <= 2
    assert moving.facts["pages"] == 1
    assert decode(saved(red, "GIF"), EIGHT).facts["pages"] == 0
    note = "1 of 1 image is the first of several pages or frames: the others are not used"
    assert note in format_notes(moving.facts, 1, EIGHT)


def test_pages_of_a_tiff_are_reported():
    page = Image.fromarray(random(SIDE, SIDE))
    content = saved(page, "TIFF", save_all=True, append_images=[Image.fromarray(random(SIDE, SIDE)[::-1])])
    for form in (EIGHT, TWELVE):
        assert decode(content, form).facts["pages"] == 1
    assert np.abs(values_of(content, TWELVE)[:, :, 0] - np.asarray(page)).max() < 0.01


@pytest.mark.parametrize(("kind", "feature"), [("AVIF", "avif"), ("JPEG2000", "jpg_2000"), ("PPM", None)])
def test_further_formats(kind, feature):
    if feature and not features.check(feature):
        pytest.skip(f"Pillow without {feature}")
    ramp = np.linspace(0, 255, SIDE).astype(np.uint8)
    values = np.stack([np.tile(ramp, (SIDE, 1))] * 3, axis=2)
    options = {"AVIF": {"quality": 100}, "JPEG2000": {"irreversible": False}}.get(kind, {})
    rows = decode(saved(Image.fromarray(values), kind, **options), EIGHT).rows.transpose(1, 2, 0)
    assert np.abs(rows.astype(int) - values).max() <= 4


def test_pgm_of_16_bits():
    values = random(SIDE, SIDE, high=65536)
    content = b"P5 24 24 65535\n" + values.astype(">u2").tobytes()
    assert np.abs(values_of(content, TWELVE._replace(white=65535.0))[:, :, 0] - values).max() < 0.01


def test_heic():
    pytest.importorskip("pi_heif")
    rows = decode(HEIC.read_bytes(), EIGHT).rows.astype(int)
    assert np.abs(rows[:, 2, 2] - (200, 40, 40)).max() <= 4
    assert np.abs(rows[:, -3, -3] - (40, 40, 200)).max() <= 4
    with pytest.raises(DataError, match=r"^damaged or truncated$"):
        decode(b"\0\0\0\x18ftypheic" + bytes(100), EIGHT)


def test_heic_without_its_package_names_the_command(monkeypatch):
    def missing(name, *args):
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(DataError, match=r"^reading HEIC needs another package: pip install 'equipoise\[heic\]'$"):
        decode(HEIC.read_bytes(), EIGHT)


def test_sizes_are_read_from_headers(tmp_path):
    contents = {
        "a.npy": npy(random(20, 30, 3)),
        "b.npy": npy(random(3, 20, 30)),
        "c.npz": npz(x=random(20, 30)),
        "d.gif": saved(Image.new("L", (30, 20)), "GIF"),
        "e.npy": b"\x93NUMPY",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    source = Source(tmp_path, (), FolderStorage(tmp_path))
    assert [read_size(source, name) for name in contents] == [(30, 20)] * 4 + [None]


def test_shrinking_and_slivers_are_reported():
    dark = saved(Image.fromarray(random(40, 40, high=16, dtype=np.uint8)), "PNG")
    facts = decode(dark, EIGHT).facts
    assert list(format_notes(facts, 1, EIGHT)) == [
        "1 of 1 image is larger than 24 pixels: shrunk (image_size)",
        "all images are nearly black: no value is above 15 of 255; if they are label maps or use fewer bits, set "
        "data.white=15",
    ]
    mask = Image.fromarray(random(SIDE, SIDE, high=2, dtype=np.uint8))
    facts = decode(saved(mask, "PNG"), EIGHT).facts
    assert [note[-12:] for note in format_notes(facts, 1, EIGHT)] == ["data.white=1"]
    plain = decode(saved(Image.new("L", (SIDE, SIDE), 7), "PNG"), EIGHT).facts
    assert list(format_notes(plain, 1, EIGHT)) == ["1 of 1 image is of a single colour"]
    light = random(SIDE, SIDE, high=10, dtype=np.uint8) + np.uint8(245)
    facts = decode(saved(Image.fromarray(light), "PNG"), EIGHT).facts
    assert list(format_notes(facts, 1, EIGHT)) == [
        "all images are nearly white: no value is below 240 of 255; set data.black=240"
    ]
    pale = random(SIDE, SIDE, high=4, dtype=np.uint8) + np.uint8(120)
    facts = decode(saved(Image.fromarray(pale), "PNG"), EIGHT).facts
    assert list(format_notes(facts, 1, EIGHT)) == [
        "all images have little contrast: their values are from 112 to 127 of 255; to use the whole range, set "
        "data.black=112 data.white=127"
    ]
