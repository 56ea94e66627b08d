"""FastGAN: a light generator and a self-supervised discriminator for small data sets (Liu et al. 2021).

Liu, Zhu, Song and Elgammal 2021, "Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image
Synthesis". For 100 to 1,000 images: the generator has one convolution per size, the discriminator must keep enough of
its input to reconstruct reals, which keeps it from remembering them, and everything it sees is augmented.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from torch import Generator, nn

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs, knob
from equipoise.core.model import Model, Networks
from equipoise.errors import SettingError
from equipoise.losses.adversarial import AdversarialLossName, WeightedPenalty
from equipoise.models._adversarial import adversarial_model
from equipoise.models._adversarial_extensions import AdversarialMoment, DiscriminatorPass, Extensions
from equipoise.models._adversarial_options import (
    Constraint,
    Fakes,
    OptimizerName,
    validate_adversarial_options,
    validate_counts,
)
from equipoise.models._convolutional import suitable_augmentations
from equipoise.models._fastgan import LayerWidths, SelfSupervisedDiscriminator, SkipLayerGenerator
from equipoise.models._image_pyramid import image_pyramid
from equipoise.models._resnets import normalise_spectrally
from equipoise.nn.initialize import normal_

__all__ = ["FastGAN"]

SMALLEST = 16
"""Smallest side in pixels: the discriminator has a map of 16 pixels, of which it reconstructs a quarter."""


@dataclass(frozen=True, slots=True)
class FastGANKnobs(AdversarialKnobs):
    """Knobs of FastGAN."""

    reconstruction_weight: float = knob(
        1.0, 1e-6, 1e1, "", "log", "squared error of reals that the discriminator reconstructs", can_be_off=True
    )


@dataclass(frozen=True, kw_only=True)
class FastGAN:
    """Options of FastGAN. Those of adversarial training are AdversarialOptions in _adversarial_options.py.

    `width`: channels at 128 pixels; 16 times as many at 4 pixels. `widest`: the most channels of a map. `excitation`:
    doublings between the two maps of a skip-layer excitation, 3 for 4 -> 32 pixels, 4 for 4 -> 64 as in the paper, 0
    for none. `generator_spectral_norm`: spectral normalisation in the generator, too, as in the authors' code.
    `conditional`: use class labels; None to use them if the data has them.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        # The authors' settings for 256 to 1,024 pixels; batch size 8.
        "paper": {
            "width": 64,
            "widest": 1024,
            "excitation": 4,
            "latent_dim": 256,
            "generator_spectral_norm": True,
            "conditional": False,
            "knobs": {
                **{"lr_g": 2e-4, "lr_d": 2e-4, "beta1": 0.5, "beta2": 0.999},
                **{"augment_p": 0.8, "ema_half_life": 5541},
            },
        }
    }

    loss: AdversarialLossName = "hinge"
    constraint: Constraint = "spectral_norm"
    fakes: Fakes = "shared"
    penalty_interval: int = 8
    clip: float = 0.01
    optimizer: OptimizerName = "adam"
    latent_dim: int = 128
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {
            **{"lr_g": 2e-4, "lr_d": 2e-4, "beta1": 0.5, "beta2": 0.999},
            **{"augment_p": 0.6, "ema_half_life": 5e3},
        }
    )
    width: int = 16
    widest: int = 128
    excitation: int = 3
    generator_spectral_norm: bool = False
    conditional: bool | None = None

    def __post_init__(self) -> None:
        validate_adversarial_options(self)
        validate_counts(width=self.width, widest=self.widest)
        if self.excitation < 0:
            raise SettingError(f"excitation = {self.excitation}: it must be at least 1, or 0 for none")

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for images like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        pyramid = image_pyramid("fastgan", spec, smallest=SMALLEST)
        if self.conditional and not spec.classes:
            raise SettingError("conditional = true, but the data has no labels; omit this option")
        classes, channels = 0 if self.conditional is False else spec.classes, spec.shape[0]
        widths = LayerWidths(self.width, self.widest)
        networks: dict[str, nn.Module] = {
            "generator": SkipLayerGenerator(pyramid, widths, self.latent_dim, channels, classes, self.excitation),
            "discriminator": SelfSupervisedDiscriminator(pyramid, widths, channels, classes),
        }
        for network in networks.values():
            normal_(network, generator)
        if self.generator_spectral_norm:
            normalise_spectrally(networks["generator"], generator)
        # L_D = E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))) + λ (E (I' - I)² + E (J' - J)²), L_G = -E D(G(z))
        # Liu 2021, section 3.2; means over patches.
        model = adversarial_model(
            "fastgan",
            self,
            networks,
            generator,
            augmentations=suitable_augmentations(spec),
            classes=classes,
            extensions=Extensions(knobs=FastGANKnobs, discriminator_terms=reconstruction_terms),
        )
        # Only the direction of a latent has an effect, so that truncation has nearly none.
        return dataclasses.replace(model, samplings=frozenset())


def reconstruction_terms(
    networks: Networks, outputs: DiscriminatorPass, moment: AdversarialMoment
) -> Mapping[str, WeightedPenalty]:
    """Return the reconstruction of the reals: λ (E (I' - I)² + E (J' - J)²), J one quarter of the image I.

    Liu 2021, section 3.2. All images of a batch use the same quarter. The loss of the generator has no such term.
    """
    weight = cast(FastGANKnobs, moment.knobs).reconstruction_weight
    if not weight or outputs.real is None or outputs.real_features is None:
        return {}
    corner = torch.randint(2, (2,), generator=moment.generator, device=moment.generator.device)
    discriminator = cast(SelfSupervisedDiscriminator, networks["discriminator"])
    loss = discriminator.reconstruction_loss(outputs.real, outputs.real_features, corner)
    return {"reconstruction": WeightedPenalty(weight, loss)}
