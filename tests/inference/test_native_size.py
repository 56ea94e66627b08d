"""Images of any size: padding, cropping, and tiles without seams."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from equipoise.errors import EquipoiseError
from equipoise.inference import native_size
from equipoise.inference.native_size import apply_at_native_size, pad_by_reflection


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def blur(images: Tensor) -> Tensor:
    """Average blocks of 8 x 8: a network that needs multiples of 8, and whose output depends on the grid."""
    assert images.shape[2] % 8 == images.shape[3] % 8 == 0
    return interpolate(avg_pool2d(images, 8), scale_factor=8.0)


@pytest.mark.parametrize("size", [(96, 64), (60, 150), (120, 60), (8, 8), (1, 1), (3, 200), (7, 5)])
def test_size_is_kept(size: tuple[int, int]) -> None:
    images = noise(2, 3, *size)
    assert apply_at_native_size(blur, images, 8).shape == images.shape
    assert torch.equal(apply_at_native_size(lambda padded: padded, images, 8), images)


def test_reflection_is_that_of_torch() -> None:
    images = noise(1, 2, 10, 7)
    expected = pad(images, (2, 3, 3, 3), mode="reflect")
    assert torch.equal(pad_by_reflection(images, (10, 16), (7, 12)), expected)
    row = torch.arange(3.0).view(1, 1, 1, 3)
    extended = pad_by_reflection(row, (1, 2), (3, 13))
    assert extended[0, 0].tolist() == [[1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1]] * 2


def test_tiles_of_a_network_that_enlarges_are_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of memory holds for the result, and so does the width in which tiles are cross-faded."""
    monkeypatch.setattr(native_size, "OVERLAP", 16)
    monkeypatch.setattr(native_size, "MAX_AREA", 64 * 64)
    areas = []

    def enlarge(images: Tensor) -> Tensor:
        areas.append(16 * images.shape[2] * images.shape[3])
        return interpolate(images, scale_factor=4.0)

    images = noise(1, 3, 50, 21)
    result = apply_at_native_size(enlarge, images, 2, 4)
    torch.testing.assert_close(result, interpolate(images, scale_factor=4.0))
    assert len(areas) > 1
    assert max(areas) <= 64 * 64


@pytest.mark.parametrize("size", [(64, 64), (65, 200), (500, 90), (301, 299)])
def test_tiles_are_seamless(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A network whose output depends on neighbours only gives the same with and without tiles."""
    monkeypatch.setattr(native_size, "OVERLAP", 16)
    areas = []

    def sharpen(images: Tensor) -> Tensor:
        areas.append(images.shape[2] * images.shape[3])
        padded = pad(images, (2, 2, 2, 2), mode="reflect")
        return (2 * images - avg_pool2d(padded, 5, 1))[:, :1]

    images = noise(1, 3, *size)
    whole = apply_at_native_size(sharpen, images, 8)
    monkeypatch.setattr(native_size, "MAX_AREA", 64 * 64)
    tiled = apply_at_native_size(sharpen, images, 8)
    assert max(areas[1:]) <= 64 * 64
    assert tiled.shape == whole.shape == (1, 1, *size)
    # Only the pixels at the border of a tile that are cross-faded may differ, by their small weight there.
    torch.testing.assert_close(tiled, whole, atol=0.35, rtol=0)
    assert (tiled - whole).abs().mean() < 0.01
    constant = apply_at_native_size(lambda tile: torch.ones_like(tile), images, 8)
    torch.testing.assert_close(constant, torch.ones_like(images))


@pytest.mark.parametrize(("model", "multiple"), [("pix2pix", 16), ("cyclegan", 8)])
def test_generators_translate_any_size(generator, model: str, multiple: int) -> None:
    from equipoise.core.data import DataSpec

    spec = DataSpec((3, 16, 16), source=(1, 16, 16), paired=("train",))
    options = {"width": 2, "patch": 16} | ({"blocks": 1} if model == "cyclegan" else {})
    built = generator(model, spec, **options)
    assert built.model.multiple == multiple
    for size in ((16, 16), (24, 16), (15, 38), (60, 5)):
        assert built.translate(noise(2, 1, *size)).shape == (2, 3, *size)
    assert torch.equal(built.translate(noise(2, 1, 16, 16)), built.generate(torch.zeros(2, 1), noise(2, 1, 16, 16)))
    with pytest.raises(EquipoiseError, match="these images have 3 channels, but this generator takes 1; convert them"):
        built.translate(noise(2, 3, 20, 20))


@pytest.mark.parametrize("size", [(16, 24), (65, 200), (301, 99), (1, 3)])
def test_a_network_that_enlarges(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels are repeated: padding is cropped from the enlarged image, and tiles meet at enlarged places."""
    monkeypatch.setattr(native_size, "OVERLAP", 16)
    monkeypatch.setattr(native_size, "MAX_AREA", 64 * 64)
    images = noise(2, 3, *size)
    enlarged = apply_at_native_size(lambda padded: interpolate(padded, scale_factor=4.0), images, 8, 4)
    torch.testing.assert_close(enlarged, interpolate(images, scale_factor=4.0))
