"""Projected GAN: the discriminators see images through a frozen, pretrained network (Sauer et al. 2021).

Sauer, Chitta, Müller and Geiger 2021, "Projected GANs Converge Faster". The generator is that of FastGAN. A run is not
evaluated by the features it was trained with: samples that please EfficientNet-Lite0 need not look better (Kynkäänniemi
2023, "The Role of ImageNet Classes in Fréchet Inception Distance"), so that metrics with that network are refused.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Generator, nn

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model
from equipoise.errors import SettingError
from equipoise.losses.adversarial import AdversarialLossName
from equipoise.models._adversarial import adversarial_model
from equipoise.models._adversarial_options import (
    Constraint,
    Fakes,
    OptimizerName,
    validate_adversarial_options,
    validate_counts,
)
from equipoise.models._convolutional import suitable_augmentations
from equipoise.models._fastgan import LayerWidths, SkipLayerGenerator
from equipoise.models._image_pyramid import image_pyramid
from equipoise.models._projected import SCALES, FeatureNetwork, ProjectedDiscriminator
from equipoise.nn.efficientnet import DIGEST, load_efficientnet_lite0
from equipoise.nn.feature_mixing import initialise_mixing
from equipoise.nn.initialize import normal_

__all__ = ["ProjectedGAN"]

FROZEN = "feature_network"
"""Name of the frozen network."""


@dataclass(frozen=True, kw_only=True)
class ProjectedGAN:
    """Options of Projected GAN. Those of adversarial training are AdversarialOptions in _adversarial_options.py.

    `feature_side`: side in pixels to which images are resized for the frozen network, a multiple of 32; its time grows
    with the square. `width`: channels of the generator at 128 pixels; 16 times as many at 4 pixels. `widest`: the most
    channels of a map of the generator. `excitation`: doublings between the two maps of a skip-layer excitation of the
    generator, 0 for none. `conditional`: use class labels; None to use them if the data has them.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        # The authors' settings with FastGAN's generator; batch size 64.
        "paper": {
            "feature_side": 224,
            "width": 128,
            "widest": 2048,
            "excitation": 4,
            "latent_dim": 256,
            "conditional": False,
            "knobs": {"lr_g": 2e-4, "lr_d": 2e-4, "beta1": 0.0, "beta2": 0.99, "augment_p": 0.8},
        }
    }

    frozen_digests: ClassVar[frozenset[str]] = frozenset({DIGEST})
    """Networks whose features no metric of a run may have, so that another live metric is suggested."""

    loss: AdversarialLossName = "hinge"
    constraint: Constraint = "spectral_norm"
    fakes: Fakes = "fresh"
    penalty_interval: int = 8
    clip: float = 0.01
    optimizer: OptimizerName = "adam"
    latent_dim: int = 128
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {
            **{"lr_g": 2e-4, "lr_d": 2e-4, "beta1": 0.0, "beta2": 0.99},
            **{"augment_p": 0.6},
        }
    )
    feature_side: int = 96
    width: int = 24
    widest: int = 192
    excitation: int = 3
    conditional: bool | None = None

    def __post_init__(self) -> None:
        validate_adversarial_options(self)
        validate_counts(width=self.width, widest=self.widest)
        if self.excitation < 0:
            raise SettingError(f"excitation = {self.excitation}: it must be at least 1, or 0 for none")
        largest = max(SCALES)
        if self.feature_side < 2 * largest or self.feature_side % largest:
            nearest = max(2, round(self.feature_side / largest)) * largest
            raise SettingError(
                f"feature_side = {self.feature_side}: it must be a multiple of {largest}, at least {2 * largest}, such "
                f"as {nearest}"
            )

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for images like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data, DataError if the weights of the frozen network are missing.
        """
        pyramid = image_pyramid("projected", spec)
        channels = spec.shape[0]
        if channels == 4:
            raise SettingError(
                "projected sees images through a network for colours, which has no place for alpha; use --option "
                "data.alpha=background"
            )
        if self.conditional and not spec.classes:
            raise SettingError("conditional = true, but the data has no labels; omit this option")
        classes = 0 if self.conditional is False else spec.classes
        frozen = FeatureNetwork(load_efficientnet_lite0())
        discriminator = ProjectedDiscriminator(frozen.forward, self.feature_side, classes)
        widths = LayerWidths(self.width, self.widest)
        networks: dict[str, nn.Module] = {
            "generator": SkipLayerGenerator(pyramid, widths, self.latent_dim, channels, classes, self.excitation),
            "discriminator": discriminator,
        }
        for network in networks.values():
            normal_(network, generator)
        initialise_mixing(discriminator.mixing, generator)
        model = adversarial_model(
            "projected",
            self,
            networks,
            generator,
            augmentations=suitable_augmentations(spec),
            classes=classes,
        )
        # L_D = Σ_l E max(0, 1 - D_l(P_l(x))) + E max(0, 1 + D_l(P_l(G(z)))), L_G = -Σ_l E D_l(P_l(G(z)))
        # Sauer 2021, section 3, with the hinge loss; the mean over all logits instead of the sum over scales.
        return dataclasses.replace(
            model,
            networks={**networks, FROZEN: frozen},
            frozen={FROZEN: DIGEST},
            samplings=frozenset(),  # Only the direction of a latent has an effect; see fastgan.
        )
