"""BigGAN and BigGAN-deep: wide residual networks, a latent in parts, truncation. Brock et al. 2019.

"Large Scale GAN Training for High Fidelity Natural Image Synthesis", by Brock, Donahue and Simonyan.

Residual networks with self-attention, hinge loss and spectral normalisation in both. Every normalisation in the blocks
of the generator reads a part of the latent and one shared embedding of the label; latents can be truncated after
training, because orthogonal regularisation keeps the generator smooth:
    L_G = -E D(G(z)) + orthogonal_weight sum_W |W W^T * (1 - I)|_F^2        (equation 3)
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, cast

from torch import Generator, nn

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs, knob
from equipoise.core.model import Model, Networks
from equipoise.errors import SettingError
from equipoise.losses.adversarial import AdversarialLossName, WeightedPenalty
from equipoise.losses.orthogonality import filter_weights, orthogonality
from equipoise.models._adversarial import adversarial_model
from equipoise.models._adversarial_extensions import AdversarialMoment, DiscriminatorPass, Extensions
from equipoise.models._adversarial_options import (
    Constraint,
    Fakes,
    OptimizerName,
    validate_adversarial_options,
    validate_counts,
)
from equipoise.models._biggan_routing import SharedRouting
from equipoise.models._convolutional import suitable_augmentations
from equipoise.models._resnet_architecture import ChannelLayout, resnet_architecture, used_classes, validate_resnet_spec
from equipoise.models._resnets import (
    ResidualBlockDiscriminator,
    ResidualBlockGenerator,
    initialise_resnet,
    normalise_spectrally,
)
from equipoise.models._truncation import TruncatedSampler

__all__ = ["BigGAN"]

ADAM = {"beta1": 0.0, "beta2": 0.999}
IMAGENET = {
    **{"lr_g": 5e-5, "lr_d": 2e-4, "discriminator_steps": 2, "ema_half_life": 1e7},
    **ADAM,
    "orthogonal_weight": 1e-4,
}
"""Brock 2019, appendix C; the half-life of its average, 1.4e7 images, is above the range."""
CIFAR = {"lr_g": 2e-4, "lr_d": 2e-4, "discriminator_steps": 4, "ema_half_life": 3.5e5, **ADAM}
"""Settings of the authors' code for CIFAR-10, with batches of 50; decay 0.9999 per step."""
EPS = 1e-6
"""Adam's epsilon in the authors' code."""


@dataclass(frozen=True, slots=True)
class BigGANKnobs(AdversarialKnobs):
    """Knobs of BigGAN."""

    orthogonal_weight: float = knob(
        0, 1e-6, 1e1, "", "log", "orthogonal regularisation of the generator's filters", can_be_off=True
    )


@dataclass(frozen=True, kw_only=True)
class BigGAN:
    """Options of BigGAN.

    `embedding`: length of the shared embedding of labels. `deep`: BigGAN-deep, with two bottleneck blocks per size that
    all read the whole latent. `generator_spectral_norm`: spectral normalisation in the generator, too.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "imagenet128": {"width": 96, "latent_dim": 120, "embedding": 128, "attention": 64, "knobs": IMAGENET},
        "deep": {
            **{"deep": True, "width": 128, "latent_dim": 128, "embedding": 128, "attention": 64},
            "knobs": IMAGENET,
        },
        "cifar10": {"width": 96, "latent_dim": 80, "embedding": 128, "layout": "constant", "knobs": CIFAR},
    }

    # Adversarial training: AdversarialOptions in _adversarial_options.py
    loss: AdversarialLossName = "hinge"
    constraint: Constraint = "spectral_norm"
    fakes: Fakes = "fresh"
    penalty_interval: int = 1
    clip: float = 0.01
    optimizer: OptimizerName = "adam"
    latent_dim: int = 60
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {"lr_g": 2e-4, "lr_d": 8e-4, **ADAM, "orthogonal_weight": 1e-4}
    )
    # Networks: ResNetOptions in _resnet_architecture.py
    width: int = 16
    layout: ChannelLayout = "pyramid"
    attention: int = 16
    conditional: bool | None = None
    embedding: int = 32
    deep: bool = False
    generator_spectral_norm: bool = True

    def __post_init__(self) -> None:
        validate_adversarial_options(self)
        validate_counts(embedding=self.embedding)

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for images like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data, and for images with a side that is no power of two.
        """
        validate_resnet_spec("biggan", self, spec)
        if any(side & (side - 1) for side in spec.shape[1:]):
            height, width = spec.shape[1:]
            raise SettingError(
                f"biggan generates images whose sides are powers of two, not {width} x {height}; "
                "use --image-size 32 or another power of two, or --model sagan"
            )
        classes = used_classes(self, spec)
        networks = biggan_networks(self, spec)
        for network in networks.values():
            initialise_resnet(network, generator)
        if self.generator_spectral_norm:
            normalise_spectrally(networks["generator"], generator)
        model = adversarial_model(
            "biggan",
            self,
            networks,
            generator,
            augmentations=suitable_augmentations(spec),
            classes=classes,
            extensions=Extensions(knobs=BigGANKnobs, generator_terms=generator_terms),
        )
        return dataclasses.replace(
            model,
            generate=TruncatedSampler(model.latent, classes).generate,
            optimizer=lambda network, moment: dataclasses.replace(model.optimizer(network, moment), eps=EPS),
        )


def biggan_networks(options: BigGAN, spec: DataSpec) -> dict[str, nn.Module]:
    """Build both networks without initial weights, before spectral normalisation."""
    architecture = resnet_architecture(options, spec, bottleneck=options.deep)
    classes = used_classes(options, spec)
    routing = SharedRouting(options.latent_dim, options.embedding, classes, architecture.doublings, whole=options.deep)
    return {
        "generator": ResidualBlockGenerator(architecture, routing),
        "discriminator": ResidualBlockDiscriminator(architecture, classes, "projection"),
    }


def generator_terms(
    networks: Networks, outputs: DiscriminatorPass, moment: AdversarialMoment
) -> dict[str, WeightedPenalty]:
    """Compute beta R of the generator's linear layers and convolutions, before spectral normalisation (equation 3)."""
    weight = cast(BigGANKnobs, moment.knobs).orthogonal_weight
    if not weight:
        return {}
    return {"orthogonal": WeightedPenalty(weight, orthogonality(filter_weights(networks["generator"])))}
