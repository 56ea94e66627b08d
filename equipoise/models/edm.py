"""EDM: a diffusion model, as a rival of GANs. Karras, Aittala, Aila and Laine 2022.

"Elucidating the Design Space of Diffusion-Based Generative Models": one network, trained to remove noise of all levels,
preconditioned so that its inputs and targets have variance 1; samples are solutions of an ordinary differential
equation, which starts at pure noise. There is no discriminator, and nothing to balance.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Generator, Tensor

from equipoise.core.data import DataSpec
from equipoise.core.knobs import knob
from equipoise.core.model import Model
from equipoise.core.sampling import SamplerName
from equipoise.core.validation import check_above
from equipoise.models._denoising import denoising_model
from equipoise.models._denoising_options import UNUSED_KNOBS, DenoisingKnobs, unet_layout, validate_denoising_options
from equipoise.nn.denoiser import Denoiser, VarianceScale
from equipoise.nn.diffusion_samplers import karras_levels
from equipoise.nn.unet import DenoisingUNet, initialise_unet

__all__ = ["EDM"]


@dataclass(frozen=True, slots=True)
class EDMKnobs(DenoisingKnobs):
    """Knobs of EDM."""

    noise_mean: float = knob(-1.2, -4, 2, "nats", "linear", "mean of the logarithm of the noise levels of training")
    noise_std: float = knob(
        1.2, 0.1, 3, "nats", "linear", "standard deviation of the logarithm of the noise levels of training"
    )


@dataclass(frozen=True, kw_only=True)
class EDM:
    """Options of EDM.

    `sigma_data`: standard deviation of the data, on [-1, 1]. `sigma_min`: last noise level of sampling. `rho`: exponent
    of the levels between first and last (equation 5). `sigma_max`: first noise level of sampling. The paper starts at
    80, with 35 evaluations by Heun's method; few evaluations need a lower start and dpm_2m, and images of few pixels
    allow it.
    """

    unused_knobs: ClassVar[frozenset[str]] = UNUSED_KNOBS
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        # Table 7, unconditional; batch size 512, 200M images. 55.7 million weights.
        "cifar10": {
            **{"patch": 1, "width": 128, "multipliers": (2, 2, 2), "blocks": 4, "attention": 16, "dropout": 0.13},
            **{"conditional": False, "warmup": 10_000_000},
            **{"sampler": "heun", "sampling_steps": 35, "preview_steps": 9, "sigma_max": 80.0},
            "knobs": {"lr_g": 1e-3, "ema_half_life": 5e5, "augment_p": 0.12},
        },
        # Table 7, FFHQ; batch size 256. 61.8 million weights.
        "ffhq64": {
            **{"patch": 1, "width": 128, "multipliers": (1, 2, 2, 2), "blocks": 4, "attention": 16, "dropout": 0.05},
            **{"conditional": False, "warmup": 10_000_000},
            **{"sampler": "heun", "sampling_steps": 79, "preview_steps": 9, "sigma_max": 80.0},
            "knobs": {"lr_g": 2e-4, "ema_half_life": 5e5, "augment_p": 0.15},
        },
    }

    # Diffusion models: DenoisingOptions in _denoising_options.py
    patch: int | None = None
    width: int | None = None
    multipliers: tuple[int, ...] = ()
    blocks: int = 1
    attention: int = 8
    dropout: float = 0.0
    conditional: bool | None = None
    label_dropout: float = 0.1
    augment: bool = True
    warmup: int = 0
    max_grad_norm: float | None = None
    sampler: SamplerName = "dpm_2m"
    sampling_steps: int = 5
    preview_steps: int = 5
    knobs: Mapping[str, float] = field(default_factory=dict)
    # EDM
    sigma_data: float = 0.5
    sigma_min: float = 0.002
    sigma_max: float = 20.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        validate_denoising_options(self)
        check_above(0, sigma_data=self.sigma_data, sigma_min=self.sigma_min, rho=self.rho)
        check_above(self.sigma_min, sigma_max=self.sigma_max)

    def build(self, spec: DataSpec, generator: Generator) -> Model[EDMKnobs]:
        """Build the model for images like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        network = DenoisingUNet(unet_layout("edm", self, spec, "ddpm++"))
        initialise_unet(network, generator)
        denoiser = Denoiser(network, VarianceScale(self.sigma_data))
        return denoising_model("edm", self, denoiser, LogNormalNoise(self), EDMKnobs(), spec)


@dataclass(frozen=True)
class LogNormalNoise:
    """Noise levels of EDM: ln σ ~ N(noise_mean, noise_std²) in training, equation 5 in sampling (Karras 2022)."""

    options: EDM

    def sample(self, share: Tensor, knobs: EDMKnobs) -> Tensor:
        """Map shares (B,) in (0, 1) to noise levels, by the inverse of the distribution function."""
        within = share.double().clamp(1e-7, 1 - 1e-7)
        normal = math.sqrt(2) * torch.erfinv(2 * within - 1)
        return (knobs.noise_mean + knobs.noise_std * normal).exp().float()

    def levels(self, sampler: SamplerName, count: int) -> tuple[float, ...]:
        """Return the levels of equation 5, the same for every sampler."""
        return karras_levels(count, self.options.sigma_min, self.options.sigma_max, self.options.rho)
