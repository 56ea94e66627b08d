"""Layers of style-based generators: mapping network, adaptive instance normalisation, blur, mixing, truncation."""

import math

import pytest
import torch
from torch.nn.functional import pad

from equipoise.nn.blur import blur
from equipoise.nn.equalised import EqualLinear, initialise_equalised
from equipoise.nn.style import StyledLayer, adaptive_instance_norm, initialise_noise, mix_styles
from equipoise.nn.style_mapping import MappingNetwork, truncate_styles


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed))


def parameters(network):
    return sum(weight.numel() for weight in network.parameters())


def create_mapping(latent_dim=6, style_dim=8, **options):
    network = MappingNetwork(latent_dim, style_dim, **options)
    initialise_equalised(network, seeded())
    return network


def test_parameters_of_the_mapping_network():
    """Karras 2019: 8 layers of 512; Karras 2020, conditional CIFAR-10: an embedding of 10 labels and a wider layer."""
    with torch.device("meta"):
        assert parameters(MappingNetwork(512, 512)) == 2_101_248
        added = parameters(MappingNetwork(512, 512, layers=2, classes=10)) - parameters(
            MappingNetwork(512, 512, layers=2)
        )
    assert added == 10 * 512 + 512 + 512 * 512


def test_styles_do_not_depend_on_the_length_of_the_latent():
    network, z = create_mapping(), normal(4, 6)
    torch.testing.assert_close(network(z), network(7 * z))


def test_styles_depend_on_labels():
    network, z = create_mapping(classes=3), normal(1, 6).expand(3, -1)
    w = network(z, torch.arange(3))
    assert w.shape == (3, 8)
    assert (w[0] - w[1]).abs().max() > 1e-3
    with pytest.raises(ValueError, match="label"):
        network(z)


@pytest.mark.parametrize("multiplier", [1.0, 0.01])
def test_lr_multiplier_scales_the_update_but_not_the_layer(multiplier):
    """With multiplier mu, a step of Adam moves the effective matrix and bias mu times as far (Karras 2019, app. C)."""
    layer = EqualLinear(200, 300, gain=math.sqrt(2), lr_multiplier=multiplier)
    initialise_equalised(layer, seeded())
    x = normal(100, 200, seed=1)
    assert layer(x).std().item() == pytest.approx(math.sqrt(2), rel=0.05)

    def effective():
        return torch.cat([layer(torch.eye(200)) - layer(torch.zeros(200, 200)), layer(torch.zeros(1, 200))]).detach()

    before = effective()
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3, betas=(0.0, 0.99))
    layer(x).square().sum().backward()
    optimizer.step()
    change = (effective() - before).abs()
    torch.testing.assert_close(
        change[:-1], torch.full((200, 300), 1e-3 * multiplier * math.sqrt(2 / 200)), rtol=0.1, atol=2e-7
    )
    torch.testing.assert_close(change[-1], torch.full((300,), 1e-3 * multiplier), rtol=0.01, atol=1e-9)


def test_mean_style_is_a_running_mean():
    network, w = create_mapping(), normal(5, 8).requires_grad_()
    network.update_average(w, 0.9)
    network.update_average(w, 0.9)
    torch.testing.assert_close(network.w_avg, (1 - 0.9**2) * w.detach().mean(0))
    assert not network.w_avg.requires_grad
    assert "w_avg" in network.state_dict()


def test_truncation_of_styles():
    styles, mean = normal(2, 5, 8), normal(8, seed=1)
    assert torch.equal(truncate_styles(styles, mean, 1.0), styles)
    assert torch.equal(truncate_styles(styles, mean, 0.0), mean.expand(2, 5, 8))
    half = truncate_styles(styles, mean, 0.5, cutoff=2)
    torch.testing.assert_close(half[:, :2], (styles[:, :2] + mean) / 2)
    assert torch.equal(half[:, 2:], styles[:, 2:])
    assert torch.equal(truncate_styles(styles, mean, 0.5, cutoff=0), styles)
    assert torch.equal(truncate_styles(styles, mean, 0.5, cutoff=9), truncate_styles(styles, mean, 0.5))


def test_adaptive_instance_norm_sets_mean_and_deviation():
    maps = normal(3, 4, 8, 8) * 5 + 2
    scale, shift = normal(3, 4, seed=1), normal(3, 4, seed=2)
    result = adaptive_instance_norm(maps, scale, shift)
    torch.testing.assert_close(result.mean((2, 3)), shift, atol=1e-5, rtol=0)
    torch.testing.assert_close(result.std((2, 3), correction=0), (1 + scale).abs(), atol=1e-5, rtol=0)
    constant = adaptive_instance_norm(torch.ones(3, 4, 8, 8), scale, shift)
    torch.testing.assert_close(constant, shift[:, :, None, None].expand(-1, -1, 8, 8))
    assert adaptive_instance_norm(maps.half(), scale, shift).dtype == torch.float16


def test_blur_is_the_binomial_filter():
    x = normal(2, 3, 5, 6)
    rows = pad(x, (0, 0, 1, 1))
    rows = (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4
    both = pad(rows, (1, 1))
    torch.testing.assert_close(blur(x), (both[..., :-2] + 2 * both[..., 1:-1] + both[..., 2:]) / 4)
    assert blur(torch.ones(1, 1, 4, 4))[0, 0, 1:-1, 1:-1].eq(1).all()


def test_noise_has_no_effect_at_first_and_a_strength_per_channel():
    layer = StyledLayer(3, 4, 8, 6, doubles=True)
    initialise_equalised(layer, seeded())
    initialise_noise(layer, seeded())
    assert layer.noise.std() > 0.5
    maps, style = normal(2, 3, 3, 3), normal(2, 8)
    assert layer(maps, style, None).shape == (2, 4, 6, 6)
    assert torch.equal(layer(maps, style, None), layer(maps, style, layer.noise))
    layer.strength.data[1] = 0.5
    changed = (layer(maps, style, None) != layer(maps, style, layer.noise)).flatten(2).any(2).all(0)
    assert changed.tolist() == [False, True, False, False]


def test_crossover_selects_the_styles_of_each_layer():
    first, second = normal(4, 5, 8), normal(4, 5, 8, seed=1)
    mixed = mix_styles(first, second, torch.tensor([5, 0, 2, 4]))
    assert torch.equal(mixed[0], first[0])
    assert torch.equal(mixed[1], second[1])
    assert torch.equal(mixed[2], torch.cat([first[2, :2], second[2, 2:]]))
    assert torch.equal(mixed[3], torch.cat([first[3, :4], second[3, 4:]]))
