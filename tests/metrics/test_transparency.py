"""Metrics of images with transparency."""

import pytest
import torch

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.metrics._features_efficientnet import preprocess
from equipoise.metrics._transparency import on_background

SPEC = DataSpec((4, 32, 32))


def test_images_are_composited_on_mid_grey() -> None:
    image = torch.tensor([0.5, 0.25, 0.0, 0.5]).mul(2).sub(1).view(1, 4, 1, 1)
    assert on_background(image).flatten().tolist() == pytest.approx([0.5, 0.0, -0.5])
    assert on_background(torch.full((1, 4, 2, 2), -1.0)).eq(0).all()  # nothing but the background


@pytest.mark.parametrize("channels", [1, 3])
def test_other_images_are_unchanged(channels: int) -> None:
    images = torch.rand(2, channels, 4, 4)
    assert on_background(images) is images


def test_network_sees_colour() -> None:
    images = torch.rand(2, 4, 32, 32)
    assert torch.equal(preprocess(images), preprocess(on_background(images)))


@pytest.mark.parametrize("name", ["kd_efficientnet_lite0", "fd_efficientnet_lite0", "precision", "recall", "auth_pct"])
def test_metrics_of_colour_images_suit_them(name: str) -> None:
    assert catalog.build("metrics", name).suits(SPEC)
