"""Sampling from StyleGAN 2 in two steps: latents to styles, moved to their mean by psi, and styles to images."""

from typing import cast

from torch import Tensor

from equipoise.core.model import Networks
from equipoise.core.sampling import Sampling
from equipoise.models._stylegan2_generator import SkipGenerator
from equipoise.nn.style_mapping import truncate_styles


def _network(networks: Networks) -> SkipGenerator:
    return cast(SkipGenerator, networks["generator"])


def map_latents(networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
    """Compute styles (N, layers, D), moved to their mean by psi."""
    network = _network(networks)
    styles = network.synthesis.repeat(network.mapping(latent, condition))
    psi = 1.0 if sampling.psi is None else sampling.psi
    return truncate_styles(styles, network.mapping.w_avg, psi, sampling.cutoff)


def synthesize(networks: Networks, styles: Tensor, sampling: Sampling) -> Tensor:
    """Generate images (N, C, H, W), not limited to [-1, 1]."""
    synthesis = _network(networks).synthesis
    images: Tensor = synthesis(styles, None if sampling.noise == "none" else synthesis.noise)
    return images


def generate(networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
    """Generate images (N, C, H, W) in [-1, 1] from latents (N, L), and labels (N,) or None."""
    return synthesize(networks, map_latents(networks, latent, condition, sampling), sampling).clamp(-1, 1)


def mean_style(networks: Networks) -> Tensor:
    """Return the mean style (D,)."""
    return _network(networks).mapping.w_avg
