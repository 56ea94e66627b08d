"""SNGAN: Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks", the standard CNN of table 3.

Every layer of the discriminator is divided by its largest singular value; hinge loss (equations 16 and 17).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Generator, nn

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
from equipoise.models._convolutional_networks import ConvolutionLayers
from equipoise.models._labels import Conditioning, label_extensions

__all__ = ["SNGAN"]


@dataclass(frozen=True, kw_only=True)
class SNGAN:
    """Options of SNGAN. The defaults are setting C of the paper's table 1: Adam 2e-4, betas 0.5 and 0.999."""

    # Adversarial training: AdversarialOptions in _adversarial_options.py
    loss: AdversarialLossName = "hinge"
    constraint: Constraint = "spectral_norm"
    fakes: Fakes = "fresh"
    penalty_interval: int = 1
    clip: float = 0.01
    optimizer: OptimizerName = "adam"
    latent_dim: int = 128
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {"lr_g": 2e-4, "lr_d": 2e-4, "beta1": 0.5, "beta2": 0.999}
    )
    # Networks: ConvolutionalOptions in _convolutional.py
    width: int = 64
    generator_norm: BatchNormalisation = "batch"
    discriminator_norm: BatchNormalisation = "none"
    upsampling: Upsampling = "transposed"
    bias: bool = True
    initial: Initialisation = "normal"
    conditional: bool | None = False
    conditioning: Conditioning = "projection"

    def __post_init__(self) -> None:
        validate_adversarial_options(self)

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for images or sequences like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        validate_convolutional_spec("sngan", self, spec)
        classes = count_classes(self, spec)
        networks = convolutional_networks(self, spec, generator, _table_3_layers, self.conditioning)
        return adversarial_model(
            "sngan",
            self,
            networks,
            generator,
            augmentations=suitable_augmentations(spec),
            classes=classes,
            extensions=label_extensions(self.conditioning, classes),
        )


def _table_3_layers(layers: ConvolutionLayers, channels: int, widths: Sequence[int]) -> list[nn.Module]:
    """Build pairs of 3 x 3 and strided 4 x 4 convolutions, and a last 3 x 3 that doubles the channels (table 3)."""
    modules: list[nn.Module] = []
    before = channels
    for width in widths:
        modules += [layers.convolution(before, width, 3, 1, 1), nn.LeakyReLU(0.1)]
        modules += [layers.convolution(width, width, 4, 2, 1), nn.LeakyReLU(0.1)]
        before = width
    return [*modules, layers.convolution(before, 2 * before, 3, 1, 1), nn.LeakyReLU(0.1)]
