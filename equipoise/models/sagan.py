"""SAGAN: self-attention in both networks. Zhang et al. 2019, "Self-Attention Generative Adversarial Networks".

Residual networks with one layer in which every place attends to all places, spectral normalisation in both networks,
hinge loss; in the presets, the discriminator learns faster than the generator (Heusel 2017). Labels: conditional batch
normalisation in the generator, projection in the discriminator (Miyato and Koyama 2018).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from torch import Generator, Tensor, nn

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model
from equipoise.losses.adversarial import AdversarialLossName
from equipoise.models._adversarial import adversarial_model
from equipoise.models._adversarial_options import Constraint, Fakes, OptimizerName, validate_adversarial_options
from equipoise.models._convolutional import suitable_augmentations
from equipoise.models._labels import Conditioning, label_extensions
from equipoise.models._resnet_architecture import (
    ChannelLayout,
    resnet_architecture,
    used_classes,
    validate_resnet_conditioning,
    validate_resnet_spec,
)
from equipoise.models._resnets import (
    GeneratorInputs,
    InputRouting,
    ResidualBlockDiscriminator,
    ResidualBlockGenerator,
    initialise_resnet,
    normalise_spectrally,
)

__all__ = ["SAGAN"]

PAPER_KNOBS: Mapping[str, float] = {"lr_g": 1e-4, "lr_d": 4e-4, "beta1": 0.0, "beta2": 0.9}
"""Zhang 2019, sections 4.2 and 5: different learning rates, Adam with betas 0 and 0.9, one update of each network."""
SMALL_KNOBS: Mapping[str, float] = {**PAPER_KNOBS, "lr_g": 1e-3, "lr_d": 1e-3}
"""For runs of minutes. The paper's rates had learned next to nothing after 125 steps, these had (benchmarks/family.py,
emoji of 16 pixels, 20 CPU seconds, one seed: kernel distance 2.0 instead of 7.8)."""


@dataclass(frozen=True, kw_only=True)
class SAGAN:
    """Options of SAGAN. `generator_spectral_norm`: spectral normalisation in the generator, too (section 4.1)."""

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "imagenet128": {"width": 64, "latent_dim": 128, "attention": 32, "knobs": PAPER_KNOBS},
        "cifar10": {"width": 64, "latent_dim": 128, "layout": "constant", "knobs": PAPER_KNOBS},
    }

    # Adversarial training: AdversarialOptions in _adversarial_options.py
    loss: AdversarialLossName = "hinge"
    constraint: Constraint = "spectral_norm"
    fakes: Fakes = "fresh"
    penalty_interval: int = 1
    clip: float = 0.01
    optimizer: OptimizerName = "adam"
    latent_dim: int = 64
    knobs: Mapping[str, float] = field(default_factory=lambda: dict(SMALL_KNOBS))
    # Networks: ResNetOptions in _resnet_architecture.py
    width: int = 16
    layout: ChannelLayout = "pyramid"
    attention: int = 16
    conditional: bool | None = None
    conditioning: Conditioning = "projection"
    generator_spectral_norm: bool = True

    def __post_init__(self) -> None:
        validate_adversarial_options(self)
        validate_resnet_conditioning(self.conditioning)

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for images like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        validate_resnet_spec("sagan", self, spec)
        classes = used_classes(self, spec)
        networks = sagan_networks(self, spec)
        for network in networks.values():
            initialise_resnet(network, generator)
        if self.generator_spectral_norm:
            normalise_spectrally(networks["generator"], generator)
        return adversarial_model(
            "sagan",
            self,
            networks,
            generator,
            augmentations=suitable_augmentations(spec),
            classes=classes,
            extensions=label_extensions(self.conditioning, classes),
        )


def sagan_networks(options: SAGAN, spec: DataSpec) -> dict[str, nn.Module]:
    """Build both networks without initial weights, before spectral normalisation."""
    architecture, classes = resnet_architecture(options, spec), used_classes(options, spec)
    routing = LabelRouting(options.latent_dim, classes, architecture.doublings)
    return {
        "generator": ResidualBlockGenerator(architecture, routing),
        "discriminator": ResidualBlockDiscriminator(architecture, classes, options.conditioning),
    }


class LabelRouting(InputRouting):
    """The first layer reads the latent; gains and shifts of every normalisation are embeddings of the label."""

    def __init__(self, latent_dim: int, classes: int, levels: int) -> None:
        """`classes`: 0 for none. `levels`: sizes of maps with normalisation that depends on the label."""
        super().__init__()
        self.first_features = latent_dim
        self.affines = (partial(nn.Embedding, classes) if classes else None,) * levels

    def forward(self, latent: Tensor, labels: Tensor | None) -> GeneratorInputs:
        """Return the latent (B, L), and the labels (B,) or None for every size."""
        return GeneratorInputs(latent, (labels,) * len(self.affines))
