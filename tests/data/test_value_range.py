"""The scale of images that are not of 8 bits: what is measured, what is used, and what is said."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from equipoise.core.data import exhaust
from equipoise.data._files.sources import open_folder
from equipoise.data._images.decoding import decode
from equipoise.data._images.formats import ENDINGS
from equipoise.data._images.image_format import ImageFormat
from equipoise.data._images.value_range import ValueRange, measure_range
from equipoise.data._images.value_statistics import ValueStatistics
from equipoise.data.image_folder import ImageFolder
from equipoise.errors import DataError, SettingError

SIDE = 16
FORM = ImageFormat(SIDE, "crop", "white")


def pictures(count, high=256, seed=0, smooth=2.0):
    """Return smooth images (N, SIDE, SIDE) float that use the whole range [0, high - 1]."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(count, SIDE, SIDE)), (0, smooth, smooth))
    return (noise - noise.min()) / np.ptp(noise) * (high - 1)


@pytest.fixture
def write(tmp_path):
    def save(*sets):
        folder = tmp_path / "in"
        folder.mkdir()
        for part, images in enumerate(sets):
            for number, image in enumerate(images):
                name = folder / f"{part}-{number:03d}"
                if image.dtype in (np.uint8, np.uint16) and image.ndim == 2:
                    Image.fromarray(image).save(f"{name}.png")
                else:
                    np.save(f"{name}.npy", image)
        return folder

    return save


@pytest.fixture
def measure(tmp_path):
    def run(folder, **options):
        return exhaust(measure_range(open_folder(folder, ENDINGS), tmp_path / "cache", ValueRange(**options)))

    return run


def brightness(folder, measured):
    """Return the mean of all decoded images on the scale of 0 to 255."""
    source = open_folder(folder, ENDINGS)
    rows = [decode(source.read(file.path), measured.apply(FORM)).rows.astype(float) for file in source.files]
    return float(np.mean([row if measured.black is None else (row + 1) * 127.5 for row in rows]))


def test_8_bits_have_no_range(write, measure):
    assert measure(write(pictures(5).astype(np.uint8))) == ValueRange()


@pytest.mark.parametrize(("bits", "high"), [(10, 800), (12, 3000), (14, 9000), (16, 60000)])
def test_unused_depth_is_detected(write, measure, bits, high):
    original = pictures(20) * high / 2**bits
    folder = write((original * 2.0 ** (bits - 8)).astype(np.uint16))
    measured = measure(folder)
    assert (measured.black, measured.white, measured.full_scale) == (0, 2**bits - 1, False)
    assert abs(brightness(folder, measured) - original.mean()) < 1
    assert f"{bits} bits are used; 0 becomes black, {2**bits - 1:,} white (data.black, data.white)" in measured.notes[0]
    assert measured.notes[0].startswith("20 of 20 images have more than 8 bits (uint16), with values from 0 to ")


def test_mixed_depths_keep_their_own_scales(write, measure):
    """Half of the images have 8 bits, half 12 of 16 bits."""
    original = pictures(20).astype(np.uint8)
    folder = write(original[::2], original[1::2].astype(np.uint16) * 16)
    measured = measure(folder)
    assert (measured.black, measured.white, measured.full_scale) == (0, 4095, True)
    assert abs(brightness(folder, measured) - original.mean()) < 1
    assert "10 of 20 images have 8 bits, and keep their own scale of 0 to 255 (data.full_scale)" in measured.notes
    assert not measure(folder, full_scale=False).full_scale


def test_a_hot_pixel_does_not_set_the_scale(write, measure):
    values = pictures(30, 4096).astype(np.uint16)
    values[3, 4, 5] = 65535
    folder = write(values)
    measured = measure(folder)
    assert measured.white == 4095
    assert "12 bits are used, except by a few values up to 65,535, which are clipped" in measured.notes[0]
    assert abs(brightness(folder, measured) - values.clip(0, 4095).mean() / 16) < 1
    assert measure(folder, white=65535.0).white == 65535


def test_hot_pixels_of_fractions_are_clipped(write, measure):
    values = pictures(30, 100).astype(np.float32) - 20
    values[3, 4, 5], values[7, 8, 9] = 1e6, -1e6
    measured = measure(write(values))
    usual = np.sort(values.ravel())[1:-1]
    assert (measured.black, measured.white) == (usual[0], usual[-1])
    assert "except a few values far from all others, which are clipped" in measured.notes[0]


def test_highlights_of_many_images_are_kept(write, measure):
    values = pictures(30, 900).astype(np.uint16)
    values[:, 4, 5] = 3900
    assert measure(write(values)).white == 4095


@pytest.mark.parametrize(
    ("low", "high", "black", "white"),
    [
        (0, 1, 0, 1),
        (0.05, 0.9, 0, 1),
        (-1, 1, -1, 1),
        (-0.9, 0.8, -1, 1),
        (0, 255, 0, 255),
        (3, 250, 0, 255),
        (-500, 8848, -500, 8848),
        (0.01, 0.02, 0.01, 0.02),
        (17, 23, 17, 23),
    ],
)
def test_fractions(write, measure, low, high, black, white):
    values = (pictures(20, 2) * (high - low) + low).astype(np.float32)
    folder = write(values)
    measured = measure(folder)
    assert (measured.black, measured.white) == pytest.approx((black, white), rel=1e-5)
    expected = (values.mean() - black) / (white - black) * 255
    assert abs(brightness(folder, measured) - expected) < 1


def test_whole_numbers_of_wide_types_are_recognised(write, measure):
    """Arrays of lists are int64, and images divided by nothing are float64."""
    values = pictures(10)
    assert measure(write(values.astype(np.int64))).white == 255


def test_signed_values_are_scaled_from_end_to_end(write, measure):
    values = (pictures(10, 4096) - 1024).astype(np.int16)
    measured = measure(write(values))
    assert (measured.black, measured.white) == (values.min(), values.max())


def test_a_narrow_range_is_spread(write, measure):
    values = (pictures(10, 200) + 30000).astype(np.uint16)
    measured = measure(write(values))
    assert (measured.black, measured.white) == (values.min(), values.max())
    assert "only 0.3% of 16 bits are used" in measured.notes[0]


def test_equal_values_are_reported(write, measure):
    folder = write(np.full((5, SIDE, SIDE), 700, np.uint16))
    measured = measure(folder)
    assert "all values are equal" in measured.notes[0]
    assert "5 of 5 deep images have a single value" in measured.notes
    assert brightness(folder, measured) == 0


@pytest.mark.parametrize(("mark", "dtype"), [(-9999, np.float32), (-32768, np.int16), (65535, np.uint16)])
def test_marks_of_missing_values_do_not_set_the_scale(write, measure, mark, dtype):
    values = pictures(20, 2000).astype(dtype)
    values[:, :3, :3] = mark
    measured = measure(write(values))
    assert (measured.black, measured.white) == (
        (values[values != mark].min(), values.max()) if mark == -9999 else (0, 4095)
    )
    assert f"are exactly {mark:,}, far from all others: taken as marks of missing values, and clipped" in "".join(
        measured.notes
    )


def test_heavy_tails_are_reported(write, measure):
    values = np.exp(3 * (pictures(20, 2, smooth=1) * 4 - 1)).astype(np.float32)
    folder = write(values)
    assert any("so the images are dark: data.white=" in note for note in measure(folder).notes)
    assert not any("dark" in note for note in measure(folder, white=20.0).notes)


def test_inverted_scans_are_suspected(write, measure):
    y, x = np.mgrid[0:SIDE, 0:SIDE] - SIDE / 2
    scan = np.exp(-(x**2 + y**2) / 20) * 3500 + 200
    negative = (4095 - scan + pictures(10, 50)).astype(np.uint16)
    assert any("data.black=4095 data.white=0 inverts them" in note for note in measure(write(negative)).notes)


def test_some_inverted_scans_are_suspected(write, measure):
    y, x = np.mgrid[0:SIDE, 0:SIDE] - SIDE / 2
    scan = (np.exp(-(x**2 + y**2) / 20) * 3500 + 200 + pictures(10, 50)).astype(np.uint16)
    notes = measure(write(scan[:7], 4095 - scan[7:])).notes
    assert "3 images have far brighter borders than centres, 7 far darker: some may be negatives" in notes


def test_two_depths_of_16_bit_files_are_reported(write, measure):
    notes = measure(write(pictures(6, 1000).astype(np.uint16), pictures(6, 60000).astype(np.uint16))).notes
    assert any(note.startswith("6 images use at most 10 bits and 6 use 16, and all are scaled alike") for note in notes)


def test_layouts_are_said_and_can_be_set(write, measure):
    colour = np.repeat(pictures(4).astype(np.uint8)[:, None], 3, axis=1)
    folder = write(colour)
    measured = measure(folder)
    assert (measured.layout, measured.black) == ("NCHW", None)
    assert measured.notes == (
        "the axes of the arrays are read as channels, height, width, from their shape (data.layout=NCHW)",
    )
    assert measure(folder, layout="NHWC").layout == "NHWC"


def test_ambiguous_layouts_are_said(write, measure):
    (note,) = measure(write(np.zeros((4, 3, SIDE, 3), np.uint8))).notes
    assert note.endswith("from their shape; both ends have the length of channels (data.layout=NHWC)")


def test_options_replace_the_measurement(write, measure):
    folder = write(pictures(10, 4096).astype(np.uint16))
    measured = measure(folder, white=2000.0)
    assert (measured.black, measured.white) == (0, 2000)
    assert "as set; 0 becomes black, 2,000 white" in measured.notes[0]
    with pytest.raises(SettingError, match=r"^data.black = data.white = 0: they must differ$"):
        measure(folder, white=0.0)
    with pytest.raises(SettingError, match="must be finite numbers"):
        measure(folder, white=float("nan"))


def test_images_of_8_bits_can_be_scaled(write, measure):
    folder = write((pictures(10) / 255 > 0.5).astype(np.uint8))
    measured = measure(folder, white=1.0)
    assert (measured.black, measured.white, measured.full_scale) == (0, 1, False)
    assert abs(brightness(folder, measured) - 255 * (pictures(10) / 255 > 0.5).mean()) < 1e-3


def test_values_without_a_common_scale_are_refused(write, measure):
    folder = write(pictures(5, 4096).astype(np.uint16), (pictures(5) / 255).astype(np.float32))
    with pytest.raises(
        DataError, match=r"different kinds of values \(5 of float32, 5 of uint16\) up to 4,095, without"
    ):
        measure(folder)
    assert measure(folder, black=0.0, white=4095.0).white == 4095


def test_the_measurement_is_stored(write, measure, monkeypatch):
    folder = write(pictures(5, 4096).astype(np.uint16))
    first = measure(folder)

    def fail(*_: object) -> ValueStatistics:
        raise AssertionError("measured again")

    monkeypatch.setattr("equipoise.data._images.value_statistics._measure", fail)
    assert measure(folder) == first
    np.save(folder / "new.npy", np.zeros((SIDE, SIDE)))
    with pytest.raises(AssertionError):
        measure(folder)


def test_unusable_images_do_not_count(write, measure):
    folder = write(pictures(5, 4096).astype(np.uint16))
    content = io.BytesIO()
    np.save(content, np.full((SIDE, SIDE), np.nan))
    (folder / "nan.npy").write_bytes(content.getvalue())
    (folder / "cut.png").write_bytes((folder / "0-000.png").read_bytes()[:60])
    (folder / "words.png").write_text("no image")
    measured = measure(folder)
    assert (measured.white, measured.full_scale) == (4095, False)
    assert not any("8 bits, and" in note for note in measured.notes)


def test_whole_numbers_and_fractions_of_one_unit_are_scaled_together(write, measure):
    folder = write(pictures(5, 3000).astype(np.int16) - 500, (pictures(5, 3000, seed=1) - 500).astype(np.float32))
    measured = measure(folder)
    assert (measured.black, measured.white) == pytest.approx((-500, 2499), abs=1)


def test_training_batches_have_the_brightness_of_the_8_bit_original(write, tmp_path):
    """The same pictures as 8-bit, as 12-bit values in 16-bit files, and half of each."""
    original = pictures(24).astype(np.uint8)
    deep = original.astype(np.uint16) * 16
    for sets in ((original,), (deep,), (original[::2], deep[1::2])):
        folder = write(*sets).rename(tmp_path / f"set-{len(list(tmp_path.iterdir()))}")
        data = ImageFolder(str(folder), held_out=0.0, cache=str(tmp_path / "cache")).resolve()
        real = data.stream("train", 24, seed=0).batch(0).real
        assert abs((real.mean().item() + 1) * 127.5 - original.mean()) < 1
        assert data.spec.unit == (None if data.white is None else (0.0, 4095.0))


def test_elevations_are_the_same_in_every_kind_of_file(tmp_path):
    """Metres in .npz, .npy and TIFF files, one image each, and in one array; the unit is kept."""
    heights = (pictures(20, 2) * 3000 - 400).astype(np.float32)
    for name in ("npz", "npy", "tif"):
        (tmp_path / name).mkdir()
    for number, image in enumerate(heights):
        np.savez(tmp_path / "npz" / f"{number:02d}.npz", height=image)
        np.save(tmp_path / "npy" / f"{number:02d}.npy", image)
        Image.fromarray(image).save(tmp_path / "tif" / f"{number:02d}.tif")
    np.save(tmp_path / "all.npy", heights)
    for name in ("npz", "npy", "tif", "all.npy"):
        data = ImageFolder(str(tmp_path / name), held_out=0.0, cache=str(tmp_path / "cache")).resolve()
        assert data.spec.unit == (heights.min(), heights.max())
        _, images = data.all_images(1)
        low, high = data.spec.unit
        values = (images.select(torch.arange(20)).numpy()[:, 0] + 1) / 2 * (high - low) + low
        assert np.abs(values - heights).max() < 0.01


def test_a_resumed_data_set_keeps_its_scale(write, tmp_path):
    folder = write(pictures(20, 4096).astype(np.uint16))
    data = ImageFolder(str(folder), cache=str(tmp_path / "cache")).resolve()
    assert (data.black, data.white, data.full_scale) == (0, 4095, False)
    assert data.resolve() == data
