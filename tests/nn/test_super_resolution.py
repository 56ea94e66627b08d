"""The network that enlarges images."""

import torch
from torch.nn.functional import interpolate

from equipoise.nn.super_resolution import EnlargingNetwork, enlarge, initialise_enlarging


def build(doublings: int = 2) -> EnlargingNetwork:
    network = EnlargingNetwork(3, 8, 2, doublings)
    initialise_enlarging(network, torch.Generator().manual_seed(0))
    return network


def draw(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_a_new_network_is_a_bicubic_enlargement_to_the_bit() -> None:
    images = draw(2, 3, 5, 7)
    for doublings in (1, 2, 3):
        expected = interpolate(images, scale_factor=float(2**doublings), mode="bicubic", align_corners=False)
        assert torch.equal(build(doublings)(images), expected)


def test_constant_images_stay_constant() -> None:
    assert torch.allclose(enlarge(torch.full((1, 3, 4, 4), 0.3), 4), torch.full((1, 3, 16, 16), 0.3), atol=1e-6)


def test_every_weight_learns() -> None:
    network = build()
    with torch.no_grad():
        network.output.weight.fill_(0.01)
    network(draw(2, 3, 6, 6)).square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())


def test_details_keep_their_place_at_any_size() -> None:
    """A pixel changes only the enlarged image around it."""
    network = build()
    with torch.no_grad():
        network.output.weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(2))
    images = draw(1, 3, 32, 20)
    changed = images.clone()
    changed[:, :, 28, 10] += 1
    difference = (network(changed) - network(images)).abs().amax(dim=(0, 1))
    assert difference.shape == (128, 80)
    assert difference[:40].max() < 1e-6
    assert difference[112:116, 40:44].max() > 0.1
