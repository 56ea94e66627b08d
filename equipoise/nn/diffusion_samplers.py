"""Samplers of diffusion models: pure functions of a denoiser, noisy images and descending noise levels.

All have one signature, and solve or follow dx = (x - D(x; σ)) / σ dσ from the first level to 0 (Karras et al. 2022,
equation 3, with σ(t) = t). N levels before the last, 0, take N evaluations of the denoiser, 2 N - 1 for Heun.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from equipoise.core.sampling import SamplerName

Denoise = Callable[[Tensor, Tensor], Tensor]
"""Function of noisy images (B, ...) and noise levels (B,) that estimates the clean images."""
Sampler = Callable[[Denoise, Tensor, Sequence[float]], Tensor]
"""Function (denoise, noisy images (B, ...) of the first level, levels) -> images (B, ...). Levels descend to 0."""


def karras_levels(count: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> tuple[float, ...]:
    """Return noise levels: `count` from `sigma_max` to `sigma_min`, and 0 (Karras 2022, equation 5).

    σ_i = (σ_max^(1/ρ) + i / (N - 1) (σ_min^(1/ρ) - σ_max^(1/ρ)))^ρ; only σ_max and 0 for a count of 1.
    """
    first, last = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    steps = max(1, count - 1)
    return (*((first + index / steps * (last - first)) ** rho for index in range(count)), 0.0)


def sample_heun(denoise: Denoise, noisy: Tensor, levels: Sequence[float]) -> Tensor:
    """Solve by Heun's method of second order; the step to 0 is Euler's (Karras 2022, algorithm 1)."""
    for level, following in pairwise(levels):
        slope = (noisy - _estimate(denoise, noisy, level)) / level
        moved = noisy + (following - level) * slope
        if following > 0:
            other = (moved - _estimate(denoise, moved, following)) / following
            moved = noisy + (following - level) * (slope + other) / 2
        noisy = moved
    return noisy


def sample_dpm_2m(denoise: Denoise, noisy: Tensor, levels: Sequence[float]) -> Tensor:
    """Solve by DPM-Solver++(2M): second order with one evaluation per step (Lu et al. 2022, "DPM-Solver++", alg. 2).

    In λ = -ln(σ): x' = σ'/σ x + (1 - σ'/σ) D, D extrapolated from this and the previous estimate by half a step. The
    first step, and the one to 0, are of first order.
    """
    previous, last_step = None, 0.0
    for level, following in pairwise(levels):
        estimate = _estimate(denoise, noisy, level)
        step = math.log(level / following) if following > 0 else math.inf
        slanted = estimate
        if previous is not None and following > 0:
            slanted = estimate + step / (2 * last_step) * (estimate - previous)
        noisy = following / level * noisy + (1 - following / level) * slanted
        previous, last_step = estimate, step
    return noisy


def sample_ddim(denoise: Denoise, noisy: Tensor, levels: Sequence[float]) -> Tensor:
    """Follow DDIM (Song et al. 2021, "Denoising Diffusion Implicit Models", equation 12 with σ_t = 0).

    In these units it is Euler's method: x' = D + σ'/σ (x - D).
    """
    for level, following in pairwise(levels):
        estimate = _estimate(denoise, noisy, level)
        noisy = estimate + following / level * (noisy - estimate)
    return noisy


def sample_ancestral(denoise: Denoise, noisy: Tensor, levels: Sequence[float]) -> Tensor:
    """Follow DDPM's reverse process with the variance of the posterior (Ho 2020, equations 6 and 7).

    x' = D + σ'²/σ² (x - D) + σ' sqrt(1 - σ'²/σ²) z. The noise z is a function of the bits of the first images and of
    the number of the step: the same first image gives the same sample, bit for bit, whatever it is sampled with, and a
    slightly different one gives other noise.
    """
    keys = noise_keys(noisy)
    for index, (level, following) in enumerate(pairwise(levels)):
        estimate = _estimate(denoise, noisy, level)
        share = (following / level) ** 2
        noisy = estimate + share * (noisy - estimate)
        if following > 0:
            noisy = noisy + following * math.sqrt(1 - share) * keyed_noise(keys, index, noisy)
    return noisy


SAMPLERS: Mapping[SamplerName, Sampler] = {
    "heun": sample_heun,
    "dpm_2m": sample_dpm_2m,
    "ddim": sample_ddim,
    "ancestral": sample_ancestral,
}


def _estimate(denoise: Denoise, noisy: Tensor, level: float) -> Tensor:
    """Evaluate the denoiser at one noise level."""
    return denoise(noisy, torch.full(noisy.shape[:1], level, device=noisy.device))


_GOLDEN, _FIRST, _SECOND = -7046029254386353131, -4658895280553007687, -7723592293110705685
"""0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB as int64: constants of SplitMix64."""


def noise_keys(images: Tensor) -> Tensor:
    """Return a key per image (B,), int64: a hash of the bits of images (B, ...), float32. Without synchronisation."""
    bits = images.detach().float().contiguous().flatten(1).view(torch.int32).long()
    places = torch.arange(bits.shape[1], device=bits.device)
    return _scramble((_scramble(bits + _GOLDEN * (places + 1))).sum(dim=1))


def keyed_noise(keys: Tensor, step: int, like: Tensor) -> Tensor:
    """Compute N(0, 1) noise of the shape of `like` (B, ...), a function of keys (B,) and the number of a step.

    SplitMix64 (Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators") of counters, and the
    transformation of Box and Muller (1958).
    """
    size = like[0].numel()
    counters = torch.arange(2 * size, device=like.device) + 2 * size * step
    uniform = (_scramble(keys[:, None] + _GOLDEN * (counters + 1)) >> 11 & (1 << 53) - 1).double() * 2.0**-53
    radius, turn = (-2 * torch.log1p(-uniform[:, :size])).sqrt(), 2 * math.pi * uniform[:, size:]
    return (radius * turn.cos()).to(like.dtype).view_as(like)


def _scramble(numbers: Tensor) -> Tensor:
    """Mix the bits of int64 numbers, as the output function of SplitMix64; products wrap around."""
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        numbers = (numbers ^ (numbers >> shift & (1 << 64 - shift) - 1)) * factor
    return numbers ^ (numbers >> 31 & (1 << 33) - 1)
