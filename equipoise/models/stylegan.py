"""StyleGAN: styles control the layers of the generator (Karras et al. 2019, "A Style-Based Generator Architecture").

A mapping network turns the latent into a style w, which sets mean and deviation of every map; noise adds details.
Training mixes the styles of two latents. The networks grow as in ProGAN. By default, they are small; the preset `paper`
has the networks and the settings of the paper.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, cast

import torch
from torch import Generator, Tensor

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model, Networks, StyleSpace
from equipoise.core.sampling import Sampling
from equipoise.errors import SettingError
from equipoise.losses.adversarial import AdversarialLossName
from equipoise.models._adversarial import adversarial_model
from equipoise.models._adversarial_extensions import AdversarialMoment, Extensions
from equipoise.models._adversarial_options import (
    Fakes,
    OptimizerName,
    validate_adversarial_options,
    validate_counts,
)
from equipoise.models._convolutional import suitable_augmentations
from equipoise.models._growing import (
    Growth,
    channel_widths,
    growth_schedule,
    validate_growing_options,
    validate_growing_spec,
)
from equipoise.models._growing_discriminator import GrowingDiscriminator
from equipoise.models._style_generator import StyleGenerator
from equipoise.nn import latents
from equipoise.nn.equalised import initialise_equalised
from equipoise.nn.minibatch_deviation import check_deviation_group
from equipoise.nn.style import mix_styles
from equipoise.nn.style_mapping import MappingNetwork, truncate_styles

__all__ = ["StyleGAN1"]

MEAN_DECAY = 0.995
"""Decay of the mean style per batch, as in the authors' code."""


@dataclass(frozen=True, kw_only=True)
class StyleGAN1:
    """Options of StyleGAN, beside AdversarialOptions in _adversarial_options.py and GrowingOptions in _growing.py.

    `style_dim`: numbers of a style w. `mapping_layers`: layers of the mapping network. `mapping_lr`: learning rate of
    the mapping network as a multiple of `lr_g`. `mixing`: probability that a fake of training has the styles of a
    second latent from a random layer on (Karras 2019, section 3.1).
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        # Karras 2019, appendix C. From 8 to 1,024 pixels it grows in 8.4 of 25 million images.
        "paper": {
            **{"fakes": "fresh", "penalty_interval": 1, "mapping_layers": 8, "mixing": 0.9, "growth": 0.336},
            **{"latent_dim": 512, "style_dim": 512, "width": 512, "max_width": 512},
            "knobs": {"lr_g": 1e-3, "lr_d": 1e-3, "beta1": 0.0, "beta2": 0.99, "r1_gamma": 10.0},
        }
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
    # Networks: GrowingOptions in _growing.py
    levels: tuple[int, ...] = (8,)
    growth: float = 0.5
    fades: tuple[float, ...] = ()
    width: int = 16
    max_width: int = 128
    deviation_group: int = 4
    conditional: bool | None = None
    # Styles
    style_dim: int = 64
    mapping_layers: int = 2
    mapping_lr: float = 0.01
    mixing: float = 0.5

    def __post_init__(self) -> None:
        validate_adversarial_options(self)
        validate_growing_options(self)
        validate_counts(style_dim=self.style_dim, mapping_layers=self.mapping_layers)
        if not 0 < self.mapping_lr <= 1:
            raise SettingError(f"mapping_lr = {self.mapping_lr:g}: it must be above 0, up to 1; the paper has 0.01")
        if not 0 <= self.mixing <= 1:
            raise SettingError(f"mixing = {self.mixing:g}: it is a probability, from 0 to 1")

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for square images like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        validate_growing_spec("stylegan", self, spec)
        classes = 0 if self.conditional is False else spec.classes
        widths = channel_widths(self, spec)
        mapping = MappingNetwork(
            self.latent_dim,
            self.style_dim,
            layers=self.mapping_layers,
            lr_multiplier=self.mapping_lr,
            classes=classes,
        )
        style_generator = StyleGenerator(spec.shape[0], widths, mapping, self.style_dim)
        discriminator = GrowingDiscriminator(
            spec.shape[0], widths, group=self.deviation_group, classes=classes, blurs=True
        )
        style_generator.initialise(generator)
        initialise_equalised(discriminator, generator)
        growth = Growth(growth_schedule(self, spec), len(widths) - 1)
        model = adversarial_model(
            "stylegan",
            self,
            {"generator": style_generator, "discriminator": discriminator},
            generator,
            augmentations=suitable_augmentations(spec),
            classes=classes,
            extensions=Extensions(draw=self._draw, prepare=growth.prepare),
        )
        styles = StyleSpace(_map, _synthesize, lambda networks: _generator(networks).mapping.w_avg)
        return growth.start(
            dataclasses.replace(
                model, generate=_generate, styles=styles, samplings=frozenset({"psi", "cutoff", "noise"})
            )
        )

    def _draw(self, networks: Networks, count: int, labels: Tensor | None, moment: AdversarialMoment) -> Tensor:
        """Generate fakes of training: styles of two latents, fresh noise; moves the mean style."""
        check_deviation_group(count, self.deviation_group)
        generator, source = _generator(networks), moment.generator
        styles = generator.map(latents.normal(count, self.latent_dim, source), labels)
        generator.mapping.update_average(styles[:, 0], MEAN_DECAY)
        if self.mixing:
            second = generator.map(latents.normal(count, self.latent_dim, source), labels)
            active, device = generator.active_layers(), source.device
            crossover = torch.randint(1, active, (count,), generator=source, device=device)
            is_mixed = torch.rand(count, generator=source, device=device) < self.mixing
            styles = mix_styles(styles, second, torch.where(is_mixed, crossover, active))
        return generator.synthesize(styles, generator.draw_noise(count, source))


def _generator(networks: Networks) -> StyleGenerator:
    return cast(StyleGenerator, networks["generator"])


def _map(networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
    """Compute styles (N, layers, D), moved to their mean by psi."""
    generator = _generator(networks)
    psi = 1.0 if sampling.psi is None else sampling.psi
    return truncate_styles(generator.map(latent, condition), generator.mapping.w_avg, psi, sampling.cutoff)


def _synthesize(networks: Networks, styles: Tensor, sampling: Sampling) -> Tensor:
    generator = _generator(networks)
    noise = [None] * styles.shape[1] if sampling.noise == "none" else generator.fixed_noise()
    return generator.synthesize(styles, noise)


def _generate(networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
    return _synthesize(networks, _map(networks, latent, condition, sampling), sampling).clamp(-1, 1)
