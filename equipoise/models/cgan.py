"""cGAN: labels are inputs of both networks. Mirza and Osindero 2014, "Conditional Generative Adversarial Nets".

The generator reads the label beside the latent; in the discriminator it joins the features of the sample in a hidden
layer (section 4.1). Convolutional networks and training are those of dcgan.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Generator

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model
from equipoise.losses.adversarial import AdversarialLossName
from equipoise.models._adversarial import adversarial_model
from equipoise.models._adversarial_options import Constraint, Fakes, OptimizerName, validate_adversarial_options
from equipoise.models._convolutional import (
    BatchNormalisation,
    Initialisation,
    Upsampling,
    convolutional_networks,
    count_classes,
    suitable_augmentations,
    validate_convolutional_spec,
)
from equipoise.models._labels import label_extensions, validate_labels

__all__ = ["CGAN"]


@dataclass(frozen=True, kw_only=True)
class CGAN:
    """Options of cGAN, whose defaults are those of dcgan."""

    # Adversarial training: AdversarialOptions in _adversarial_options.py
    loss: AdversarialLossName = "non_saturating"
    constraint: Constraint = "none"
    fakes: Fakes = "shared"
    penalty_interval: int = 8
    clip: float = 0.01
    optimizer: OptimizerName = "adam"
    latent_dim: int = 64
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {"lr_g": 2e-3, "lr_d": 2e-3, "beta1": 0.0, "beta2": 0.99, "r1_gamma": 1.0}
    )
    # Networks: ConvolutionalOptions in _convolutional.py
    width: int = 32
    generator_norm: BatchNormalisation = "batch"
    discriminator_norm: BatchNormalisation = "none"
    upsampling: Upsampling = "nearest"
    bias: bool = True
    initial: Initialisation = "fan_in"

    @property
    def conditional(self) -> bool:
        """Whether labels are used: always."""
        return True

    def __post_init__(self) -> None:
        validate_adversarial_options(self)

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for labelled images or sequences like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data, or without labels.
        """
        validate_labels("cgan", spec)
        validate_convolutional_spec("cgan", self, spec)
        classes = count_classes(self, spec)
        networks = convolutional_networks(self, spec, generator, conditioning="concat")
        return adversarial_model(
            "cgan",
            self,
            networks,
            generator,
            augmentations=suitable_augmentations(spec),
            classes=classes,
            extensions=label_extensions("concat", classes),
        )
