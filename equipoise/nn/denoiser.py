"""Denoisers: a network with the factors around it that make it predict clean images at every noise level.

D(x; σ) = c_skip x + c_out F(c_in x; c_noise), x = y + σ n, n ~ N(0, 1) (Karras et al. 2022, "Elucidating the Design
Space of Diffusion-Based Generative Models", equation 7). All diffusion models here are functions of x and σ in these
units, so that every sampler and every distillation works with each of them.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Generator, Tensor, nn

from equipoise.nn.unet import DenoisingUNet


@dataclass(frozen=True, slots=True)
class Preconditioning:
    """The factors c_skip, c_out, c_in, each (B, 1, 1, 1), and c_noise (B,); float32."""

    skip: Tensor
    output: Tensor
    input: Tensor
    noise: Tensor


class VarianceScale(nn.Module):
    """The factors of EDM (Karras 2022, table 1), for data with standard deviation d.

    c_skip = d² / (σ² + d²), c_out = σ d / sqrt(σ² + d²), c_in = 1 / sqrt(σ² + d²), c_noise = ln(σ) / 4: inputs and
    targets of the network have variance 1. d, `sigma_data`, is a property of the data: 0.5 in the paper.
    """

    def __init__(self, sigma_data: float) -> None:
        super().__init__()
        self.sigma_data = sigma_data

    def forward(self, sigma: Tensor) -> Preconditioning:
        """Compute the factors of noise levels (B,)."""
        sigma, d = sigma.float(), self.sigma_data
        variance = sigma.square() + d**2
        skip, output, scale = d**2 / variance, sigma * d * variance.rsqrt(), variance.rsqrt()
        return Preconditioning(_spread(skip), _spread(output), _spread(scale), sigma.log() / 4)


class NoisePrediction(nn.Module):
    """The factors of DDPM (Ho 2020), whose network predicts the noise: D(x; σ) = x - σ ε(x / sqrt(1 + σ²), t).

    t = 0 … T - 1 is the level with σ_t = sqrt((1 - ᾱ_t) / ᾱ_t), ᾱ_t the product of 1 - β_s for s <= t, β from 1e-4 to
    0.02 in equal steps (section 4). Between two levels, t is linear in ln(σ); beyond the first and the last, constant.
    """

    sigmas: Tensor
    """(T,), ascending: 0.01 to 157 for T = 1,000."""

    def __init__(self, levels: int = 1000, beta_first: float = 1e-4, beta_last: float = 0.02) -> None:
        super().__init__()
        beta = torch.linspace(beta_first, beta_last, levels, dtype=torch.float64, device="cpu")
        kept = (1 - beta).cumprod(0)
        self.register_buffer("sigmas", ((1 - kept) / kept).sqrt().float(), persistent=False)

    def forward(self, sigma: Tensor) -> Preconditioning:
        """Compute the factors of noise levels (B,)."""
        sigma = sigma.float()
        scale = (1 + sigma.square()).rsqrt()
        return Preconditioning(_spread(torch.ones_like(sigma)), _spread(-sigma), _spread(scale), self.time(sigma))

    def time(self, sigma: Tensor) -> Tensor:
        """Return t (B,), float32 in [0, T - 1], of noise levels."""
        logs, log = self.sigmas.log(), sigma.log()
        above = torch.searchsorted(logs, log).clamp(1, len(logs) - 1)
        share = (log - logs[above - 1]) / (logs[above] - logs[above - 1])
        return (above - 1) + share.clamp(0, 1)


class Denoiser(nn.Module):
    """D(x; σ): noisy images and their noise levels -> estimates of the clean images.

    `network`: F, see :class:`equipoise.nn.unet.DenoisingUNet`. `scale`: the factors around it. The factors and sums are
    float32, also in low precision.
    """

    def __init__(self, network: DenoisingUNet, scale: VarianceScale | NoisePrediction) -> None:
        super().__init__()
        self.network, self.scale = network, scale

    def forward(
        self,
        noisy: Tensor,
        sigma: Tensor,
        labels: Tensor | None = None,
        augmentation: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Estimate the mean of the clean images (B, C, H, W), float32, unbounded, from noisy ones (B, C, H, W).

        `sigma`: (B,) float32 > 0. `labels`: (B,) int64, -1 or None for no label. `augmentation`: (B, A) or None.
        `generator`: of dropout; None disables it, as in inference.
        """
        factors = self.scale(sigma)
        noisy = noisy.float()
        output = self.network(factors.input * noisy, factors.noise, labels, augmentation, generator)
        result: Tensor = factors.skip * noisy + factors.output * output.float()
        return result

    def guided(self, noisy: Tensor, sigma: Tensor, labels: Tensor | None, w: float | None) -> Tensor:
        """Compute D(x) + w (D(x, c) - D(x)) (Ho and Salimans 2022, equation 6, for denoisers), as :meth:`forward`.

        Both are evaluated in one batch. D(x, c) alone if w is None or 1, or without labels.
        """
        if w is None or w == 1 or labels is None:
            return cast(Tensor, self(noisy, sigma, labels))
        both = torch.cat([labels, torch.full_like(labels, -1)])
        conditional, unconditional = self(noisy.repeat(2, 1, 1, 1), sigma.repeat(2), both).chunk(2)
        return cast(Tensor, unconditional + w * (conditional - unconditional))

    def features(self, noisy: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Compute the network's maps of the lowest level, (B, F, h, w), F `network.layout.feature_channels`."""
        factors = self.scale(sigma)
        return self.network.features(factors.input * noisy.float(), factors.noise, labels)

    def forward_with_features(
        self, noisy: Tensor, sigma: Tensor, labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute what :meth:`forward` and :meth:`features` return, in one pass."""
        factors = self.scale(sigma)
        noisy = noisy.float()
        output, maps = self.network.forward_with_features(factors.input * noisy, factors.noise, labels)
        return factors.skip * noisy + factors.output * output.float(), maps

    def weight(self, sigma: Tensor) -> Tensor:
        """Compute λ(σ) = 1 / c_out², (B, 1, 1, 1): the weight of |D - y|² that makes the network's loss that of F.

        (σ² + d²) / (σ d)² for EDM (table 1), 1 / σ² for DDPM, which is its loss |ε̂ - ε|² (equation 14).
        """
        factors: Preconditioning = self.scale(sigma)
        return factors.output.square().reciprocal()


def _spread(values: Tensor) -> Tensor:
    """Shape (B,) as (B, 1, 1, 1)."""
    return values[:, None, None, None]
