"""The synthesis network without aliasing: its layers, normalisation, and equivariance without training."""

import math

import pytest
import torch
from torch.nn.functional import conv2d, interpolate, leaky_relu

from equipoise.nn.alias_free import (
    AliasFreeConvolution,
    AliasFreeSynthesis,
    initialise_alias_free,
    layer_maps,
)
from equipoise.nn.filtered_activation import FilteredLeakyReLU

STYLE_DIM = 16


def maps_of(size=32, layers=8, margin=10, channel_base=1024, max_channels=32):
    return layer_maps(
        size, layers=layers, critical=2, margin=margin, channel_base=channel_base, max_channels=max_channels
    )


def network(kernel=3, seed=0, **options):
    result = AliasFreeSynthesis(
        maps_of(**options), 3, STYLE_DIM, critical=2, kernel=kernel, radial=kernel == 1
    ).requires_grad_(False)
    initialise_alias_free(result, torch.Generator().manual_seed(seed))
    return result


def test_table_of_layers_at_32_pixels():
    maps = maps_of(max_channels=512)
    assert [round(each.band.cutoff, 2) for each in maps] == [2, 2.83, 4, 5.66, 8, 11.31, 16, 16, 16]
    assert [each.band.rate for each in maps] == [16, 16, 16, 32, 32, 32, 32, 32, 32]
    assert [each.size for each in maps] == [36, 36, 36, 52, 52, 52, 52, 32, 32]
    assert [each.channels for each in maps] == [256, 181, 128, 91, 64, 45, 32, 32, 32]


def test_table_of_layers_at_1024_pixels():
    """The layers of configuration T as its authors name them, by size and channels."""
    maps = maps_of(1024, layers=14, channel_base=32768, max_channels=512)
    names = "36_512 36_512 52_512 52_512 84_512 148_512 148_512 276_323 276_203 532_128 1044_81 1044_51 1044_32 1024_32"
    assert [f"{each.size}_{each.channels}" for each in maps[:-1]] == names.split()
    first, last = maps[0].band, maps[-1].band
    assert (first.cutoff, first.half_width) == (2, 6)
    assert (last.cutoff, last.half_width) == (512, pytest.approx(512 * (2**0.3 - 1)))


@pytest.mark.parametrize("kernel", [1, 3])
def test_convolution_equals_filters_scaled_per_sample(kernel):
    """Karras 2020, StyleGAN2, equations 1 and 3, with one convolution per sample."""
    layer = AliasFreeConvolution((5, 7), kernel, STYLE_DIM)
    initialise_alias_free(layer, torch.Generator().manual_seed(0))
    layer.magnitude.fill_(4.0)
    source = torch.Generator().manual_seed(1)
    maps, styles = torch.randn(3, 5, 9, 9, generator=source), torch.randn(3, STYLE_DIM, generator=source)
    for x, style, result in zip(maps, styles, layer(maps, styles), strict=True):
        filters = layer.weight * layer.affine(style[None])[0][:, None, None]
        filters = filters / filters.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        assert filters.square().sum(dim=(1, 2, 3)).tolist() == pytest.approx([1] * 7)
        expected = conv2d(x[None] / 2, filters, padding=kernel - 1)
        assert torch.allclose(result, expected[0], atol=1e-5)


def test_layer_of_colours_is_not_demodulated():
    layer = AliasFreeConvolution((5, 3), 1, STYLE_DIM, demodulate=False)
    initialise_alias_free(layer, torch.Generator().manual_seed(0))
    x, style = torch.randn(1, 5, 4, 4), torch.randn(1, STYLE_DIM)
    filters = layer.weight * layer.affine(style)[0][:, None, None] / math.sqrt(5)
    assert torch.allclose(layer(x, style), conv2d(x, filters), atol=1e-5)


def test_magnitude_is_a_running_mean_square_that_normalises():
    layer = AliasFreeConvolution((5, 7), 3, STYLE_DIM)
    initialise_alias_free(layer, torch.Generator().manual_seed(0))
    x, style = 3 * torch.randn(4, 5, 16, 16, generator=torch.Generator().manual_seed(1)), torch.zeros(4, STYLE_DIM)
    before = layer(x, style)
    assert layer.magnitude == 1
    layer(x, style, decay=0.5)
    assert layer.magnitude.item() == pytest.approx(0.5 + 0.5 * x.square().mean().item())
    for _ in range(40):
        after = layer(x, style, decay=0.5)
    assert (before.std() / after.std()).item() == pytest.approx(x.square().mean().sqrt().item(), rel=1e-3)
    assert after[:, :, 2:-2, 2:-2].std().item() == pytest.approx(1, abs=0.1)


def test_samples_do_not_depend_on_each_other():
    synthesis = network(size=16, layers=6, margin=4)
    styles = torch.randn(3, synthesis.styles, STYLE_DIM, generator=torch.Generator().manual_seed(2))
    other = styles.clone()
    other[1:] *= 5
    assert torch.equal(synthesis(styles)[0], synthesis(other)[0])


def test_each_layer_takes_its_own_style():
    synthesis = network(size=16, layers=4, margin=4)
    assert synthesis.styles == 6
    initialise = torch.Generator().manual_seed(3)
    synthesis.input.affine.weight.normal_(generator=initialise)
    styles = torch.randn(1, 6, STYLE_DIM, generator=initialise)
    images = synthesis(styles)
    for index in range(6):
        changed = styles.clone()
        changed[:, index] += 1
        assert (synthesis(changed) - images).abs().max() > 1e-3


def test_synthesis_does_not_change_running_means_without_a_decay():
    synthesis = network(size=16, layers=4, margin=4)
    styles = torch.randn(2, synthesis.styles, STYLE_DIM, generator=torch.Generator().manual_seed(2))
    before = {name: value.clone() for name, value in synthesis.state_dict().items()}
    synthesis(styles)
    assert all(torch.equal(value, before[name]) for name, value in synthesis.state_dict().items())
    synthesis(styles, decay=0.9)
    changed = [name for name, value in synthesis.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == [name for name in before if name.endswith("magnitude")]


def equivariance(synthesis, pixels, size=32):
    """Return the PSNR in dB of images of a scene that is moved by whole pixels, for images of std 0.5."""
    styles = torch.randn(1, synthesis.styles, STYLE_DIM, generator=torch.Generator().manual_seed(5))
    move = torch.eye(3)
    move[0, 2] = pixels / size
    images, moved = synthesis(styles), synthesis(styles, move)
    error = (images[..., pixels:] - moved[..., :-pixels]).square().mean() / images.var()
    return 20 * math.log10(2) - 10 * math.log10(error.item() / 4)


def activate_plainly(self, x):
    """Leaky ReLU, then nearest-neighbour upsampling and cropping: the filtered activation without its filters."""
    active = interpolate(leaky_relu(x, 0.2) * math.sqrt(2), scale_factor=self.up // self.down)
    edge = (active.shape[-1] - self.size) // 2
    return active[..., edge : edge + self.size, edge : edge + self.size]


@pytest.fixture
def plain(monkeypatch):
    """Replace filtered activations by plain ones in networks that are built in the test."""
    build = FilteredLeakyReLU.__init__

    def remember_size(self, sizes, bands, **options):
        build(self, sizes, bands, **options)
        self.size = sizes[1]

    monkeypatch.setattr(FilteredLeakyReLU, "__init__", remember_size)
    monkeypatch.setattr(FilteredLeakyReLU, "forward", activate_plainly)


@pytest.mark.parametrize(("options", "least"), [({}, 75), ({"layers": 6, "margin": 6}, 50), ({"kernel": 1}, 95)])
def test_untrained_networks_are_equivariant_to_odd_shifts(options, least):
    """Two pixels at 32 x 32 are one of the coarsest map: every network without borders passes such a shift."""
    synthesis = network(**options)
    assert all(equivariance(synthesis, pixels) >= least for pixels in (1, 3))


def test_narrow_margins_limit_equivariance():
    """The borders of the maps leak inside: measured 57, 45 and 32 dB at margins of 6, 4 and 2 pixels."""
    values = [equivariance(network(layers=6, margin=margin), 1) for margin in (10, 6, 4)]
    assert values == sorted(values, reverse=True)
    assert values[1] > 50 > values[2] > 40


@pytest.mark.usefixtures("plain")
def test_networks_with_plain_leaky_relus_are_not():
    synthesis = network()
    assert all(equivariance(synthesis, pixels) < 30 for pixels in (1, 3))
    assert equivariance(synthesis, 2) > 100


def test_filters_of_resampling_alone_are_far_from_enough(monkeypatch):
    """A plain leaky ReLU before filtered resampling reaches 59 dB, the filtered one 88: less than 30 dB takes a network
    without filters, because most layers are far below the limit of their sampling rate."""
    monkeypatch.setattr(
        FilteredLeakyReLU, "forward", lambda self, x: self.downsample(self.upsample(leaky_relu(x, 0.2)))
    )
    plain = equivariance(network(), 1)
    monkeypatch.undo()
    assert 50 < plain < 65
    assert equivariance(network(), 1) > plain + 20
