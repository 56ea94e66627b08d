"""The leaky ReLU without aliasing: against a naive derivation, and how well it commutes with shifts."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import leaky_relu, pad

from equipoise.nn import filtered_activation
from equipoise.nn.filtered_activation import Band, FilteredLeakyReLU

CRITICAL = 2**0.3 - 1
"""Half width of the transition band of a critically sampled map, relative to its cutoff."""


def band(rate, cutoff):
    return Band(rate, cutoff, rate / 2 - cutoff if cutoff < rate / 2 else CRITICAL * cutoff)


def resample_naively(signal, filter, up, down, padding):
    """Insert zeros, pad or crop both ends, filter by np.convolve, decimate: one axis of (H, W)."""

    def along(row):
        zeros = np.zeros(len(row) * up)
        zeros[::up] = row
        low, high = padding
        zeros = np.pad(zeros, (max(low, 0), max(high, 0)))
        zeros = zeros[max(-low, 0) : len(zeros) - max(-high, 0)]
        return np.convolve(zeros, filter, "valid")[::down]

    return np.apply_along_axis(along, 0, np.apply_along_axis(along, 1, signal))


def published_padding(before, after, up, down, up_taps, down_taps):
    """Karras 2021's padding of the map with inserted zeros, before the filters: (low, high)."""
    total = (after - 1) * down + 1 - before * up + up_taps + down_taps - 2
    low = (total + up) // 2
    return low, total - low


@pytest.mark.parametrize(
    ("sizes", "rates"),
    [
        ((38, 36), (16, 16)),  # two more pixels by a convolution 3 x 3 with padding 2
        ((36, 36), (16, 16)),  # as with 1 x 1
        ((38, 52), (16, 32)),
        ((36, 52), (16, 32)),
        ((54, 32), (32, 32)),  # the margin is cropped
        ((30, 76), (16, 64)),
    ],
)
def test_equals_zero_insertion_padding_filtering_and_decimation(sizes, rates):
    layer = FilteredLeakyReLU(sizes, (band(rates[0], 4.0), band(rates[1], 8.0)))
    maps = torch.randn(2, 3, sizes[0], sizes[0], generator=torch.Generator().manual_seed(0))
    result = layer(maps.contiguous(memory_format=torch.channels_last))
    assert result.shape == (2, 3, sizes[1], sizes[1])
    assert result.is_contiguous(memory_format=torch.channels_last)

    up_filter, down_filter = layer.up_filter.double().numpy(), layer.down_filter.double().numpy()
    padding = published_padding(*sizes, layer.up, layer.down, len(up_filter), len(down_filter))
    assert (len(up_filter), len(down_filter)) == (6 * layer.up, 6 * layer.down)
    for row, expected_row in zip(maps.double().numpy(), result.numpy(), strict=True):
        for map, expected in zip(row, expected_row, strict=True):
            wide = resample_naively(map, up_filter, layer.up, 1, padding)
            active = np.where(wide > 0, wide, 0.2 * wide)
            naive = resample_naively(active, down_filter, 1, layer.down, (0, 0))
            assert np.abs(naive - expected).max() < 2e-6


def test_derivative_along_a_direction_is_that_of_finite_differences():
    layer = FilteredLeakyReLU((9, 8), (band(16, 4.0), band(16, 4.0))).double()
    source = torch.Generator().manual_seed(0)
    maps, direction = torch.randn(2, 1, 2, 9, 9, generator=source, dtype=torch.float64)
    weights = torch.randn(1, 2, 8, 8, generator=source, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((layer(maps.requires_grad_()) * weights).sum(), maps)
    with torch.no_grad():
        ends = [(layer(maps + step * direction) * weights).sum() for step in (1e-6, -1e-6)]
    assert (gradient * direction).sum().item() == pytest.approx((ends[0] - ends[1]).item() / 2e-6, rel=1e-6)


def test_constants_are_activated_and_scaled_by_the_root_of_two():
    layer = FilteredLeakyReLU((60, 20), (band(16, 4.0), band(16, 4.0)))
    for constant, expected in [(1.0, math.sqrt(2)), (-1.0, -0.2 * math.sqrt(2)), (1000.0, 256.0)]:
        result = layer(torch.full((1, 1, 60, 60), constant))
        assert torch.allclose(result, torch.tensor(expected), rtol=2e-3)


def test_radial_filter_is_two_dimensional():
    maps = torch.randn(1, 2, 36, 36, generator=torch.Generator().manual_seed(0))
    bands = band(16, 4.0), band(16, 4.0)
    separable, radial = (FilteredLeakyReLU((36, 36), bands, radial=each) for each in (False, True))
    assert radial.down_filter.shape == (12, 12)
    assert radial(maps).shape == separable(maps).shape
    difference = (radial(maps) - separable(maps)).std() / separable(maps).std()
    assert 0.005 < difference < 0.2


def test_sizes_that_no_crop_reaches_are_refused():
    with pytest.raises(ValueError, match="cannot become"):
        FilteredLeakyReLU((8, 60), (band(16, 4.0), band(16, 4.0)))


SIZE, MARGIN = 64, 16


def noise(cutoff):
    """Return periodic white noise (1, 4, SIZE, SIZE) with all frequencies up to `cutoff` of the sampling rate."""
    spectrum = torch.fft.fft2(torch.randn(1, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).double())
    axis = torch.fft.fftfreq(SIZE).double()
    kept = (torch.hypot(axis[:, None], axis) <= cutoff) & (axis.abs()[:, None] < 0.5) & (axis.abs() < 0.5)
    maps = torch.fft.ifft2(spectrum * kept).real
    return maps / maps.std()


def shift(maps, x, y):
    """Move periodic maps by fractions of a pixel."""
    axis = torch.fft.fftfreq(SIZE).double()
    axis[SIZE // 2] = 0
    turn = torch.exp(-2j * math.pi * (axis[:, None] * y + axis * x))
    return torch.fft.ifft2(torch.fft.fft2(maps) * turn).real


def commutation(layer, cutoff):
    """Return how well a layer commutes with a shift of (0.5, 0.25) pixels: PSNR in dB, for results of std 0.5."""
    maps = noise(cutoff)
    result = layer(maps)
    error = (shift(result, 0.5, 0.25) - layer(shift(maps, 0.5, 0.25))).square().mean() / result.var()
    return 20 * math.log10(2) - 10 * math.log10(error.item() / 4)


def filtered(cutoff, oversampling):
    frequencies = band(SIZE, cutoff * SIZE)
    layer = FilteredLeakyReLU((SIZE + 2 * MARGIN, SIZE), (frequencies, frequencies), oversampling=oversampling)
    return lambda maps: layer.double()(pad(maps, (MARGIN,) * 4, mode="circular"))


@pytest.mark.parametrize(
    ("cutoff", "plain", "twice", "four_times"),
    [(1 / 8, 41.8, 71.7, 110.0), (1 / 4, 32.3, 60.4, 85.6), (1 / 2.83, 25.3, 51.7, 62.9), (1 / 2, 20.4, 31.6, 31.8)],
)
def test_shifts_commute_with_the_filtered_activation(cutoff, plain, twice, four_times):
    """Measured values, within 1 dB. At the critical rate (last row) oversampling gains least; at s / 2.83 the plain
    activation is below 30 dB, the filtered one above 50."""
    assert commutation(lambda maps: leaky_relu(maps, 0.2), cutoff) == pytest.approx(plain, abs=1)
    assert commutation(filtered(cutoff, 2), cutoff) == pytest.approx(twice, abs=1)
    assert commutation(filtered(cutoff, 4), cutoff) == pytest.approx(four_times, abs=1)


def test_batches_in_chunks_give_the_same_bits_and_gradients(monkeypatch):
    layer = FilteredLeakyReLU((38, 52), (band(16, 4.0), band(32, 8.0)))
    maps = torch.randn(5, 3, 38, 38, generator=torch.Generator().manual_seed(0)).requires_grad_()
    whole = layer(maps)
    gradient = torch.autograd.grad(whole.square().sum(), maps)[0]
    monkeypatch.setattr(filtered_activation, "CHUNK", 2 * 3 * 118**2)
    chunked = layer(maps)
    assert torch.equal(chunked, whole)
    assert torch.equal(torch.autograd.grad(chunked.square().sum(), maps)[0], gradient)
    assert torch.equal(layer(maps.detach()), whole)


def test_derivative_has_a_derivative():
    """The layer is piecewise linear: its gradient along v, derived by the weights of the outputs, is the Jacobian v."""
    layer = FilteredLeakyReLU((9, 8), (band(16, 4.0), band(16, 4.0))).double()
    source = torch.Generator().manual_seed(0)
    maps, direction = torch.randn(2, 1, 1, 9, 9, generator=source, dtype=torch.float64)
    weights = torch.randn(1, 1, 8, 8, generator=source, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad((layer(maps.requires_grad_()) * weights).sum(), maps, create_graph=True)
    (product,) = torch.autograd.grad((gradient * direction).sum(), weights)
    with torch.no_grad():
        expected = (layer(maps + 1e-6 * direction) - layer(maps - 1e-6 * direction)) / 2e-6
    assert torch.allclose(product, expected, rtol=1e-5, atol=1e-7)
