"""Preconditioning of denoisers (Karras 2022, table 1), and DDPM's network as a denoiser (Ho 2020)."""

import math

import pytest
import torch
from torch import Tensor, nn

from equipoise.nn.denoiser import Denoiser, NoisePrediction, VarianceScale
from equipoise.nn.unet import DenoisingUNet, UNetLayout, initialise_unet

SIGMA = torch.tensor([0.002, 0.1, 0.5, 3.0, 80.0])
LAYOUT = UNetLayout(image_channels=1, size=8, width=8, multipliers=(1, 2), blocks=1, classes=3)


def build_denoiser(scale: VarianceScale | NoisePrediction) -> Denoiser:
    """Build a denoiser whose last layer is not 0."""
    network = DenoisingUNet(LAYOUT)
    initialise_unet(network, torch.Generator().manual_seed(0))
    nn.init.normal_(network.exit.weight, generator=torch.Generator().manual_seed(1))
    return Denoiser(network, scale)


class Linear(nn.Module):
    """A stand-in for a network: F(x) = a x."""

    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, image: Tensor, *others: object) -> Tensor:
        return self.factor * image


@pytest.mark.parametrize("d", [0.5, 0.9])
def test_inputs_and_targets_of_the_network_have_variance_one(d: float) -> None:
    """c_in² (σ² + d²) = 1, and (y - c_skip x) / c_out of y ~ N(0, d²), n ~ N(0, σ²) has variance 1."""
    factors = VarianceScale(d)(SIGMA)
    skip, output, scale = (part.flatten().double() for part in (factors.skip, factors.output, factors.input))
    sigma = SIGMA.double()
    torch.testing.assert_close(scale**2 * (sigma**2 + d**2), torch.ones(5).double())
    target = ((1 - skip) ** 2 * d**2 + skip**2 * sigma**2) / output**2
    torch.testing.assert_close(target, torch.ones(5).double(), rtol=1e-4, atol=0)
    torch.testing.assert_close(factors.noise, SIGMA.log() / 4)


def test_weight_makes_the_loss_that_of_the_network() -> None:
    """λ = (σ² + d²) / (σ d)²."""
    denoiser = build_denoiser(VarianceScale(0.5))
    expected = (SIGMA**2 + 0.25) / (0.5 * SIGMA) ** 2
    torch.testing.assert_close(denoiser.weight(SIGMA).flatten(), expected)


def test_a_network_that_returns_zero_is_best_for_gaussian_data() -> None:
    """D = c_skip x is the posterior mean of N(0, d²)."""
    denoiser = build_denoiser(VarianceScale(0.5))
    nn.init.zeros_(denoiser.network.exit.weight)
    noisy = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    expected = noisy * (0.25 / (0.25 + SIGMA**2))[:, None, None, None]
    torch.testing.assert_close(denoiser(noisy, SIGMA), expected)


def test_loss_at_the_start() -> None:
    """E (σ² ρ² / d² + d²) / (σ² + d²) with F = 0, ρ the root mean square of the data: 1 if ρ = d."""
    denoiser = build_denoiser(VarianceScale(0.5))
    nn.init.zeros_(denoiser.network.exit.weight)
    source = torch.Generator().manual_seed(3)
    for rms in (0.5, 0.9):
        y = rms * torch.randn(400, 1, 8, 8, generator=source)
        sigma = torch.full((400,), 0.8)
        noisy = y + 0.8 * torch.randn(400, 1, 8, 8, generator=source)
        loss = (denoiser.weight(sigma) * (denoiser(noisy, sigma) - y).square()).mean().item()
        assert loss == pytest.approx((0.8**2 * rms**2 / 0.25 + 0.25) / (0.8**2 + 0.25), rel=0.03)


def test_data_of_one_point() -> None:
    """The network that solves data of one point y: F = (y - c_skip x) / c_out, which is bounded at every level."""
    scale, y = VarianceScale(0.5), torch.full((5, 1, 8, 8), 0.3)
    factors = scale(SIGMA)
    noisy = y + SIGMA[:, None, None, None] * torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    solution = (y - factors.skip * noisy) / factors.output
    assert solution.abs().max() < 5
    network = Linear(solution / (factors.input * noisy))
    torch.testing.assert_close(Denoiser(network, scale)(noisy, SIGMA), y, rtol=0, atol=2e-5)


def test_levels_of_the_chain() -> None:
    """σ² = (1 - ᾱ) / ᾱ for β from 1e-4 to 0.02 (Ho 2020, section 4)."""
    sigmas = NoisePrediction().sigmas
    kept = 1.0
    for step in range(1000):
        kept *= 1 - (1e-4 + (0.02 - 1e-4) * step / 999)
    assert sigmas[0].item() == pytest.approx(math.sqrt(1e-4 / (1 - 1e-4)))
    assert sigmas[-1].item() == pytest.approx(math.sqrt((1 - kept) / kept), rel=1e-4)
    assert kept == pytest.approx(4.04e-5, rel=0.01)
    assert (sigmas.diff() > 0).all()


def test_time_of_a_level_inverts_the_chain() -> None:
    scale = NoisePrediction()
    torch.testing.assert_close(scale.time(scale.sigmas), torch.arange(1000.0), rtol=0, atol=2e-3)
    between = (scale.sigmas[10] * scale.sigmas[11]).sqrt()
    torch.testing.assert_close(scale.time(between[None]), torch.tensor([10.5]), rtol=0, atol=1e-3)
    assert scale.time(torch.tensor([1e-6, 1e6])).tolist() == [0, 999]


def test_the_loss_of_ddpm_is_the_error_of_the_predicted_noise() -> None:
    """Ho 2020, equation 14: |ε - ε_θ(sqrt(ᾱ) y + sqrt(1 - ᾱ) ε, t)|²."""
    denoiser, time = build_denoiser(NoisePrediction()), torch.tensor([0, 300, 999])
    sigma = denoiser.scale.sigmas[time]
    source = torch.Generator().manual_seed(4)
    y, epsilon = torch.randn(2, 3, 1, 8, 8, generator=source)
    kept = (1 / (1 + sigma**2))[:, None, None, None]
    predicted = denoiser.network(kept.sqrt() * y + (1 - kept).sqrt() * epsilon, time.float())
    noisy = y + sigma[:, None, None, None] * epsilon
    loss = denoiser.weight(sigma) * (denoiser(noisy, sigma) - y).square()
    torch.testing.assert_close(loss.mean((1, 2, 3)), (epsilon - predicted).square().mean((1, 2, 3)), rtol=1e-3, atol=0)


@pytest.mark.parametrize("scale", [VarianceScale(0.5), NoisePrediction()])
def test_factors_are_float32_in_low_precision(scale: VarianceScale | NoisePrediction) -> None:
    denoiser = build_denoiser(scale)
    noisy, sigma = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0.002, 2.0])
    with torch.autocast("cpu", torch.bfloat16):
        denoised = denoiser(noisy, sigma)
    assert denoised.dtype == torch.float32
    torch.testing.assert_close(denoised[0], denoiser(noisy, sigma)[0], rtol=0, atol=1e-3)


def test_features_have_the_size_of_the_lowest_level() -> None:
    denoiser = build_denoiser(VarianceScale(0.5))
    features = denoiser.features(torch.zeros(2, 1, 8, 8), torch.ones(2), torch.tensor([0, 2]))
    assert features.shape == (2, LAYOUT.feature_channels, 4, 4)
