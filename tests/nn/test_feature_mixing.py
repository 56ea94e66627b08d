"""Fixed random projections across channels and scales."""

import torch
from torch import Generator
from torch.nn.functional import conv2d, interpolate

from equipoise.nn.feature_mixing import FeatureMixing, initialise_mixing

CHANNELS = (3, 5, 7)


def mixing(seed: int = 0) -> FeatureMixing:
    result = FeatureMixing(CHANNELS, 4)
    initialise_mixing(result, Generator().manual_seed(seed))
    return result


def feature_maps() -> list[torch.Tensor]:
    source = Generator().manual_seed(1)
    return [
        torch.randn(2, count, 12 // 2**scale, 8 // 2**scale, generator=source) for scale, count in enumerate(CHANNELS)
    ]


def test_weights_are_buffers_from_the_seed() -> None:
    network = mixing()
    assert list(network.parameters()) == []
    assert len(network.state_dict()) == 2 * len(CHANNELS)
    for name, weight in mixing().state_dict().items():
        assert torch.equal(weight, network.state_dict()[name])
        assert not torch.equal(weight, mixing(1).state_dict()[name])


def test_mixing_is_the_formula() -> None:
    """From coarse to fine; B_l is applied after the sum."""
    network, (fine, middle, coarse) = mixing(), feature_maps()
    a = [network.get_buffer(f"across_channels_{scale}") for scale in range(3)]
    b = [network.get_buffer(f"across_scales_{scale}") for scale in range(3)]

    def up(maps: torch.Tensor) -> torch.Tensor:
        return interpolate(maps, scale_factor=2, mode="bilinear")

    third = conv2d(conv2d(coarse, a[2]), b[2], padding=1)
    second = conv2d(conv2d(middle, a[1]) + up(third), b[1], padding=1)
    first = conv2d(conv2d(fine, a[0]) + up(second), b[0], padding=1)
    for mixed, expected in zip(network([fine, middle, coarse]), (first, second, third), strict=True):
        assert torch.allclose(mixed, expected, atol=1e-5)


def test_fine_maps_see_coarse_ones_but_not_the_reverse() -> None:
    network, maps = mixing(), [map.requires_grad_() for map in feature_maps()]
    network(maps)[-1].sum().backward()
    assert [map.grad is not None for map in maps] == [False, False, True]
    network(maps)[0].sum().backward()
    assert all(map.grad is not None for map in maps)
