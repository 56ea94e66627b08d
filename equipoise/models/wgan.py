"""WGAN: Arjovsky, Chintala and Bottou 2017, "Wasserstein GAN", algorithm 1, on the networks of DCGAN.

Weight clipping keeps the critic Lipschitz. The optimizer is RMSProp, because momentum was harmful in the paper's
experiments.
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

__all__ = ["WGAN"]


@dataclass(frozen=True, kw_only=True)
class WGAN:
    """Options of WGAN.

    The defaults are the paper's: learning rate 5e-5, clip 0.01, 5 critic updates. 0.99 is the default decay of RMSProp.
    """

    # Adversarial training: AdversarialOptions in _adversarial_options.py
    loss: AdversarialLossName = "wasserstein"
    constraint: Constraint = "weight_clipping"
    fakes: Fakes = "fresh"
    penalty_interval: int = 1
    clip: float = 0.01
    optimizer: OptimizerName = "rmsprop"
    latent_dim: int = 100
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {"lr_g": 5e-5, "lr_d": 5e-5, "beta2": 0.99, "discriminator_steps": 5}
    )
    # Networks: ConvolutionalOptions in _convolutional.py
    width: int = 64
    generator_norm: BatchNormalisation = "batch"
    discriminator_norm: BatchNormalisation = "batch"
    upsampling: Upsampling = "transposed"
    bias: bool = False
    initial: Initialisation = "normal"
    conditional: bool | None = False

    def __post_init__(self) -> None:
        validate_adversarial_options(self)

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for images or sequences like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        validate_convolutional_spec("wgan", self, spec)
        networks = convolutional_networks(self, spec, generator)
        return adversarial_model(
            "wgan",
            self,
            networks,
            generator,
            augmentations=suitable_augmentations(spec),
            classes=count_classes(self, spec),
        )
