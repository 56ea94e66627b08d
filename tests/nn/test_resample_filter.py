"""Filters [1, 3, 3, 1]: values, adjoints and derivatives, against a second derivation."""

import pytest
import torch
from torch.nn.functional import interpolate

from equipoise.nn.resample_filter import FilteredDownsampling, FilteredUpsampling, Smoothing


def random_maps(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def filter_matrix(size: int, before: int, after: int) -> torch.Tensor:
    """Matrix of one axis of the filter at every position, with zeros added before and after; size + b + a - 3 rows."""
    matrix = torch.zeros(size + before + after - 3, size, dtype=torch.float64)
    for row in range(len(matrix)):
        for tap, weight in enumerate((1, 3, 3, 1)):
            column = row + tap - before
            if 0 <= column < size:
                matrix[row, column] = weight / 8
    return matrix


def test_smoothing_is_a_matrix_per_axis():
    maps = random_maps(2, 3, 6, 8)
    rows, columns = filter_matrix(6, 2, 2), filter_matrix(8, 2, 2)
    smoothing = Smoothing(padding=2, gain=3.0).double()
    torch.testing.assert_close(smoothing(maps), 3 * rows @ maps @ columns.T)
    assert smoothing(maps).shape == (2, 3, 7, 9)


def test_downsampling_keeps_every_second_value_of_the_filtered_maps():
    maps = random_maps(2, 3, 6, 8)
    filtered = filter_matrix(6, 1, 2) @ maps @ filter_matrix(8, 1, 2).T
    torch.testing.assert_close(FilteredDownsampling().double()(maps), filtered[:, :, ::2, ::2])


def test_upsampling_filters_maps_with_zeros_between_their_values():
    maps = random_maps(2, 3, 5, 4)
    spread = torch.zeros(2, 3, 10, 8, dtype=torch.float64)
    spread[:, :, ::2, ::2] = maps
    expected = 4 * filter_matrix(10, 2, 1) @ spread @ filter_matrix(8, 2, 1).T
    result = FilteredUpsampling().double()(maps)
    torch.testing.assert_close(result, expected)
    bilinear = interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(result[:, :, 1:-1, 1:-1], bilinear[:, :, 1:-1, 1:-1])


@pytest.mark.parametrize("module", [Smoothing(2), Smoothing(1, 4.0), FilteredUpsampling(), FilteredDownsampling()])
def test_first_and_second_derivatives_are_exact(module):
    maps = random_maps(1, 1, 2, 4).requires_grad_()
    module = module.double()
    assert torch.autograd.gradcheck(module, (maps,))
    assert torch.autograd.gradgradcheck(lambda x: module(x).tanh(), (maps,))


@pytest.mark.parametrize("module", [Smoothing(2), FilteredUpsampling(), FilteredDownsampling()])
def test_maps_keep_their_memory_format_and_bytes(module):
    maps = random_maps(2, 8, 8, 8, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    without_graph = module(maps)
    with_graph = module(maps.clone().requires_grad_())
    assert with_graph.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(with_graph, without_graph)
    assert not module.state_dict()
