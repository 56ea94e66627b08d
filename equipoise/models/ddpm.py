"""DDPM: the diffusion model that predicts noise on a chain of levels. Ho, Jain and Abbeel 2020.

"Denoising Diffusion Probabilistic Models": one network, trained to predict the noise in an image at each of 1,000
levels; sampling reverses the chain, with new noise at each step. Fewer steps take every k-th level, with the variance
that belongs to the longer steps; DDIM (Song, Meng and Ermon 2021) and the solvers of EDM sample from the same network.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from torch import Generator, Tensor

from equipoise.core.data import DataSpec
from equipoise.core.model import Model
from equipoise.core.sampling import SamplerName
from equipoise.core.validation import check_above
from equipoise.errors import SettingError
from equipoise.models._denoising import denoising_model
from equipoise.models._denoising_options import UNUSED_KNOBS, DenoisingKnobs, unet_layout, validate_denoising_options
from equipoise.nn.denoiser import Denoiser, NoisePrediction
from equipoise.nn.diffusion_samplers import karras_levels
from equipoise.nn.unet import DenoisingUNet, initialise_unet

__all__ = ["DDPM"]

CHAIN = 1000
"""Number of noise levels, T."""
CHAIN_SAMPLERS = frozenset({"ancestral", "ddim"})
"""Samplers that follow the levels of the chain; the others have levels of their own."""


@dataclass(frozen=True, kw_only=True)
class DDPM:
    """Options of DDPM.

    `sigma_max`: first noise level of heun and dpm_2m, which few evaluations need lower than the last level of the
    chain, 157. ancestral and ddim start at that level and take equal steps in t.
    """

    unused_knobs: ClassVar[frozenset[str]] = UNUSED_KNOBS
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        # Section 4 and appendix B; batch size 128, 800,000 steps. 35.7 million weights.
        "cifar10": {
            **{"patch": 1, "width": 128, "multipliers": (1, 2, 2, 2), "blocks": 2, "attention": 16, "dropout": 0.1},
            **{"conditional": False, "augment": False, "warmup": 640_000, "max_grad_norm": 1.0},
            **{"sampling_steps": 1000, "preview_steps": 9, "sigma_max": 80.0},
            "knobs": {"lr_g": 2e-4, "ema_half_life": 887_000},
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
    max_grad_norm: float | None = 1.0
    sampler: SamplerName = "ancestral"
    sampling_steps: int = 100
    preview_steps: int = 5
    knobs: Mapping[str, float] = field(default_factory=dict)
    # DDPM
    sigma_max: float = 20.0

    def __post_init__(self) -> None:
        validate_denoising_options(self)
        check_above(0, sigma_max=self.sigma_max)
        if self.sampler in CHAIN_SAMPLERS and self.sampling_steps > CHAIN:
            raise SettingError(f"sampling_steps = {self.sampling_steps}: it must be at most {CHAIN:,}")

    def build(self, spec: DataSpec, generator: Generator) -> Model[DenoisingKnobs]:
        """Build the model for images like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        network = DenoisingUNet(unet_layout("ddpm", self, spec, "ddpm"))
        initialise_unet(network, generator)
        scale = NoisePrediction(CHAIN)
        schedule = ChainNoise(scale, self.sigma_max)
        return denoising_model("ddpm", self, Denoiser(network, scale), schedule, DenoisingKnobs(), spec)


@dataclass(frozen=True)
class ChainNoise:
    """Noise levels of DDPM: each level of the chain with equal probability in training (Ho 2020, algorithm 1).

    `scale`: holds the levels of the chain. `sigma_max`: first level of samplers that do not follow the chain.
    """

    scale: NoisePrediction
    sigma_max: float

    @cached_property
    def sigmas(self) -> tuple[float, ...]:
        """The levels of the chain, ascending; copied from the device once, because a copy waits for it."""
        return tuple(self.scale.sigmas.tolist())

    def sample(self, share: Tensor, knobs: DenoisingKnobs) -> Tensor:
        """Map shares (B,) in (0, 1) to levels of the chain."""
        time = (share * CHAIN).long().clamp(0, CHAIN - 1)
        return self.scale.sigmas[time]

    def levels(self, sampler: SamplerName, count: int) -> tuple[float, ...]:
        """Return `count` levels of the chain, equally far apart in t, from the last to the first; and 0.

        Those of Karras 2022, equation 5, for the other samplers. Raises SettingError for more than the chain has.
        """
        if sampler not in CHAIN_SAMPLERS:
            return karras_levels(count, self.sigmas[0], min(self.sigma_max, self.sigmas[-1]))
        if count > CHAIN:
            raise SettingError(f"steps = {count}: the chain of {sampler} has {CHAIN:,} levels; use at most as many")
        times = [round((CHAIN - 1) * (1 - index / max(1, count - 1))) for index in range(count)]
        return (*(self.sigmas[time] for time in times), 0.0)
