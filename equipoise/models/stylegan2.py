"""StyleGAN 2: modulated convolutions and skip connections (Karras et al. 2020, "Analyzing and Improving StyleGAN").

A mapping network turns the latent into a style that scales the filters of every layer, noise adds details, and the
image is the sum of outputs at every resolution. The default networks are small; presets are those of the papers.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, cast

from torch import Generator, nn

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model, Phase, StyleSpace
from equipoise.errors import SettingError
from equipoise.losses.adversarial import AdversarialLossName
from equipoise.losses.path_length import path_length_memory
from equipoise.models._adversarial import adversarial_model
from equipoise.models._adversarial_extensions import Extensions
from equipoise.models._adversarial_options import (
    Fakes,
    OptimizerName,
    validate_adversarial_options,
    validate_counts,
)
from equipoise.models._convolutional import suitable_augmentations
from equipoise.models._diffusion import Diffusion
from equipoise.models._image_pyramid import image_pyramid
from equipoise.models._noisy_samples import NoiseAwareDiscriminator
from equipoise.models._stylegan2_discriminator import DiscriminatorArchitecture, StyleDiscriminator
from equipoise.models._stylegan2_generator import SkipGenerator, SkipSynthesis, initialise_generator
from equipoise.models._stylegan2_sampling import generate, map_latents, mean_style, synthesize
from equipoise.models._stylegan2_training import DiffusedStyleKnobs, StyleGAN2Knobs, StyleTraining
from equipoise.nn.equalised import initialise_equalised
from equipoise.nn.style_mapping import MappingNetwork

__all__ = ["StyleGAN2"]

PAPER: Mapping[str, object] = {
    **{"fakes": "fresh", "penalty_interval": 16, "latent_dim": 512, "width": 512, "mapping_layers": 8, "mixing": 0.9},
    **{"label_layers": 8},
}
"""What the networks of the papers have in common."""


def paper_knobs(lr: float, gamma: float, path_length_weight: float, ema_half_life: float) -> Mapping[str, float]:
    """Return the knobs of a preset; Adam(0, 0.99) and one learning rate in all of them."""
    return {
        **{"lr_g": lr, "lr_d": lr, "beta1": 0.0, "beta2": 0.99, "r1_gamma": gamma},
        **{"path_length_weight": path_length_weight, "ema_half_life": ema_half_life},
    }


@dataclass(frozen=True, kw_only=True)
class StyleGAN2:
    """Options of StyleGAN 2, beside AdversarialOptions in _adversarial_options.py.

    `latent_dim`: numbers of a latent and of a style. `width`: largest number of channels. `channel_base`: a map has
    channel_base / side channels, up to `width`; side is 4, 8, 16, ... from the smallest map. `mapping_layers`: layers
    of the mapping network. `mapping_lr`: their learning rate as a multiple of `lr_g`. `mixing`: probability that a fake
    of training has the styles of a second latent from a random layer on (Karras 2019, section 3.1). `noise`: whether
    layers add noise. `architecture`: of the discriminator, residual or plain. `deviation_group`: samples per group of
    the minibatch standard deviation. `label_layers`: layers that map labels in the discriminator.
    `path_length_interval`: path length regularisation is applied every this many steps, if its knob is not 0.
    `diffusion`: all inputs of the discriminator are diffused, as in diffusion_gan; adds the knob diffusion_steps.
    `conditional`: use class labels; None to use them if the data has them.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        # Karras 2020, table 1, configurations F and E, at 1,024 pixels; gamma of R1 as in the authors' code.
        "ffhq1024": {**PAPER, "channel_base": 32768, "knobs": paper_knobs(2e-3, 10.0, 2.0, 1e4)},
        "ffhq1024_e": {**PAPER, "channel_base": 16384, "knobs": paper_knobs(2e-3, 100.0, 2.0, 1e4)},
        # Karras 2020, "Training Generative Adversarial Networks with Limited Data", appendix C, and its code.
        "paper256": {
            **{**PAPER, "channel_base": 16384, "deviation_group": 8},
            "knobs": paper_knobs(2.5e-3, 1.0, 2.0, 2e4),
        },
        "cifar": {
            **{**PAPER, "channel_base": 32768, "deviation_group": 32, "mapping_layers": 2, "mixing": 0.0},
            **{"architecture": "plain", "knobs": paper_knobs(2.5e-3, 0.01, 0.0, 5e5)},
        },
        # Wang 2022, "Diffusion-GAN", its code: that of "cifar" with diffusion; controller ada:diffusion.
        "diffusion_cifar": {
            **{**PAPER, "channel_base": 32768, "deviation_group": 32, "mapping_layers": 2, "mixing": 0.0},
            **{"architecture": "plain", "diffusion": True},
            "knobs": {**paper_knobs(2.5e-3, 0.01, 0.0, 5e5), "diffusion_steps": 10},
        },
    }

    # Adversarial training: AdversarialOptions in _adversarial_options.py
    loss: AdversarialLossName = "non_saturating"
    constraint: Literal["none", "gradient_penalty"] = "none"
    fakes: Fakes = "shared"
    penalty_interval: int = 8
    clip: ClassVar[float] = 0.01
    optimizer: OptimizerName = "adam"
    latent_dim: int = 64
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {"lr_g": 2e-3, "lr_d": 2e-3, "beta1": 0.0, "beta2": 0.99, "r1_gamma": 1.0}
    )
    # Networks
    width: int = 128
    channel_base: int = 1024
    mapping_layers: int = 2
    mapping_lr: float = 0.01
    mixing: float = 0.5
    noise: bool = True
    architecture: DiscriminatorArchitecture = "residual"
    deviation_group: int = 4
    label_layers: int = 0
    path_length_interval: int = 4
    diffusion: bool = False
    conditional: bool | None = None

    def __post_init__(self) -> None:
        validate_adversarial_options(self)
        validate_counts(width=self.width, channel_base=self.channel_base, mapping_layers=self.mapping_layers)
        validate_counts(deviation_group=self.deviation_group, path_length_interval=self.path_length_interval)
        if self.label_layers < 0:
            raise SettingError(f"label_layers = {self.label_layers}: it must be at least 0")
        if not 0 < self.mapping_lr <= 1:
            raise SettingError(f"mapping_lr = {self.mapping_lr:g}: it must be above 0, up to 1; the paper has 0.01")
        if not 0 <= self.mixing <= 1:
            raise SettingError(f"mixing = {self.mixing:g}: it is a probability, from 0 to 1")

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for images like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        classes = 0 if self.conditional is False else spec.classes
        if self.conditional and not classes:
            raise SettingError("conditional = true, but the data has no labels; omit this option")
        networks = self.networks(spec, classes)
        initialise_generator(cast(SkipGenerator, networks["generator"]), generator)
        initialise_equalised(networks["discriminator"], generator)
        if self.diffusion:
            features = networks["discriminator"].get_parameter("output.weight").shape[1]
            networks["discriminator"] = NoiseAwareDiscriminator(
                networks["discriminator"], spec.shape[0], features, generator
            )
        training = StyleTraining(
            self.mixing, self.noise, self.deviation_group, self.path_length_interval, self.latent_dim, bool(classes)
        )
        path_length = Phase("path_length", ("generator",), training.path_length_loss, when=training.is_path_length_due)
        model = adversarial_model(
            "stylegan2",
            self,
            networks,
            generator,
            augmentations=suitable_augmentations(spec),
            classes=classes,
            extensions=Extensions(
                knobs=DiffusedStyleKnobs if self.diffusion else StyleGAN2Knobs,
                draw=training.draw,
                transform=Diffusion().transform if self.diffusion else None,
                phases=(path_length,),
            ),
        )
        return dataclasses.replace(
            model,
            generate=generate,
            styles=StyleSpace(map_latents, synthesize, mean_style),
            samplings=frozenset({"psi", "cutoff", *({"noise"} if self.noise else ())}),
            memory={**model.memory, **path_length_memory()},
            optimizer=lambda network, moment: training.correct_settings(
                model.optimizer(network, moment), network, moment
            ),
        )

    def networks(self, spec: DataSpec, classes: int) -> dict[str, nn.Module]:
        """Build the networks for images like `spec`, without drawing their weights. `classes`: 0 for none."""
        pyramid = image_pyramid("stylegan2", spec, smallest=16)
        sides = [4 << level for level in range(pyramid.doublings + 1)]
        widths = [max(1, min(self.channel_base // side, self.width)) for side in sides]
        mapping = MappingNetwork(
            self.latent_dim,
            self.latent_dim,
            layers=self.mapping_layers,
            lr_multiplier=self.mapping_lr,
            classes=classes,
        )
        synthesis = SkipSynthesis(spec.shape[0], pyramid.start, widths, self.latent_dim)
        discriminator = StyleDiscriminator(
            spec.shape[0],
            pyramid.start,
            widths,
            architecture=self.architecture,
            group=self.deviation_group,
            classes=classes,
            label_layers=self.label_layers,
        )
        return {"generator": SkipGenerator(mapping, synthesis), "discriminator": discriminator}
