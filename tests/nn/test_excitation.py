"""Skip-layer excitation: gates between 0 and 1, one per sample and channel."""

import torch
from torch import Generator
from torch.nn.functional import avg_pool2d

from equipoise.nn.excitation import SkipLayerExcitation


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    source = Generator().manual_seed(0)
    return torch.randn(3, 6, 8, 8, generator=source), torch.randn(3, 4, 32, 48, generator=source)


def test_gates_are_between_0_and_1_and_of_the_shape_of_the_channels() -> None:
    low, high = pair()
    layer = SkipLayerExcitation(6, 4)
    gates = layer.weights(low)
    assert gates.shape == (3, 4, 1, 1)
    assert gates.min() > 0
    assert gates.max() < 1
    assert torch.equal(layer(low, high), high * gates)


def test_gates_are_the_formula() -> None:
    low, high = pair()
    layer = SkipLayerExcitation(6, 4)
    first, last = (parameter.detach() for parameter in layer.parameters())
    hidden = torch.einsum("bchw,dchw->bd", avg_pool2d(low, 2), first)
    gates = torch.sigmoid(hidden * torch.sigmoid(hidden) @ last[:, :, 0, 0].T)
    assert torch.allclose(layer(low, high), high * gates[:, :, None, None], atol=1e-6)


def test_map_is_halved_exactly_if_the_last_weights_are_zero() -> None:
    low, high = pair()
    layer = SkipLayerExcitation(6, 4)
    layer.weights[3].weight.data.zero_()
    assert torch.equal(layer(low, high), high / 2)
