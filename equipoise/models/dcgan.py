"""DCGAN: fully convolutional networks (Radford, Metz and Chintala 2016), by default with later training methods.

The networks are those of Radford's figure 1, except for the upsampling. The default settings gave the best digits in
the benchmarks of this package (benchmarks/digits.md): R1 (Mescheder 2018) instead of normalisation in the
discriminator, labels by projection (Miyato and Koyama 2018), Adam without momentum at ten times the paper's learning
rate. The paper's own networks and settings are presets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

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
from equipoise.models._labels import Conditioning, label_extensions

__all__ = ["DCGAN"]

TEXTBOOK: Mapping[str, object] = {
    "width": 64,
    "latent_dim": 100,
    "discriminator_norm": "batch",
    "upsampling": "transposed",
    "bias": False,
    "initial": "normal",
    "conditional": False,
    "fakes": "shared",
    "penalty_interval": 1,
    "knobs": {"lr_g": 2e-4, "lr_d": 2e-4, "beta1": 0.5, "beta2": 0.999},
}
"""Radford 2016, section 4: N(0, 0.02), Adam 2e-4 with beta1 0.5. Fakes are shared, as in most tutorials."""


@dataclass(frozen=True, kw_only=True)
class DCGAN:
    """Options of DCGAN: AdversarialOptions in _adversarial_options.py, ConvolutionalOptions in _convolutional.py."""

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "lab32": TEXTBOOK,  # the networks of the digits lab, at 32 x 32
        "celeba64": TEXTBOOK,  # one layer more, at 64 x 64
        # For folders of colour pictures on a CPU (benchmarks/photographs.md); batch size 16, annealed.
        "cpu64": {
            "width": 16,
            "loss": "relativistic",
            "knobs": {"lr_g": 2e-3, "lr_d": 2e-3, "beta1": 0.0, "beta2": 0.99, "r1_gamma": 1.0, "r2_gamma": 1.0},
        },
    }

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
    conditional: bool | None = None
    conditioning: Conditioning = "projection"

    def __post_init__(self) -> None:
        validate_adversarial_options(self)

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for images or sequences like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        validate_convolutional_spec("dcgan", self, spec)
        classes = count_classes(self, spec)
        networks = convolutional_networks(self, spec, generator, conditioning=self.conditioning)
        return adversarial_model(
            "dcgan",
            self,
            networks,
            generator,
            augmentations=suitable_augmentations(spec),
            classes=classes,
            extensions=label_extensions(self.conditioning, classes),
        )
