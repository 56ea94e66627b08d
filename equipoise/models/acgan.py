"""AC-GAN: the discriminator also predicts the label. Odena, Olah and Shlens 2017.

"Conditional Image Synthesis with Auxiliary Classifier GANs", section 3: with the cross-entropy CE of the predictions c,
    L_D = L_adv + class_weight (CE(c(x), y) + CE(c(G(z, y)), y)),   L_G = L_adv + class_weight CE(c(G(z, y)), y)
The logit of the adversarial loss does not depend on the label. Networks and training are those of dcgan.
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

__all__ = ["ACGAN"]


@dataclass(frozen=True, kw_only=True)
class ACGAN:
    """Options of AC-GAN, whose defaults are those of dcgan; `class_weight` is a knob."""

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
        validate_labels("acgan", spec)
        validate_convolutional_spec("acgan", self, spec)
        classes = count_classes(self, spec)
        networks = convolutional_networks(self, spec, generator, conditioning="auxiliary")
        return adversarial_model(
            "acgan",
            self,
            networks,
            generator,
            augmentations=suitable_augmentations(spec),
            classes=classes,
            extensions=label_extensions("auxiliary", classes),
        )
