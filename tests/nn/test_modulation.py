"""Modulated convolutions: demodulated norms, agreement with convolutions of scaled weights, one group per sample."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, leaky_relu

from equipoise.nn.equalised import initialise_equalised
from equipoise.nn.modulation import ModulatedConv2d, ModulatedOutput, demodulation, initialise_modulated
from equipoise.nn.resample_filter import Smoothing

SOURCE = torch.Generator


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=SOURCE().manual_seed(seed), dtype=dtype)


def build_layer(in_channels: int, out_channels: int, **options: bool) -> ModulatedConv2d:
    layer = ModulatedConv2d(in_channels, out_channels, 7, **options)
    initialise_equalised(layer, SOURCE().manual_seed(1))
    initialise_modulated(layer, SOURCE().manual_seed(2))
    with torch.no_grad():
        layer.noise_strength.fill_(0.3)
        layer.bias.copy_(numbers(out_channels, seed=3))
    return layer


def grouped(layer: ModulatedConv2d, maps: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
    """Karras 2020, equations 1 to 3, literally: scaled and normalised weights, one group of filters per sample."""
    samples, in_channels, height, width = maps.shape
    scales = layer.affine(style)
    weight = layer.weight[None] * scales[:, None, :, None, None]
    weight = weight / (weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8 / layer.scale**2).sqrt()
    if layer.smoothing is not None:  # Correlation of maps with zeros between their values, with turned weights.
        spread = maps.new_zeros(samples, in_channels, 2 * height - 1, 2 * width - 1)
        spread[:, :, ::2, ::2] = maps
        maps, weight, padding = spread, weight.flip(3, 4), 2
    else:
        padding = 1
    merged = maps.reshape(1, -1, *maps.shape[2:])
    result = conv2d(merged, weight.flatten(0, 1), padding=padding, groups=samples)
    result = result.reshape(samples, -1, *result.shape[2:])
    if layer.smoothing is not None:
        result = Smoothing(1, 4.0).to(result.dtype)(result)
    added = 0 if noise is None else layer.noise_strength * noise
    return leaky_relu(result + added + layer.bias[:, None, None], 0.2) * math.sqrt(2)


def test_demodulated_filters_have_norm_one():
    weight, scales = numbers(6, 5, 3, 3), 10 * numbers(4, 5, seed=1)
    factors = demodulation(weight, scales)
    filters = weight[None] * scales[:, None, :, None, None] * factors[:, :, None, None, None]
    torch.testing.assert_close(filters.flatten(2).norm(dim=2), torch.ones(4, 6))


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("with_noise", [False, True])
def test_scaled_maps_equal_scaled_weights(up: bool, with_noise: bool):
    layer = build_layer(5, 6, up=up)
    maps, style = numbers(3, 5, 4, 6), numbers(3, 7, seed=4)
    noise = numbers(3, 1, *((8, 12) if up else (4, 6)), seed=5) if with_noise else None
    result = layer(maps, style, noise)
    assert result.shape == (3, 6, *((8, 12) if up else (4, 6)))
    torch.testing.assert_close(result, grouped(layer, maps, style, noise), rtol=1e-5, atol=1e-5)


def test_gradients_of_both_forms_are_equal():
    layer = build_layer(5, 6, up=True).double()
    maps, style = numbers(3, 5, 4, 4, dtype=torch.float64).requires_grad_(), numbers(3, 7, seed=4).double()
    weights = [maps, *layer.parameters()]
    noise = numbers(1, 1, 8, 8, seed=5).double()
    one = torch.autograd.grad(layer(maps, style, noise).square().sum(), weights)
    other = torch.autograd.grad(grouped(layer, maps, style, noise).square().sum(), weights)
    for gradient, expected in zip(one, other, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)


def test_output_has_unit_deviation_for_independent_inputs():
    """sqrt(2) undoes the leaky ReLU: E lrelu(z)^2 = (1 + 0.04) / 2 for z ~ N(0, 1).

    Doubling interpolates: independent values lose 1 - (1/16 + 9/16)^2 of their power, smooth maps do not.
    """
    maps, style = numbers(8, 64, 16, 16), numbers(8, 7, seed=4)
    for up, power in ((False, 1.04), (True, 1.04 * (10 / 16) ** 2)):
        layer = build_layer(64, 64, up=up)
        with torch.no_grad():
            layer.bias.zero_()
        result = layer(maps, style)[:, :, 2:-2, 2:-2]
        assert result.square().mean().item() == pytest.approx(power, rel=0.05)


def test_scale_of_the_style_has_no_effect_after_demodulation():
    layer = build_layer(5, 6)
    maps, style = numbers(2, 5, 4, 4), numbers(2, 7, seed=4)
    one = layer(maps, style)
    with torch.no_grad():
        layer.affine.weight.mul_(3)
        layer.affine.bias.mul_(3)
    torch.testing.assert_close(layer(maps, style), one, rtol=1e-4, atol=1e-5)


def test_output_layer_is_a_modulated_convolution_without_demodulation():
    layer = ModulatedOutput(5, 3, 7)
    initialise_equalised(layer, SOURCE().manual_seed(1))
    initialise_modulated(layer, SOURCE().manual_seed(2))
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    maps, style = numbers(4, 5, 6, 8), numbers(4, 7, seed=4)
    scaled = maps * (layer.affine(style) / math.sqrt(5))[:, :, None, None]
    torch.testing.assert_close(layer(maps, style), conv2d(scaled, layer.weight, layer.bias))


def test_mixed_precision_stays_finite_and_close():
    layer = build_layer(8, 8)
    maps, style = numbers(2, 8, 8, 8), numbers(2, 7, seed=4)
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(maps, style, numbers(1, 1, 8, 8))
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.float(), layer(maps, style, numbers(1, 1, 8, 8)), rtol=0.05, atol=0.05)
