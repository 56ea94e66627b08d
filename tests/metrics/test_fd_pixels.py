"""The pixel distance of downsampled images."""

import pytest
import torch
from torch.nn.functional import avg_pool2d

from equipoise.core import catalog
from equipoise.core.data import Batch, DataSpec
from equipoise.errors import SettingError


def test_images_are_downsampled_by_averaging_first() -> None:
    source = torch.Generator().manual_seed(0)
    real, fake = (torch.rand(60, 3, 8, 8, generator=source) * 2 - 1 for _ in range(2))
    small = catalog.build("metrics", "fd_pixels", {"side": 4})
    plain = catalog.build("metrics", "fd_pixels")
    value = small.value(small.statistics(Batch(real)), fake)
    expected = plain.value(plain.statistics(Batch(avg_pool2d(real, 2))), avg_pool2d(fake, 2))
    assert value == pytest.approx(expected, rel=1e-5)
    large = catalog.build("metrics", "fd_pixels", {"side": 64})
    assert large.value(large.statistics(Batch(real)), fake) == plain.value(plain.statistics(Batch(real)), fake)


def test_small_colour_images_are_suitable() -> None:
    colour = DataSpec((3, 64, 64))
    assert not catalog.build("metrics", "fd_pixels").suits(colour)
    assert catalog.build("metrics", "fd_pixels", {"side": 16}).suits(colour)
    assert catalog.build("metrics", "fd_pixels").suits(DataSpec((1, 64, 64)))


def test_unsupported_size_is_refused() -> None:
    with pytest.raises(SettingError, match="side = 0: it must be at least 1"):
        catalog.build("metrics", "fd_pixels", {"side": 0})
