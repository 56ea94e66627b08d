"""Denoising diffusion GAN: a generator that removes noise in four large steps (Xiao, Kreis and Vahdat 2022).

"Tackling the Generative Learning Trilemma with Denoising Diffusion GANs". Between GANs and diffusion models: noise is
added in T = 4 steps, each of them is reversed by a conditional GAN. The generator guesses the clean image from a noisy
one and a latent; the discriminator compares a step of the chain with a step back from the guess.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, cast

from torch import Generator

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model
from equipoise.errors import SettingError
from equipoise.losses.adversarial import AdversarialLossName
from equipoise.models._adversarial import adversarial_model
from equipoise.models._adversarial_extensions import Extensions
from equipoise.models._adversarial_options import (
    Fakes,
    OptimizerName,
    validate_adversarial_options,
    validate_counts,
)
from equipoise.models._ddgan import DenoisingGenerator, PairDiscriminator
from equipoise.models._ddgan_steps import DenoisingSteps, LogitsFunction
from equipoise.models._denoising_options import unet_layout
from equipoise.nn import latents

__all__ = ["DDGAN"]

MAX_LENGTH = 64
"""Most denoising steps; latents have an image of noise per step."""


@dataclass(frozen=True, kw_only=True)
class DDGAN:
    """Options of denoising diffusion GANs, besides AdversarialOptions in _adversarial_options.py.

    `latent_dim`: length of the latent z of a step. `denoising_steps`: T. `patch`, `width`, `multipliers`, `blocks`,
    `attention`: of the U-Net of the generator, as in edm; the discriminator sees the same patches. `mapping_layers`:
    layers of the mapping network of z. `style_dim`: their width. `discriminator_width`: channels of the first maps of
    the discriminator; up to 4 times as many later. `deviation_group`: samples per group of the minibatch standard
    deviation. `conditional`: use class labels; None to use them if the data has them.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        # Xiao 2022, appendix C, table 9, and the authors' code: batch size 256, 400,000 steps, EMA 0.9999 per step; R1
        # with weight 0.02 / 2 in every 15th step, which is 0.02 / 15 here, where lazy penalties are multiplied by the
        # interval.
        "cifar10": {
            **{"patch": 1, "width": 128, "multipliers": (1, 2, 2, 2), "blocks": 2, "attention": 16},
            **{"latent_dim": 100, "mapping_layers": 4, "style_dim": 256, "discriminator_width": 128},
            **{"penalty_interval": 15, "fakes": "fresh", "conditional": False},
            "knobs": {
                **{"lr_g": 1.6e-4, "lr_d": 1.25e-4, "beta1": 0.5, "beta2": 0.9, "r1_gamma": 0.02 / 15},
                "ema_half_life": 1.77e6,
            },
        },
    }

    # Adversarial training: AdversarialOptions in _adversarial_options.py
    loss: AdversarialLossName = "non_saturating"
    constraint: Literal["none"] = "none"
    fakes: Fakes = "shared"
    penalty_interval: int = 8
    clip: ClassVar[float] = 0.01
    optimizer: OptimizerName = "adam"
    latent_dim: int = 32
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {"lr_g": 1e-3, "lr_d": 5e-4, "beta1": 0.0, "beta2": 0.99, "r1_gamma": 0.05}
    )
    # Networks
    denoising_steps: int = 4
    patch: int | None = None
    width: int | None = None
    multipliers: tuple[int, ...] = ()
    blocks: int = 1
    attention: int = 0
    dropout: ClassVar[float] = 0.0
    augment: ClassVar[bool] = False
    mapping_layers: int = 2
    style_dim: int = 64
    discriminator_width: int = 32
    deviation_group: int = 4
    conditional: bool | None = None

    def __post_init__(self) -> None:
        validate_adversarial_options(self)
        counts = ("patch", "width", "blocks", "denoising_steps", "mapping_layers", "style_dim", "discriminator_width")
        values = {name: getattr(self, name) for name in (*counts, "deviation_group")}
        validate_counts(**{name: value for name, value in values.items() if value is not None})
        validate_counts(**{"every number of multipliers": min(self.multipliers, default=1)})
        if self.denoising_steps > MAX_LENGTH:
            raise SettingError(f"denoising_steps = {self.denoising_steps}: it must be at most {MAX_LENGTH}; use edm")
        if self.attention < 0:
            raise SettingError(f"attention = {self.attention}: it must be at least 1, or 0 for none")

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for images like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        layout = unet_layout("ddgan", self, spec, "ddpm++")
        channels, *sides = spec.shape
        steps = DenoisingSteps(self.denoising_steps, spec.shape, self.latent_dim, self.deviation_group)
        denoiser = DenoisingGenerator(
            layout, self.latent_dim, self.style_dim, self.mapping_layers, self.denoising_steps
        )
        discriminator = PairDiscriminator(
            channels,
            sides,
            self.discriminator_width,
            patch=layout.patch,
            group=self.deviation_group,
            length=self.denoising_steps,
            classes=layout.classes,
        )
        denoiser.initialise(generator)
        discriminator.initialise(generator)
        # L_D = E softplus(-D(x_{t-1}, x_t, t)) + E softplus(D(x'_{t-1}, x_t, t)) + γ R1, R1 at x_{t-1}
        # L_G = E softplus(-D(x'_{t-1}, x_t, t)), x'_{t-1} ~ q(x_{t-1} | x_t, G(x_t, z, t)): Xiao 2022, eqs. 4 and 5.
        model = adversarial_model(
            "ddgan",
            self,
            {"generator": denoiser, "discriminator": discriminator},
            generator,
            # No colour augmentation: both images of a pair are changed together.
            augmentations=("translation", "cutout", *(("flip",) if spec.flips else ())),
            classes=layout.classes,
            extensions=Extensions(draw=steps.draw, transform=steps.transform),
        )
        return dataclasses.replace(
            model,
            phases=[dataclasses.replace(phase, loss=steps.loss_on_pairs(phase.loss)) for phase in model.phases],
            logits=steps.logits_of_pairs(cast(LogitsFunction, model.logits)),
            latent=lambda count, source, truncation: latents.normal(count, steps.latent_size, source, truncation),
            generate=steps.generate,
            samplings=frozenset({"steps"}),
        )
