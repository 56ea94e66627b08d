"""Losses that distil a diffusion model into a generator of one or few steps. Pure functions; nothing here is trained.

Notation, all tensors (B, ...): x are samples of the student, x_t = x + sigma n their noised versions, y_r = D_real(x_t)
the denoising of the teacher, y_f = D_fake(x_t) that of the fake score, a network that is trained on samples of the
student. Both are scores: grad log p(x_t) = (D(x_t) - x_t) / sigma^2 (Karras 2022, eq. 3), so that y_f - y_r is
proportional to the gradient of the Kullback-Leibler divergence between the noised distributions. sg(.) is a constant.
"""

import math

import torch
from torch import Tensor

from equipoise.losses.adversarial import at_least_float32

SCORE_IDENTITY_ALPHA = 1.2
"""alpha of the score identity in the settings of the authors' code (Zhou 2024)."""
HUBER_SCALE = 0.00054
"""c / sqrt(numbers of a sample) of the pseudo-Huber distance (Song and Dhariwal 2024, section 3.3)."""
SMALLEST = 1e-6
"""Least value of a mean absolute difference that is divided by."""


def distribution_matching(samples: Tensor, real_denoised: Tensor, fake_denoised: Tensor) -> Tensor:
    """1/2 E|x - sg(x - g)|^2, g = (y_f - y_r) / mean|x - y_r|, a scalar: Yin 2024 (DMD), eqs. 7 and 8.

    The mean over all numbers, where the paper has the sum. Its gradient is that of the divergence: g / numel, and 0
    where both scores agree. No gradient reaches the networks that gave `real_denoised` and `fake_denoised`.
    """
    x, y_r, y_f = (at_least_float32(tensor) for tensor in (samples, real_denoised, fake_denoised))
    with torch.no_grad():
        g = (y_f - y_r) / _mean_distance(x, y_r)
        target = x - g
    return (x - target).square().mean() / 2


def score_identity(
    samples: Tensor, real_denoised: Tensor, fake_denoised: Tensor, alpha: float = SCORE_IDENTITY_ALPHA
) -> Tensor:
    """E (y_r - y_f) ((y_r - x) - alpha (y_r - y_f)) / sg(mean|x - y_r|), a scalar: Zhou 2024 (SiD), algorithm 1.

    The mean over all numbers, where the paper has the sum. Here the gradient passes through both scores to the samples;
    it is 0 where the two networks agree as functions.
    """
    x, y_r, y_f = (at_least_float32(tensor) for tensor in (samples, real_denoised, fake_denoised))
    difference = y_r - y_f
    return (difference * ((y_r - x) - alpha * difference) / _mean_distance(x, y_r).detach()).mean()


def consistency_output(noisy: Tensor, denoised: Tensor, sigma: Tensor, sigma_min: float) -> Tensor:
    """s/t x + (1 - s/t) D(x), s = sigma_min, t = sigma: Kim 2024 (CTM), eq. 9, so that f(x, sigma_min) = x exactly.

    The boundary condition of Song 2023, eq. 5, for a denoiser with any scalings. It is one step of the probability flow
    to `sigma_min`. `sigma`: (B,), at least `sigma_min`.
    """
    share = sigma_min / expand(sigma, noisy)
    return share * noisy + (1 - share) * denoised


def euler_step(noisy: Tensor, denoised: Tensor, sigma: Tensor, next_sigma: Tensor) -> Tensor:
    """x + (sigma' - sigma) (x - D(x)) / sigma: one step of the probability flow (Karras 2022, algorithm 1, line 5).

    `sigma`, `next_sigma`: (B,), positive.
    """
    level, following = expand(sigma, noisy), expand(next_sigma, noisy)
    return noisy + (following - level) * (noisy - denoised) / level


def pseudo_huber(output: Tensor, target: Tensor) -> Tensor:
    """E sqrt(|f - f'|^2 + c^2) - c over the batch, divided by sqrt(n): Song and Dhariwal 2024, section 3.3.

    |.|^2 is the sum over the n numbers of a sample and c = 0.00054 sqrt(n). Divided, so that the weight of the term
    does not depend on the size of the images. The target is a constant.
    """
    difference = (at_least_float32(output) - at_least_float32(target).detach()).flatten(1)
    count = difference.shape[1]
    c = HUBER_SCALE * math.sqrt(count)
    return ((difference.square().sum(1) + c**2).sqrt() - c).mean() / math.sqrt(count)


def gradient_share(first: Tensor, second: Tensor) -> Tensor:
    """|a| / (|a| + |b|), a scalar in [0, 1], of the gradients of two terms at the same outputs; 0 if both are 0.

    The ratio |b| / |a| is the adaptive weight of Esser 2021 (VQGAN), eq. 7, there at the last layer.
    """
    norm, other = (at_least_float32(gradient).norm() for gradient in (first, second))
    share: Tensor = norm / (norm + other).clamp_min(torch.finfo(norm.dtype).tiny)
    return share


def expand(values: Tensor, like: Tensor) -> Tensor:
    """Return values (B,) as (B, 1, ...), to be multiplied with samples (B, ...)."""
    return values.reshape(-1, *(1,) * (like.dim() - 1))


def _mean_distance(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean of |x - y| over the numbers of each sample, (B, 1, ...)."""
    return (x - y).abs().mean(dim=tuple(range(1, x.dim())), keepdim=True).clamp_min(SMALLEST)
