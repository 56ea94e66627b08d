"""Images with transparency, and images that are not square."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise.data._images.decoding import decode
from equipoise.data._images.image_format import ImageFormat
from equipoise.data.image_folder import ImageFolder
from equipoise.errors import DataError, SettingError
from equipoise.runs.artifacts import encode_png, make_grid

SIDE = 16
KEPT = ImageFormat(SIDE, "crop", "white", alpha="keep")


def disc(colour: tuple[int, int, int], hidden: tuple[int, int, int], side: int = 48) -> Image.Image:
    """Return a disc of a colour with a soft edge; its transparent pixels have the colour `hidden` in the file."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    opacity = (side * 0.4 - np.hypot(x, y)).clip(0, 1)
    pixels = np.empty((side, side, 4), np.uint8)
    pixels[:] = (*hidden, 0)
    pixels[opacity > 0] = (*colour, 0)
    pixels[:, :, 3] = np.round(255 * opacity)
    return Image.fromarray(pixels)


def write_discs(folder: Path, count: int = 24, size: tuple[int, int] = (48, 48)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        disc((10 * number, 200, 255 - 10 * number), (255, 0, 255)).resize(size).save(folder / f"{number:02d}.png")
    return folder


def image_folder(tmp_path: Path, folder: Path, **options: object) -> ImageFolder:
    return ImageFolder(str(folder), cache=str(tmp_path / "cache"), **options).resolve()  # type: ignore[arg-type]


@pytest.mark.parametrize("target", [KEPT, KEPT._replace(fit="pad"), KEPT._replace(black=0.0, white=255.0)])
def test_colour_of_transparent_pixels_never_shows(target: ImageFormat) -> None:
    rows = [
        decode(encode_png(disc((200, 40, 20), hidden)), target).rows for hidden in ((0, 0, 0), (0, 255, 0), (9, 9, 255))
    ]
    assert all(np.array_equal(rows[0], other) for other in rows[1:])


def test_pixels_are_colours_times_opacity() -> None:
    pixels = decode(encode_png(disc((200, 40, 20), (0, 255, 0))), KEPT).rows.astype(float)
    opacity = pixels[3] / 255
    for channel, value in enumerate((200, 40, 20)):
        assert np.abs(pixels[channel] - value * opacity).max() < 1.01  # rounded twice
    assert (pixels[:3] <= pixels[3]).all()
    assert ((opacity > 0.1) & (opacity < 0.9)).any()


def test_compositing_the_kept_image_equals_compositing_first() -> None:
    """Resampling is linear, so that white may be added before or after it, except where it overshoots."""
    content = encode_png(disc((200, 40, 20), (0, 255, 0)))
    kept = decode(content, KEPT).rows.astype(float)
    white = decode(content, KEPT._replace(alpha=None)).rows.astype(float)
    difference = np.abs(kept[:3] + 255 - kept[3] - white)
    assert difference.max() < 20
    assert difference.mean() < 1


def test_values_of_16_bits_keep_transparency() -> None:
    array = np.zeros((32, 32, 4), np.uint16)
    array[8:24, 8:24] = (60000, 30000, 0, 65535)
    array[:8] = (65535, 65535, 65535, 0)  # hidden white
    import io

    content = io.BytesIO()
    np.save(content, array)
    pixels = decode(content.getvalue(), KEPT._replace(black=0.0, white=65535.0)).rows
    assert pixels.dtype == np.float32
    assert pixels.shape == (4, SIDE, SIDE)
    assert pixels[:, 0, 0].tolist() == [-1, -1, -1, -1]
    assert pixels[:, SIDE // 2, SIDE // 2] == pytest.approx([60000 / 32767.5 - 1, 30000 / 32767.5 - 1, -1, 1], abs=1e-3)


def test_transparent_png_in_and_out(tmp_path: Path) -> None:
    data = image_folder(tmp_path, write_discs(tmp_path / "discs"), image_size=48, alpha="keep")
    assert (data.channels, data.spec.shape) == (4, (4, 48, 48))
    real = data.stream("train", 4, 0).batch(0).real
    assert (real.dtype, real.min(), real.max()) == (torch.float32, -1, 1)
    picture = make_grid(real[:1].numpy(), keeps_alpha=True)
    assert picture.mode == "RGBA"
    again = decode(encode_png(picture), ImageFormat(48, "crop", "white", alpha="keep")).rows
    assert np.abs(again.astype(float) - (real[0].numpy() + 1) * 127.5).max() <= 1.01


def test_default_composites_on_the_background(tmp_path: Path) -> None:
    folder = write_discs(tmp_path / "discs")
    data = image_folder(tmp_path, folder, image_size=SIDE)
    assert data.spec.shape == (3, SIDE, SIDE)
    assert data.stream("train", 4, 0).batch(0).real[:, :, 0, 0].eq(1).all()  # white


def test_opaque_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "opaque").mkdir()
    for number in range(4):
        Image.new("RGBA", (20, 20), (50 * number, 0, 0, 255)).save(tmp_path / "opaque" / f"{number}.png")
    with pytest.raises(DataError, match=r"no image in .*opaque is transparent; omit data\.alpha=keep"):
        image_folder(tmp_path, tmp_path / "opaque", alpha="keep")


def test_channels_that_contradict_transparency() -> None:
    with pytest.raises(SettingError, match=r"channels = 3 with alpha = keep: .* 4 channels; omit one of them"):
        ImageFolder("folder", channels=3, alpha="keep")
    with pytest.raises(SettingError, match=r"channels = 4 needs transparency: add --option data\.alpha=keep"):
        ImageFolder("folder", channels=4)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize(("size", "shape"), [("24x16", (16, 24)), ("16x40", (40, 16))])
def test_rectangular_images(tmp_path: Path, fit: str, size: str, shape: tuple[int, int]) -> None:
    data = image_folder(tmp_path, write_discs(tmp_path / "wide", size=(60, 40)), image_size=size, fit=fit, alpha="keep")
    assert data.spec.shape == (4, *shape)
    assert data.image_size == size
    assert data.stream("train", 1, 0).batch(0).real.shape == (1, 4, *shape)
    assert data == ImageFolder(**{name: getattr(data, name) for name in data.__dataclass_fields__}).resolve()


def test_fits_of_a_rectangle() -> None:
    """An image 40 wide and 20 high, black with a white left half, as 8 wide and 16 high."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20] = 255
    content = encode_png(Image.fromarray(pixels))
    rows = {fit: decode(content, ImageFormat(16, fit, "white", width=8)).rows[0] for fit in ("crop", "pad", "stretch")}  # type: ignore[arg-type]
    assert all(row.shape == (16, 8) for row in rows.values())
    assert (rows["crop"][0, 0], rows["crop"][0, -1]) == (255, 0)
    assert rows["stretch"][8, 0] == 255
    assert rows["pad"][0].tolist() == [255] * 8  # above the image, which is 8 x 4
    assert (rows["pad"][8, 0], rows["pad"][8, -1]) == (255, 0)


def test_squares_have_the_bytes_of_before(tmp_path: Path) -> None:
    """The key of the cache of squares has no new entries, so that earlier runs find their images."""
    assert ImageFormat(32, "crop", "white").key() == {"size": 32, "fit": "crop", "background": "white"}
