"""Convolutions whose kernel is mixed by the sample, against one kernel per sample."""

import pytest
import torch
from torch.nn.functional import conv2d, leaky_relu

from equipoise.nn.adaptive_convolution import AdaptiveConv2d, initialise_adaptive, mixed_demodulation
from equipoise.nn.equalised import initialise_equalised
from equipoise.nn.modulation import ModulatedConv2d

INPUTS, OUTPUTS, STYLE, KERNELS = 5, 4, 6, 3


def build(up=False, kernels=KERNELS):
    layer = AdaptiveConv2d(INPUTS, OUTPUTS, STYLE, kernels=kernels, up=up)
    source = torch.Generator().manual_seed(0)
    initialise_equalised(layer, source)
    initialise_adaptive(layer, source)
    with torch.no_grad():
        layer.bias.normal_(generator=source)
    return layer


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def bank(layer):
    return layer.weight.detach().unflatten(0, (-1, OUTPUTS))


def modulated(weight, layer, up=False):
    """Build the layer of StyleGAN 2 with the affine map and bias of an adaptive one, and one kernel."""
    plain = ModulatedConv2d(INPUTS, OUTPUTS, STYLE, up=up)
    with torch.no_grad():
        plain.weight.copy_(weight)
        plain.bias.copy_(layer.bias)
        plain.affine.load_state_dict(layer.affine.state_dict())
    return plain


def test_each_sample_has_a_kernel_of_its_own():
    """Kang 2023: K = sum_i p_i K_i is modulated and demodulated, and applied to its sample."""
    layer, maps, style = build(), draw(3, INPUTS, 6, 5), draw(3, STYLE, seed=2)
    expected = []
    for row in range(3):
        logits = layer.selection(style[row : row + 1])[0]
        kernel = sum(p * k for p, k in zip(logits.softmax(0), bank(layer) * layer.scale, strict=True))
        scaled = kernel * layer.affine(style[row : row + 1])[0][None, :, None, None]
        scaled = scaled / (scaled.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        pixels = conv2d(maps[row : row + 1], scaled, layer.bias, padding=1)
        expected.append(2**0.5 * leaky_relu(pixels, 0.2))
    assert torch.allclose(layer(maps, style), torch.cat(expected), atol=1e-5)


@pytest.mark.parametrize("up", [False, True])
def test_without_selection_it_is_the_modulated_convolution_of_the_mean_kernel(up):
    layer, maps, style = build(up), draw(3, INPUTS, 6, 5), draw(3, STYLE, seed=2)
    with torch.no_grad():
        layer.selection.weight.zero_()
    plain = modulated(bank(layer).mean(0), layer, up)
    assert torch.allclose(layer(maps, style), plain(maps, style), atol=1e-5)


def test_one_kernel_leaves_nothing_to_choose():
    layer, maps, style = build(kernels=1), draw(3, INPUTS, 6, 5), draw(3, STYLE, seed=2)
    assert torch.equal(layer.shares(style), torch.ones(3, 1))
    assert torch.allclose(layer(maps, style), modulated(bank(layer)[0], layer)(maps, style), atol=1e-5)


def test_shares_sum_to_one_and_depend_on_the_style():
    shares = build().shares(draw(50, STYLE))
    assert torch.allclose(shares.sum(1), torch.ones(50))
    assert (shares.std(dim=0) > 0.05).all()


def test_demodulated_filters_have_norm_one():
    layer, style = build(), draw(4, STYLE, seed=3)
    shares, scales, weight = layer.shares(style), layer.affine(style), bank(layer)
    kernels = torch.einsum("bn,noikl->boikl", shares, weight) * scales[:, None, :, None, None]
    norms = kernels.flatten(2).norm(dim=2) * mixed_demodulation(weight, shares, scales)
    assert torch.allclose(norms, torch.ones(4, OUTPUTS), atol=1e-4)


def test_output_has_unit_scale_and_every_weight_a_gradient():
    layer = AdaptiveConv2d(32, 32, 16, kernels=2)
    source = torch.Generator().manual_seed(0)
    initialise_equalised(layer, source)
    initialise_adaptive(layer, source)
    output = layer(draw(8, 32, 8, 8), draw(8, 16, seed=2))
    assert 0.8 < output.square().mean().sqrt() < 1.2
    output.square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in layer.parameters())
