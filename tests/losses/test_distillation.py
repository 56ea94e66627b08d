"""Losses of distillation against second derivations, exact solutions for Gaussians, and their fixed points."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from equipoise.losses.distillation import (
    consistency_output,
    distribution_matching,
    euler_step,
    gradient_share,
    pseudo_huber,
    score_identity,
)

SHAPE = (5, 2, 4, 3)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*(shape or SHAPE), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian_denoiser(noisy: Tensor, sigma: Tensor, mean: float, std: float) -> Tensor:
    """Denoise samples of N(mean, std²) exactly: (std² x + σ² mean) / (std² + σ²)."""
    level = sigma.reshape(-1, 1, 1, 1)
    return (std**2 * noisy + level**2 * mean) / (std**2 + level**2)


def test_gradient_of_distribution_matching_is_the_difference_of_scores() -> None:
    """DMD: (y_f - y_r) / mean|x - y_r| / count."""
    x, y_r, y_f = draw(0).requires_grad_(), draw(1), draw(2)
    (gradient,) = torch.autograd.grad(distribution_matching(x, y_r, y_f), x)
    scale = (x - y_r).abs().flatten(1).mean(1).reshape(-1, 1, 1, 1)
    torch.testing.assert_close(gradient, ((y_f - y_r) / scale / x.numel()).detach())


def test_no_gradient_of_distribution_matching_reaches_the_scores() -> None:
    y_r, y_f = draw(1).requires_grad_(), draw(2).requires_grad_()
    loss = distribution_matching(draw(0).requires_grad_(), y_r, y_f)
    assert torch.autograd.grad(loss, [y_r, y_f], allow_unused=True) == (None, None)


@pytest.mark.parametrize("loss", [distribution_matching, score_identity])
def test_gradient_is_zero_where_the_scores_agree(loss) -> None:
    """For score_identity the scores agree as functions, so that their derivatives agree, too."""
    x, sigma = draw(3).requires_grad_(), torch.full((5,), 0.7, dtype=torch.float64)
    noisy = x + 0.7 * draw(4)
    y_r, y_f = (gaussian_denoiser(noisy, sigma, 0.2, 0.5) for _ in range(2))
    value = loss(x, y_r, y_f)
    (gradient,) = torch.autograd.grad(value, x)
    assert value.item() == 0.0
    assert torch.equal(gradient, torch.zeros_like(x))


@pytest.mark.parametrize("loss", [distribution_matching, score_identity])
@pytest.mark.parametrize("mean", [-1.0, 0.5])
def test_descent_moves_samples_towards_the_data(loss, mean: float) -> None:
    """Data N(0, 0.5²), samples N(mean, 0.5²), both scores exact: the mean of the samples moves to 0."""
    x, sigma = (mean + 0.5 * draw(5, 400, 1, 1, 1)).requires_grad_(), torch.full((400,), 1.0, dtype=torch.float64)
    noisy = x + draw(6, 400, 1, 1, 1)
    y_r, y_f = (gaussian_denoiser(noisy, sigma, center, 0.5) for center in (0.0, mean))
    (gradient,) = torch.autograd.grad(loss(x, y_r, y_f), x)
    assert torch.sign(gradient.mean()) == math.copysign(1, mean)


def test_score_identity_against_its_other_form() -> None:
    """SiD: (1 - α)|δ|² + δ (y_f - x), δ = y_r - y_f, is the same function."""
    x, y_r, y_f, alpha = draw(0), draw(1), draw(2), 1.2
    difference = y_r - y_f
    scale = (x - y_r).abs().flatten(1).mean(1).reshape(-1, 1, 1, 1)
    expected = (((1 - alpha) * difference**2 + difference * (y_f - x)) / scale).mean()
    torch.testing.assert_close(score_identity(x, y_r, y_f, alpha), expected)


def test_consistency_output_at_the_boundary_is_its_input() -> None:
    noisy, denoised = draw(0).float(), draw(1).float()
    lowest = torch.full((5,), 0.002)
    assert torch.equal(consistency_output(noisy, denoised, lowest, 0.002), noisy)


def test_consistency_output_is_a_step_to_the_boundary() -> None:
    noisy, denoised, sigma = draw(0), draw(1), torch.linspace(0.5, 20, 5, dtype=torch.float64)
    step = euler_step(noisy, denoised, sigma, torch.full_like(sigma, 0.002))
    torch.testing.assert_close(consistency_output(noisy, denoised, sigma, 0.002), step)


def test_small_euler_steps_solve_the_flow_of_a_gaussian() -> None:
    """dx = (x - D) / σ dσ for data N(0, d²): x(σ') = x(σ) sqrt((d² + σ'²) / (d² + σ²))."""
    levels = torch.linspace(2.0, 0.5, 2001, dtype=torch.float64)
    noisy = start = draw(0)
    for first, following in itertools.pairwise(levels):
        sigma, below = first.expand(5), following.expand(5)
        noisy = euler_step(noisy, gaussian_denoiser(noisy, sigma, 0.0, 0.5), sigma, below)
    expected = start * math.sqrt((0.25 + 0.25) / (0.25 + 4.0))
    torch.testing.assert_close(noisy, expected, rtol=1e-3, atol=1e-5)


def test_pseudo_huber_is_a_distance_for_large_differences_and_a_square_for_small_ones() -> None:
    output, count = draw(0), 24
    c = 0.00054 * math.sqrt(count)
    far, near = output + 10.0, output + 1e-6
    assert pseudo_huber(output, output).item() == 0.0
    assert pseudo_huber(far, output).item() == pytest.approx(10.0, rel=1e-3)
    expected = 1e-12 * count / (2 * c) / math.sqrt(count)
    assert pseudo_huber(near, output).item() == pytest.approx(expected, rel=1e-2)


def test_pseudo_huber_does_not_move_its_target() -> None:
    target = draw(1).requires_grad_()
    loss = pseudo_huber(draw(0).requires_grad_(), target)
    assert torch.autograd.grad(loss, target, allow_unused=True) == (None,)


def test_share_of_two_gradients() -> None:
    first, second = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 15.0])
    assert gradient_share(first, second).item() == pytest.approx(0.25)
    assert gradient_share(first, torch.zeros(2)).item() == 1.0
    assert gradient_share(torch.zeros(2), torch.zeros(2)).item() == 0.0
