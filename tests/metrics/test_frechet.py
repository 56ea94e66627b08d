"""The Fréchet distance, its resamples and its warnings."""

import math

import pytest
import torch

from equipoise.core.metric import Bootstrap, ReferenceSet
from equipoise.data.digits import Digits
from equipoise.errors import DataError
from equipoise.metrics import _frechet
from equipoise.metrics._frechet import GaussianMoments, compute_moments, frechet_distance, low_rank_distance
from equipoise.metrics.fd_digits import FdDigits
from equipoise.metrics.fd_pixels import FdPixels


def normal(count, dimensions, seed, scale=1.0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(count, dimensions, generator=generator, dtype=torch.float64) + shift


def distance(real, fake):
    return _frechet.compute(real, fake, Bootstrap(), alternative="kd").value


@pytest.mark.parametrize(("sizes", "dimensions"), [((40, 30), 6), ((12, 9), 20), ((200, 300), 64), ((9, 40), 30)])
def test_distance_equals_a_second_derivation(sizes, dimensions):
    """Computed from eigenvalues of covariances, and from singular values of the rows."""
    real, fake = normal(sizes[0], dimensions, 0), normal(sizes[1], dimensions, 1, 1.3, 0.4)
    by_eigenvalues = frechet_distance(compute_moments(real), compute_moments(fake))
    assert low_rank_distance(real, fake) == pytest.approx(by_eigenvalues, rel=1e-6)
    assert distance(real, fake) == pytest.approx(by_eigenvalues, rel=1e-6)
    assert distance(real, fake) == pytest.approx(distance(fake, real), rel=1e-6)


def test_distance_of_axis_aligned_gaussians():
    """Σ (μ₁ - μ₂)² + (σ₁ - σ₂)²."""
    first = GaussianMoments(torch.tensor([0.0, 1.0]).double(), torch.diag(torch.tensor([4.0, 9.0]).double()))
    second = GaussianMoments(torch.tensor([2.0, 1.0]).double(), torch.diag(torch.tensor([1.0, 16.0]).double()))
    assert frechet_distance(first, second) == pytest.approx(4 + 1 + 1)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-12)


def test_moments_use_row_weights():
    rows, times = normal(20, 3, 0), torch.randint(0, 4, (20,), generator=torch.Generator().manual_seed(0))
    weighed, repeated = compute_moments(rows, times), compute_moments(rows.repeat_interleave(times, dim=0))
    assert torch.allclose(weighed.mean, repeated.mean)
    assert torch.allclose(weighed.covariance, repeated.covariance)
    assert torch.allclose(repeated.covariance, rows.repeat_interleave(times, dim=0).T.cov())


def test_nan_features_give_nan():
    real = normal(20, 3, 0)
    assert math.isnan(distance(real, torch.full_like(real, math.nan)))
    assert math.isnan(distance(real, torch.full_like(real, math.inf)))
    assert math.isnan(distance(normal(5, 200, 0), torch.full((5, 200), math.nan)))


def test_fewer_than_two_samples_are_refused():
    for dimensions in (3, 200):
        with pytest.raises(DataError, match="at least 2 samples on each side, not 1"):
            distance(normal(5, dimensions, 0), normal(1, dimensions, 0))


def test_interval_contains_values_of_other_samples():
    """28 or 29 of 30 intervals are expected to contain the mean of all; 24 or fewer have a probability of 1/500."""
    pairs = [(normal(150, 4, 2 * seed), normal(250, 4, 2 * seed + 1, 1.3, 0.5)) for seed in range(30)]
    figures = [_frechet.compute(real, fake, Bootstrap(60), alternative="kd") for real, fake in pairs]
    middle = sum(result.value for result in figures) / len(figures)
    contains = [result.interval[0] < middle < result.interval[1] for result in figures]
    assert sum(contains) >= 25
    widths = [result.interval[1] - result.interval[0] for result in figures]
    values = torch.tensor([result.value for result in figures])
    assert sum(widths) / len(widths) == pytest.approx(3.92 * values.std().item(), rel=0.35)


def test_first_order_resamples_approximate_exact_ones(monkeypatch):
    real, fake = normal(600, 5, 0), normal(800, 5, 1, 1.4, 0.5)
    exact = _frechet.compute(real, fake, Bootstrap(60), alternative="kd").resampled
    monkeypatch.setattr(_frechet, "MAX_EXACT_FEATURES", 0)
    first = _frechet.compute(real, fake, Bootstrap(60), alternative="kd").resampled
    assert not torch.equal(first, exact)
    assert torch.corrcoef(torch.stack([first, exact]))[0, 1] > 0.99
    assert first.std() == pytest.approx(exact.std().item(), rel=0.1)


def test_fewer_samples_than_features_give_a_warning():
    real, fake = normal(30, 40, 0), normal(200, 40, 1)
    (warning,) = _frechet.compute(real, fake, Bootstrap(), alternative="kd_digits").warnings
    assert all(word in warning for word in ("30 reals", "40 features", "use kd_digits"))
    (warning,) = _frechet.compute(fake, real, Bootstrap(), alternative="kd_digits").warnings
    assert "30 samples" in warning
    assert _frechet.compute(real[:, :9], fake[:, :9], Bootstrap(), alternative="kd_digits").warnings == ()


def test_fd_digits_ranks_samples_by_quality():
    held_out = Digits(16).stream("held_out", 800, 0).batch(0).real
    train = Digits(16).stream("train", 800, 0).batch(0)
    noise = torch.rand(200, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for metric in (FdDigits(), FdPixels()):
        statistics = metric.statistics(ReferenceSet(held_out))
        result = [
            metric.value(statistics, images)
            for images in (train.real, train.real[train.condition == 3], train.real[:1].expand(200, -1, -1, -1), noise)
        ]
        assert result[0] < result[1] < min(result[2:])


def test_fd_pixels_equals_the_lab_formula():
    """The formula of the digits lab, mean and covariance of flattened pixels, with another derivation of the root."""
    held_out = Digits(16).stream("held_out", 150, 0).batch(0).real
    train = Digits(16).stream("train", 120, 0).batch(0).real
    result = FdPixels().value(FdPixels().statistics(ReferenceSet(held_out)), train)
    assert result == pytest.approx(
        frechet_distance(compute_moments(held_out.flatten(1)), compute_moments(train.flatten(1))), rel=1e-6
    )
