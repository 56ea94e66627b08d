"""WGAN-GP: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", algorithm 1, on the networks of DCGAN.

The critic has no batch normalisation, because the penalty is on the gradient at each sample separately (section 4).
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

__all__ = ["WGANGP"]


@dataclass(frozen=True, kw_only=True)
class WGANGP:
    """Options of WGAN-GP.

    The defaults are the paper's: lambda 10, 5 critic updates, Adam 1e-4 with betas 0 and 0.9.
    """

    # Adversarial training: AdversarialOptions in _adversarial_options.py
    loss: AdversarialLossName = "wasserstein"
    constraint: Constraint = "gradient_penalty"
    fakes: Fakes = "fresh"
    penalty_interval: int = 1
    clip: float = 0.01
    optimizer: OptimizerName = "adam"
    latent_dim: int = 100
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {"lr_g": 1e-4, "lr_d": 1e-4, "beta1": 0.0, "beta2": 0.9, "discriminator_steps": 5}
    )
    # Networks: ConvolutionalOptions in _convolutional.py
    width: int = 64
    generator_norm: BatchNormalisation = "batch"
    discriminator_norm: BatchNormalisation = "none"
    upsampling: Upsampling = "transposed"
    bias: bool = True
    initial: Initialisation = "normal"
    conditional: bool | None = False

    def __post_init__(self) -> None:
        validate_adversarial_options(self)

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for images or sequences like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        validate_convolutional_spec("wgan_gp", self, spec)
        networks = convolutional_networks(self, spec, generator)
        return adversarial_model(
            "wgan_gp",
            self,
            networks,
            generator,
            augmentations=suitable_augmentations(spec),
            classes=count_classes(self, spec),
        )
