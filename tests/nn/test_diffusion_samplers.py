"""Samplers of diffusion models, on data whose best denoiser is known (Karras 2022; Ho 2020; Song 2021; Lu 2022)."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from equipoise.nn.diffusion_samplers import (
    SAMPLERS,
    karras_levels,
    keyed_noise,
    noise_keys,
    sample_ancestral,
    sample_ddim,
    sample_dpm_2m,
    sample_heun,
)

STD = 0.5


def denoise_gaussian(noisy: Tensor, sigma: Tensor) -> Tensor:
    """D(x) = d² / (d² + σ²) x: the best denoiser of data from N(0, d²)."""
    spread = sigma.double().view(-1, 1, 1, 1)
    return STD**2 / (STD**2 + spread**2) * noisy


def relative_error(sampler, levels) -> float:
    """Compare with the exact solution x_0 = x_T d / sqrt(d² + σ_T²)."""
    source = torch.Generator().manual_seed(0)
    noisy = levels[0] * torch.randn(2, 1, 8, 8, generator=source, dtype=torch.float64)
    exact = noisy * STD / math.sqrt(STD**2 + levels[0] ** 2)
    return float((sampler(denoise_gaussian, noisy, levels) - exact).norm() / exact.norm())


def test_levels_are_those_of_the_paper() -> None:
    levels = karras_levels(18)
    assert len(levels) == 19
    expected = [80, 57.586, 40.786, 28.375, 19.353, 12.910]
    assert levels[:6] == pytest.approx(expected, rel=3e-5)
    assert levels[-4:] == pytest.approx([0.022935, 0.007528, 0.002, 0.0], rel=1e-4)
    assert karras_levels(1, sigma_max=7.0) == pytest.approx((7.0, 0.0))


@pytest.mark.parametrize(("count", "error"), [(2, 79.0), (3, 3.0946), (9, 0.2781), (18, 0.0553), (40, 0.0098)])
def test_heun_has_the_known_error_on_gaussian_data(count: int, error: float) -> None:
    """The first row of the table in docs/reference/models/edm.md; 2 N - 1 evaluations."""
    assert relative_error(sample_heun, karras_levels(count)) == pytest.approx(error, rel=0.01)


@pytest.mark.parametrize(
    ("sigma_max", "errors"),
    [
        (80.0, {3: 0.6138, 9: 0.1572, 18: 0.0623}),
        (20.0, {3: 0.1469, 5: 0.0544, 9: 0.1401, 18: 0.0355}),
        (10.0, {3: 0.0461, 5: 0.1424, 9: 0.1180, 18: 0.0262}),
    ],
)
def test_dpm_2m_has_the_known_error_on_gaussian_data(sigma_max: float, errors: dict[int, float]) -> None:
    """The other rows of that table."""
    actual = {count: relative_error(sample_dpm_2m, karras_levels(count, sigma_max=sigma_max)) for count in errors}
    assert actual == pytest.approx(errors, rel=0.01)


@pytest.mark.parametrize(("sampler", "order"), [(sample_ddim, 1), (sample_dpm_2m, 2), (sample_heun, 2)])
def test_order_of_convergence(sampler, order: int) -> None:
    """Halved steps in ln(σ) divide the error by 2^order; the last step, from a level near 0, adds little."""

    def error(count: int) -> float:
        return relative_error(sampler, (*torch.logspace(1, -4, count, dtype=torch.float64).tolist(), 0.0))

    ratios = [error(count) / error(2 * count - 1) for count in (129, 257)]
    assert ratios == pytest.approx([2.0**order] * 2, rel=0.1)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_data_of_one_point_are_reached_exactly(name: str) -> None:
    point = torch.full((2, 1, 4, 4), 0.3)
    noisy = 20 * torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    samples = SAMPLERS[name](lambda noisy, sigma: point, noisy, karras_levels(5, sigma_max=20.0))
    torch.testing.assert_close(samples, point)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_number_of_evaluations(name: str) -> None:
    levels_seen: list[float] = []

    def denoise(noisy: Tensor, sigma: Tensor) -> Tensor:
        assert sigma.shape == (2,)
        levels_seen.append(float(sigma[0]))
        return 0 * noisy

    levels = karras_levels(6)
    SAMPLERS[name](denoise, torch.ones(2, 1, 4, 4), levels)
    assert len(levels_seen) == (11 if name == "heun" else 6)
    assert sorted(set(levels_seen), reverse=True) == pytest.approx(levels[:-1])


def variance_preserving(sigma: float) -> float:
    """Return ᾱ of a noise level: σ² = (1 - ᾱ) / ᾱ."""
    return 1 / (1 + sigma**2)


def test_a_step_of_ddim_is_equation_12() -> None:
    """In Song's units x = sqrt(ᾱ) y + sqrt(1 - ᾱ) ε, with the noise predicted by ε = (x - y) / σ."""
    high, low = 3.0, 0.7
    x = high * torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = denoise_gaussian(x, torch.tensor([high, high]))
    epsilon, before, after = (x - y) / high, variance_preserving(high), variance_preserving(low)
    x_t = math.sqrt(before) * x
    expected = math.sqrt(after) * (x_t - math.sqrt(1 - before) * epsilon) / math.sqrt(before)
    expected = expected + math.sqrt(1 - after) * epsilon
    one_step = sample_ddim(lambda noisy, sigma: y, x, (high, low))
    torch.testing.assert_close(math.sqrt(after) * one_step, expected)


def test_a_step_of_the_ancestral_sampler_is_the_posterior() -> None:
    """Ho 2020, equation 7: mean and variance of x_{t-1} given x_t and x_0, in its units."""
    high, low = 3.0, 0.7
    x = high * torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = denoise_gaussian(x, torch.tensor([high, high]))
    before, after = variance_preserving(high), variance_preserving(low)
    alpha = before / after
    beta, x_t = 1 - alpha, math.sqrt(before) * x
    mean = math.sqrt(after) * beta / (1 - before) * y + math.sqrt(alpha) * (1 - after) / (1 - before) * x_t
    deviation = math.sqrt((1 - after) / (1 - before) * beta)
    expected = mean + deviation * keyed_noise(noise_keys(x), 0, x)
    one_step = sample_ancestral(lambda noisy, sigma: y, x, (high, low))
    torch.testing.assert_close(math.sqrt(after) * one_step, expected)


def test_ancestral_samples_have_the_variance_of_gaussian_data() -> None:
    noisy = 80 * torch.randn(500, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    samples = sample_ancestral(denoise_gaussian, noisy, karras_levels(200))
    assert float(samples.std()) == pytest.approx(STD, rel=0.05)
    assert float(samples.mean()) == pytest.approx(0, abs=0.01)


def test_keyed_noise_is_normal_and_independent() -> None:
    images = torch.randn(64, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    keys = noise_keys(images)
    first, second = (keyed_noise(keys, step, images) for step in (0, 1))
    assert float(first.mean()) == pytest.approx(0, abs=0.03)
    assert float(first.square().mean()) == pytest.approx(1, abs=0.04)
    assert float(first.pow(4).mean()) == pytest.approx(3, abs=0.3)
    for one, other in itertools.combinations((first, second, images, first.roll(1, 0), first.roll(1, 3)), 2):
        assert float((one * other).mean()) == pytest.approx(0, abs=0.04)


def test_keyed_noise_belongs_to_one_image() -> None:
    images = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    together = keyed_noise(noise_keys(images), 5, images)
    alone = keyed_noise(noise_keys(images[1:2]), 5, images[1:2])
    assert torch.equal(together[1:2], alone)
    changed = images.clone()
    changed[1, 0, 0, 0] += 1e-6
    differs = (keyed_noise(noise_keys(changed), 5, changed) != together).flatten(1).any(1)
    assert differs.tolist() == [False, True, False]
