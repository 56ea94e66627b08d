"""Chain of noise: samples x_0 that become Gaussian noise in T steps, and the steps back if x_0 is known.

    q(x_t | x_s) = N(sqrt(a_t / a_s) x_s, (1 - a_t / a_s) I),  s < t
    q(x_s | x_t, x_0) = N(sqrt(a_s) b / (1 - a_t) x_0 + sqrt(a_t / a_s) (1 - a_s) / (1 - a_t) x_t,
                          (1 - a_s) / (1 - a_t) b I),  b = 1 - a_t / a_s

Ho et al. 2020 ("Denoising Diffusion Probabilistic Models"), equations 4, 6 and 7, where s is t - 1; a_t is their
alpha-bar: the share of x_0 in the variance of x_t. a_0 = 1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

FIRST_BETA, LAST_BETA = 1e-4, 0.02
"""Variances of the noise of the first and the last step: Ho 2020, section 4."""
BETA_MIN, BETA_MAX, START = 0.1, 20.0, 1e-3
"""Rates of the process in continuous time, at 0 and 1, and where it starts: Song et al. 2021 ("Score-Based Generative
Modeling through Stochastic Differential Equations"), appendix C."""


@dataclass(frozen=True, slots=True)
class NoiseChain:
    """Chain of noise. `log_shares`: ln a_t, (T + 1,) float32, from 0 down. Times are (B,) int64 from 0 to T."""

    log_shares: Tensor

    @property
    def length(self) -> int:
        """T."""
        return len(self.log_shares) - 1

    def add_noise(self, samples: Tensor, noise: Tensor, start: Tensor | None, end: Tensor, std: float = 1.0) -> Tensor:
        """Return x_t of x_s (B, ...), s `start`, None for 0, and t `end` (B,), with noise from N(0, 1).

        `std`: standard deviation of x_T if a_T is 0.
        """
        change = self._change(start, end, samples.ndim)
        return (change / 2).exp() * samples + std * (-change.expm1()).sqrt() * noise

    def step_back(self, clean: Tensor, noisy: Tensor, noise: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """Return x_s of q(x_s | x_t, x_0), (B, ...), with noise from N(0, 1); t is `start`, s `end` < t, both (B,).

        If s is 0, the result is x_0, to the bit.
        """
        log_s, log_t = (_expand(self.log_shares[time], noisy.ndim) for time in (end, start))
        rest_s, rest_t, b = -log_s.expm1(), -log_t.expm1(), -(log_t - log_s).expm1()
        mean = (log_s / 2).exp() * (b / rest_t) * clean + ((log_t - log_s) / 2).exp() * (rest_s / rest_t) * noisy
        return mean + (rest_s / rest_t * b).sqrt() * noise

    def _change(self, start: Tensor | None, end: Tensor, dimensions: int) -> Tensor:
        """Return ln(a_t / a_s), (B, 1, ...)."""
        log_t = self.log_shares[end]
        return _expand(log_t if start is None else log_t - self.log_shares[start], dimensions)


def linear_chain(length: int, device: torch.device) -> NoiseChain:
    """Return a chain whose steps have variances that rise linearly from 1e-4 to 0.02 (Ho 2020, section 4)."""
    betas = torch.linspace(FIRST_BETA, LAST_BETA, length, device=device)
    return NoiseChain(torch.cat([betas.new_zeros(1), (-betas).log1p().cumsum(0)]))


def continuous_chain(length: int, device: torch.device) -> NoiseChain:
    """Return a chain of few large steps, equally long in the time of the variance preserving process of Song 2021.

    ln a(u) = -u^2 (20 - 0.1) / 2 - 0.1 u, with u from 0.001, where a is set to 1 as in Xiao 2022's code, to 1.
    """
    u = START + (1 - START) * torch.arange(length + 1, device=device, dtype=torch.float32) / max(1, length)
    logs = -u.square() * (BETA_MAX - BETA_MIN) / 2 - BETA_MIN * u
    return NoiseChain(logs - logs[0])


def _expand(values: Tensor, dimensions: int) -> Tensor:
    """Return (B,) as (B, 1, ...) of a number of dimensions."""
    return values[(...,) + (None,) * (dimensions - 1)]
