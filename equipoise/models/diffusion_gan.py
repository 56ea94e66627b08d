"""Diffusion-GAN: the discriminator sees samples with a random amount of noise, which it knows (Wang et al. 2022).

Wang, Zheng, He, Chen and Zhou 2022, "Diffusion-GAN: Training GANs with Diffusion". Real and generated samples are
diffused alike, t steps along a chain of T, with t drawn for each sample; the discriminator has t as an input. T
is a knob: the controller `ada:diffusion` raises it while the discriminator overfits, as in the paper. For T = 0, the
model is `dcgan`, or `mlp` for points, to the bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Generator

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model
from equipoise.errors import SettingError
from equipoise.losses.adversarial import AdversarialLossName
from equipoise.models._adversarial import adversarial_model
from equipoise.models._adversarial_extensions import Extensions
from equipoise.models._adversarial_options import Fakes, OptimizerName, validate_adversarial_options
from equipoise.models._convolutional import (
    BatchNormalisation,
    Initialisation,
    Upsampling,
    convolutional_networks,
    count_classes,
    suitable_augmentations,
    validate_convolutional_spec,
)
from equipoise.models._diffusion import Diffusion, DiffusionKnobs, Times
from equipoise.models._noisy_samples import NoiseAwareDiscriminator
from equipoise.models._perceptrons import Activation, perceptron_networks

__all__ = ["DiffusionGAN"]


@dataclass(frozen=True, kw_only=True)
class DiffusionGAN:
    """Options of Diffusion-GAN.

    Others: AdversarialOptions in _adversarial_options.py, ConvolutionalOptions in _convolutional.py; networks of points
    have `width` units in each of `depth` hidden layers. `noise`: standard deviation of the noise after a long chain,
    where nothing remains of the sample. `times`: distribution of t within 1 to T, priority for p(t) proportional to t;
    half of the samples have no noise. `depth`: hidden layers of networks of points. `activation`: activation function
    of networks of points.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "points": {
            **{"loss": "non_saturating", "fakes": "fresh", "penalty_interval": 1, "latent_dim": 2, "width": 256},
            "knobs": {
                **{"lr_g": 2e-3, "lr_d": 2e-3, "beta1": 0.0, "beta2": 0.99, "r1_gamma": 0.1},
                **{"r2_gamma": 0.1, "diffusion_steps": 500},
            },
        },
    }

    # Adversarial training: AdversarialOptions in _adversarial_options.py
    loss: AdversarialLossName = "non_saturating"
    constraint: Literal["none", "spectral_norm"] = "none"
    fakes: Fakes = "shared"
    penalty_interval: int = 8
    clip: ClassVar[float] = 0.01
    optimizer: OptimizerName = "adam"
    latent_dim: int = 64
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {"lr_g": 2e-3, "lr_d": 2e-3, "beta1": 0.0, "beta2": 0.99, "r1_gamma": 1.0}
    )
    # Diffusion
    noise: float = 0.05
    times: Times = "priority"
    # Networks: ConvolutionalOptions in _convolutional.py, PerceptronOptions in _perceptrons.py
    width: int = 32
    generator_norm: BatchNormalisation = "batch"
    discriminator_norm: BatchNormalisation = "none"
    upsampling: Upsampling = "nearest"
    bias: bool = True
    initial: Initialisation = "fan_in"
    conditional: bool | None = None
    depth: int = 2
    activation: Activation = "leaky_relu"

    def __post_init__(self) -> None:
        validate_adversarial_options(self)
        if not 0 < self.noise <= 10:
            raise SettingError(f"noise = {self.noise:g}: it must be above 0, at most 10; the paper has 0.05")

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for images, sequences or points like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        if spec.is_points:
            networks, classes = perceptron_networks(self, spec, generator), 0
        else:
            validate_convolutional_spec("diffusion_gan", self, spec)
            networks, classes = convolutional_networks(self, spec, generator), count_classes(self, spec)
        discriminator = networks["discriminator"]
        features = discriminator.get_parameter("last.weight").shape[1]
        networks["discriminator"] = NoiseAwareDiscriminator(discriminator, spec.shape[0], features, generator)
        # L_D = E softplus(-D(x_t, t)) + E softplus(D(G(z)_t, t)), L_G = E softplus(-D(G(z)_t, t)): Wang 2022, section
        # 3.2.
        return adversarial_model(
            "diffusion_gan",
            self,
            networks,
            generator,
            augmentations=() if spec.is_points else suitable_augmentations(spec),
            classes=classes,
            extensions=Extensions(knobs=DiffusionKnobs, transform=Diffusion(self.noise, self.times).transform),
        )
