"""Maximum mean discrepancy as a loss."""

import math

import pytest
import torch

from equipoise.losses.discrepancy import FACTORS, mmd


def features(count: int, shift: float = 0.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed)).double() + shift


def test_mmd_equals_the_sum_over_pairs() -> None:
    first, second, width = features(3), features(4, 1.0, 1), 1.5

    def kernel(x, y):
        return math.exp(-(x - y).square().sum().item() / (2 * width**2))

    expected = sum(kernel(x, y) for x in first for y in first) / 9
    expected += sum(kernel(x, y) for x in second for y in second) / 16
    expected -= 2 * sum(kernel(x, y) for x in first for y in second) / 12
    assert mmd(first, second, width).item() == pytest.approx(expected)


def test_default_bandwidths_are_multiples_of_the_median() -> None:
    first, second = features(6), features(6, 1.0, 1)
    middle = torch.pdist(torch.cat([first, second])).median().item()
    expected = sum(mmd(first, second, factor * middle).item() for factor in FACTORS) / len(FACTORS)
    assert mmd(first, second).item() == pytest.approx(expected)


def test_mmd_is_0_for_equal_features_and_increases_with_distance() -> None:
    same = features(50)
    assert mmd(same, same.clone()).item() == pytest.approx(0, abs=1e-12)
    near, far = (mmd(same, features(50, shift, 1)).item() for shift in (0.3, 1.0))
    assert 0 < near < far


def test_gradient_equals_finite_differences() -> None:
    first, second = features(4).requires_grad_(), features(4, 1.0, 1)
    assert torch.autograd.gradcheck(lambda rows: mmd(rows, second, 2.0), first)


def test_median_is_constant_for_the_gradient() -> None:
    first, second = features(4).requires_grad_(), features(4, 1.0, 1)
    middle = torch.pdist(torch.cat([first.detach(), second])).median().item()
    fixed = sum(mmd(first, second, factor * middle) for factor in FACTORS) / len(FACTORS)
    (expected,) = torch.autograd.grad(fixed, first)
    (result,) = torch.autograd.grad(mmd(first, second), first)
    torch.testing.assert_close(result, expected)


def test_equal_features_have_a_finite_gradient() -> None:
    """All distances and their median are 0."""
    first = torch.zeros(4, 3, requires_grad=True)
    mmd(first, torch.zeros(4, 3)).backward()
    assert first.grad.isfinite().all()
