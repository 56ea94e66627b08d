"""Path length regularisation: lengths of linear generators, and a penalty of zero at the mean."""

import math

import pytest
import torch

from equipoise.losses.path_length import path_length_memory, path_length_penalty, path_lengths


def lengths_of_linear(matrix: torch.Tensor, samples: int, height: int = 2) -> torch.Tensor:
    """Path lengths of g(w) = A w as images (1, height, width), A (height width, D), one style."""
    width = matrix.shape[0] // height
    styles = torch.zeros(samples, 1, matrix.shape[1]).requires_grad_()
    images = (styles[:, 0] @ matrix.T).reshape(samples, 1, height, width)
    return path_lengths(images, styles, torch.Generator().manual_seed(0))


def test_mean_square_of_a_linear_generator_is_its_squared_norm_per_pixel():
    matrix = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    expected = matrix.square().sum().item() / 8
    assert lengths_of_linear(matrix, 40_000).square().mean().item() == pytest.approx(expected, rel=0.02)


def test_mean_length_of_orthonormal_columns_is_that_of_a_chi_distribution():
    """E |y| for y ~ N(0, 1 / (H W)) in 6 dimensions and 16 pixels: sqrt(2) Gamma(7/2) / Gamma(3) / 4 = 0.5875."""
    matrix = torch.linalg.qr(torch.randn(16, 6, generator=torch.Generator().manual_seed(1))).Q
    expected = math.sqrt(2) * math.gamma(3.5) / math.gamma(3) / 4
    assert expected == pytest.approx(0.5875, abs=1e-4)
    assert lengths_of_linear(matrix, 40_000, height=4).mean().item() == pytest.approx(expected, rel=0.01)


def test_squares_are_averaged_over_layers():
    """A style that two layers share moves the image as far as the mean of their squares."""
    styles = torch.zeros(3, 2, 4).requires_grad_()
    images = (styles[:, 0] + 2 * styles[:, 1]).reshape(3, 1, 2, 2)
    lengths = path_lengths(images, styles, torch.Generator().manual_seed(0))
    y = torch.randn(3, 1, 2, 2, generator=torch.Generator().manual_seed(0)) / 2
    torch.testing.assert_close(lengths, y.flatten(1).norm(dim=1) * math.sqrt((1 + 4) / 2))


def test_penalty_is_zero_where_all_lengths_are_the_mean():
    result = path_length_penalty(torch.full((4,), 3.0), {"path_length_mean": torch.tensor(3.0)})
    assert result.penalty == 0
    assert result.memory["path_length_mean"] == 3


def test_mean_moves_by_a_hundredth_and_has_no_gradient():
    lengths = torch.tensor([1.0, 3.0], requires_grad=True)
    result = path_length_penalty(lengths, path_length_memory())
    assert result.memory["path_length_mean"].item() == pytest.approx(0.02)
    assert not result.memory["path_length_mean"].requires_grad
    assert result.penalty.item() == pytest.approx((0.98**2 + 2.98**2) / 2)
    (gradient,) = torch.autograd.grad(result.penalty, lengths)
    torch.testing.assert_close(gradient, torch.tensor([0.98, 2.98]))


def test_gradient_is_finite_where_the_generator_is_constant():
    weight = torch.zeros(4, 3, requires_grad=True)
    styles = torch.ones(2, 1, 3, requires_grad=True)
    lengths = path_lengths((styles[:, 0] @ weight.T).reshape(2, 1, 2, 2), styles, torch.Generator().manual_seed(0))
    path_length_penalty(lengths, path_length_memory()).penalty.backward()
    assert weight.grad is not None
    assert weight.grad.isfinite().all()
