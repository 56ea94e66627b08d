"""ProGAN: networks that grow from small images to the full size (Karras et al. 2018, "Progressive Growing of GANs").

Every doubling of the side adds a block to both networks, which fades in (section 2). Layers have an equalised learning
rate and features of the generator unit length (section 4); the discriminator sees how much a batch varies (section 3).
By default, the networks are small and the penalty is R1; the preset `paper` has the networks and the loss of the paper.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import leaky_relu, one_hot

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs, knob
from equipoise.core.model import Model, Networks
from equipoise.core.sampling import Sampling
from equipoise.losses.adversarial import AdversarialLossName, WeightedPenalty, at_least_float32
from equipoise.models._adversarial import adversarial_model
from equipoise.models._adversarial_extensions import AdversarialMoment, DiscriminatorPass, Extensions
from equipoise.models._adversarial_options import Fakes, OptimizerName, validate_adversarial_options
from equipoise.models._convolutional import suitable_augmentations
from equipoise.models._growing import (
    Growth,
    channel_widths,
    growth_schedule,
    validate_growing_options,
    validate_growing_spec,
)
from equipoise.models._growing_discriminator import SLOPE, GrowingDiscriminator
from equipoise.nn import latents
from equipoise.nn.equalised import EqualConv2d, EqualLinear, initialise_equalised
from equipoise.nn.growing import SMALLEST_SIDE, GrowthLevel, blend, enlarge
from equipoise.nn.minibatch_deviation import check_deviation_group
from equipoise.nn.pixel_norm import pixel_norm

__all__ = ["ProGAN"]


@dataclass(frozen=True, slots=True)
class ProGANKnobs(AdversarialKnobs):
    """Knobs of ProGAN."""

    drift_weight: float = knob(
        0, 1e-6, 1e1, "", "log", "penalty on squared logits of real samples, against their drift", can_be_off=True
    )


@dataclass(frozen=True, kw_only=True)
class ProGAN:
    """Options of ProGAN: see AdversarialOptions in _adversarial_options.py and GrowingOptions in _growing.py."""

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        # Karras 2018, appendix A. Growth from 4 to 1,024 pixels in 9.6 of 12 million images is that of the authors'
        # code; the paper has 12.8 million.
        "paper": {
            **{"loss": "wasserstein", "constraint": "gradient_penalty", "fakes": "fresh", "penalty_interval": 1},
            **{"latent_dim": 512, "width": 512, "max_width": 512, "levels": (4,), "growth": 0.8},
            "knobs": {"lr_g": 1e-3, "lr_d": 1e-3, "beta1": 0.0, "beta2": 0.99, "drift_weight": 1e-3},
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

    def __post_init__(self) -> None:
        validate_adversarial_options(self)
        validate_growing_options(self)

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for square images like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        validate_growing_spec("progan", self, spec)
        classes = 0 if self.conditional is False else spec.classes
        widths = channel_widths(self, spec)
        networks: dict[str, nn.Module] = {
            "generator": ProGANGenerator(self.latent_dim, spec.shape[0], widths, classes),
            "discriminator": GrowingDiscriminator(spec.shape[0], widths, group=self.deviation_group, classes=classes),
        }
        for network in networks.values():
            initialise_equalised(network, generator)
        growth = Growth(growth_schedule(self, spec), len(widths) - 1)
        model = adversarial_model(
            "progan",
            self,
            networks,
            generator,
            augmentations=suitable_augmentations(spec),
            classes=classes,
            extensions=Extensions(
                knobs=ProGANKnobs, draw=self._draw, prepare=growth.prepare, discriminator_terms=drift_terms
            ),
        )
        # Only the direction of a latent has an effect, so that truncation has nearly none.
        return growth.start(dataclasses.replace(model, generate=_generate, samplings=frozenset()))

    def _draw(self, networks: Networks, count: int, labels: Tensor | None, moment: AdversarialMoment) -> Tensor:
        check_deviation_group(count, self.deviation_group)
        latent = latents.normal(count, self.latent_dim, moment.generator)
        return cast(Tensor, networks["generator"](latent, labels))


def drift_terms(
    networks: Networks, outputs: DiscriminatorPass, moment: AdversarialMoment
) -> Mapping[str, WeightedPenalty]:
    """Compute E D(x)^2, which keeps the logits of a Wasserstein loss near 0: Karras 2018, appendix A.1."""
    weight = cast(ProGANKnobs, moment.knobs).drift_weight
    if not weight or outputs.real_logit is None:
        return {}
    return {"drift": WeightedPenalty(weight, at_least_float32(outputs.real_logit).square().mean())}


class ProGANGenerator(nn.Module):
    """Generator of images (N, C, S, S), S the side of the highest level, whatever the present level is.

    `latent_dim`: L. `channels`: C. `widths`: channels of the maps of 4 x 4, 8 x 8, ... up to S x S. `classes`: 0 for
    none. Karras 2018, table 2.
    """

    def __init__(self, latent_dim: int, channels: int, widths: Sequence[int], classes: int) -> None:
        super().__init__()
        width = widths[0]
        self.classes, self.highest = classes, len(widths) - 1
        self.level = GrowthLevel(self.highest)
        self.embedding = EqualLinear(classes, latent_dim) if classes else None
        in_features = latent_dim * (2 if classes else 1)
        # A quarter of the usual gain, as in the authors' code.
        self.dense = EqualLinear(in_features, width * SMALLEST_SIDE**2, gain=math.sqrt(2) / 4, bias=None)
        self.bias = nn.Parameter(torch.zeros(width, 1, 1))
        self.convolution = EqualConv2d(width, width, 3)
        self.blocks = nn.ModuleList(_DoublingBlock(below, above) for below, above in itertools.pairwise(widths))
        self.to_image = nn.ModuleList(EqualConv2d(width, channels, 1, gain=1.0) for width in widths)

    def forward(self, latent: Tensor, condition: Tensor | None) -> Tensor:
        """Generate images from latents (N, L), and labels (N,) or None; about [-1, 1], not clamped.

        Images of the present level are enlarged to the full size.
        """
        features = pixel_norm(latent)
        if self.embedding is not None and condition is not None:
            embedded = self.embedding(one_hot(condition, self.classes).to(latent.dtype))
            features = torch.cat([features, pixel_norm(embedded)], dim=1)
        maps = self.dense(features).unflatten(1, (-1, SMALLEST_SIDE, SMALLEST_SIDE)) + self.bias
        maps = below = _activate(self.convolution(_activate(maps)))
        fade = self.level.fade()
        for block in self.blocks[: fade.level]:
            below, maps = maps, block(maps)
        images: Tensor = self.to_image[fade.level](maps)
        if fade.share < 1:
            images = blend(enlarge(self.to_image[fade.level - 1](below)), images, fade.share)
        return enlarge(images, self.highest - fade.level)


class _DoublingBlock(nn.Module):
    """Repetition of pixels and two convolutions, (N, I, H, W) -> (N, O, 2 H, 2 W)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = EqualConv2d(before, after, 3)
        self.second = EqualConv2d(after, after, 3)

    def forward(self, maps: Tensor) -> Tensor:
        """Transform maps."""
        return _activate(self.second(_activate(self.first(enlarge(maps)))))


def _activate(maps: Tensor) -> Tensor:
    return pixel_norm(leaky_relu(maps, SLOPE))


def _generate(networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
    images: Tensor = networks["generator"](latent, condition)
    return images.clamp(-1, 1)
