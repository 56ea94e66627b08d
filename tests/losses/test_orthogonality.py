"""Orthogonal regularisation (Brock 2019, equation 3)."""

import pytest
import torch
from torch import nn

from equipoise.losses.orthogonality import filter_weights, orthogonality
from equipoise.nn.spectral import spectral_norm


def test_value_by_hand() -> None:
    """Rows (1, 1), (1, -1), (1, 0): inner products 0, 1 and 1, each counted twice."""
    assert orthogonality([torch.tensor([[1.0, 1.0], [1.0, -1.0], [1.0, 0.0]])]) == 4


def test_orthogonal_filters_are_not_penalised_whatever_their_norm() -> None:
    weight = nn.init.orthogonal_(torch.empty(4, 9), generator=torch.Generator().manual_seed(0)) * 5
    assert orthogonality([weight]).item() == pytest.approx(0, abs=1e-8)
    assert orthogonality([torch.eye(3), 7 * torch.eye(3)]) == 0


def test_weights_add_up_and_convolutions_are_matrices() -> None:
    source = torch.Generator().manual_seed(0)
    convolution = torch.randn(5, 3, 2, 2, generator=source)
    linear = torch.randn(4, 6, generator=source)
    expected = sum(
        (row @ other) ** 2
        for matrix in (convolution.reshape(5, 12), linear)
        for i, row in enumerate(matrix)
        for j, other in enumerate(matrix)
        if i != j
    )
    torch.testing.assert_close(orthogonality([convolution, linear]), expected)


@pytest.mark.parametrize("shape", [(5, 3), (3, 8), (4, 2, 3, 3)])
def test_gradient_is_four_times_the_product(shape: tuple[int, ...]) -> None:
    """4 (W W^T * (1 - I)) W, in double precision, also against finite differences."""
    weight = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(orthogonality([weight]), weight)
    matrix = weight.detach().flatten(1)
    products = matrix @ matrix.T
    products.fill_diagonal_(0)
    torch.testing.assert_close(gradient.flatten(1), 4 * products @ matrix)
    assert torch.autograd.gradcheck(lambda w: orthogonality([w]), weight)


def test_low_precision_is_computed_in_float32() -> None:
    weight = torch.randn(6, 40, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert orthogonality([weight]).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert orthogonality([weight.float()]) == orthogonality([weight.float()])


def test_weights_of_layers_before_spectral_normalisation() -> None:
    layers = nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 5), nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3))
    plain = filter_weights(layers)
    spectral_norm(layers[1], torch.Generator().manual_seed(0))
    normalised = filter_weights(layers)
    assert [tuple(weight.shape) for weight in normalised] == [(5, 4), (3, 2, 3, 3)]
    assert all(torch.equal(one, other) for one, other in zip(plain, normalised, strict=True))


def test_nothing_to_penalise() -> None:
    with pytest.raises(ValueError, match="no weights"):
        orthogonality([])
