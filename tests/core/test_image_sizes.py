"""Sizes of images as users give them."""

import pytest

from equipoise.core.image_sizes import ImageSides, parse_image_size
from equipoise.errors import SettingError


@pytest.mark.parametrize(
    ("value", "height", "width", "setting"),
    [(64, 64, 64, 64), ("64", 64, 64, 64), ("64x96", 96, 64, "64x96"), ("96 X 64", 64, 96, "96x64"), ("8x8", 8, 8, 8)],
)
def test_width_comes_first(value: int | str, height: int, width: int, setting: int | str) -> None:
    sides = parse_image_size(value)
    assert sides == ImageSides(height, width)
    assert sides.setting == setting
    assert parse_image_size(sides.setting) == sides
    assert sides.text == f"{width} x {height}"


@pytest.mark.parametrize("value", [0, -3, 1025, "64x2000", "0x64", "99999999999"])
def test_sides_outside_of_the_range(value: int | str) -> None:
    with pytest.raises(SettingError, match=r"from 1 to 1024|number of pixels"):
        parse_image_size(value)


@pytest.mark.parametrize("value", ["wide", "64x", "64x96x3", "6.5", ""])
def test_other_text_names_the_form(value: str) -> None:
    with pytest.raises(SettingError, match=r"width x height, such as 64x96"):
        parse_image_size(value)
