"""Self-attention (Zhang 2019)."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from equipoise.nn.attention import SelfAttention


def layer_and_maps(*, pool: bool = True, height: int = 6, width: int = 4) -> tuple[SelfAttention, Tensor]:
    torch.manual_seed(0)
    return SelfAttention(16, pool=pool), torch.randn(2, 16, height, width)


def test_a_new_layer_is_the_identity_to_the_bit() -> None:
    layer, maps = layer_and_maps()
    assert torch.equal(layer(maps), maps)


@pytest.mark.parametrize("pool", [True, False])
def test_weights_of_each_place_sum_to_one(pool: bool) -> None:
    layer, maps = layer_and_maps(pool=pool)
    weights = layer.weights(maps)
    assert weights.shape == (2, 24, 6 if pool else 24)
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 24))
    assert (weights > 0).all()


@pytest.mark.parametrize("pool", [True, False])
def test_output_follows_the_equations_place_by_place(pool: bool) -> None:
    layer, maps = layer_and_maps(pool=pool)
    nn.init.constant_(layer.gamma, 0.7)
    f, g, h = layer.query(maps), layer.key(maps), layer.value(maps)
    if pool:
        g, h = max_pool2d(g, 2), max_pool2d(h, 2)
    expected = maps.clone()
    for sample in range(2):
        for row in range(6):
            for column in range(4):
                scores = (f[sample, :, row, column, None, None] * g[sample]).sum(0)
                beta = scores.exp() / scores.exp().sum()
                o = layer.output.weight[:, :, 0, 0] @ (beta * h[sample]).sum((1, 2))
                expected[sample, :, row, column] += 0.7 * o
    torch.testing.assert_close(layer(maps), expected, rtol=1e-4, atol=1e-5)


def test_permuted_places_give_permuted_outputs_without_pooling() -> None:
    layer, maps = layer_and_maps(pool=False)
    nn.init.ones_(layer.gamma)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))

    def permute(tensor: Tensor) -> Tensor:
        return tensor.flatten(2)[:, :, order].unflatten(2, (6, 4))

    torch.testing.assert_close(layer(permute(maps)), permute(layer(maps)))


def test_number_of_weights() -> None:
    """2 C C/8 + 2 C C/2 + 1 for C channels, without biases."""
    assert sum(weight.numel() for weight in SelfAttention(256).parameters()) == 2 * 256 * 32 + 2 * 256 * 128 + 1


def test_few_channels_and_odd_sides() -> None:
    layer = SelfAttention(3)
    nn.init.ones_(layer.gamma)
    assert layer(torch.randn(1, 3, 5, 7)).shape == (1, 3, 5, 7)


def test_second_derivatives_exist() -> None:
    """For gradient penalties."""
    layer, maps = layer_and_maps()
    nn.init.ones_(layer.gamma)
    maps.requires_grad_()
    (gradient,) = torch.autograd.grad(layer(maps).square().sum(), maps, create_graph=True)
    gradient.square().sum().backward()
    assert layer.query.weight.grad is not None
    assert layer.query.weight.grad.abs().sum() > 0
