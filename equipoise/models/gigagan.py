"""GigaGAN: images from texts, with kernels chosen by the sample, and attention (Kang et al. 2023), at small scale.

Kang, Zhu, Zhang, Park, Shechtman, Paris and Park 2023, "Scaling up GANs for Text-to-Image Synthesis". Of its ideas:
convolutions whose kernels are chosen by the style, attention by distance, attention to words, a discriminator that sees
images of several sizes and has an output at every smaller one, and a loss that counts images with a wrong caption as
fake. The text encoder is learned along instead of a frozen CLIP, and there is no CLIP loss: neither fits on a CPU.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Generator, nn

from equipoise.core.captions import Captions
from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model
from equipoise.errors import SettingError
from equipoise.models._adversarial import adversarial_model
from equipoise.models._adversarial_extensions import Extensions
from equipoise.models._adversarial_options import (
    Fakes,
    OptimizerName,
    validate_adversarial_options,
    validate_counts,
)
from equipoise.models._convolutional import suitable_augmentations
from equipoise.models._gigagan_discriminator import PyramidDiscriminator, initialise_discriminator
from equipoise.models._gigagan_generator import TextGenerator, TextSynthesis, initialise_generator
from equipoise.models._gigagan_training import GigaGANKnobs, TextTraining, generate, matching_terms
from equipoise.models._image_pyramid import image_pyramid
from equipoise.nn.style_mapping import MappingNetwork
from equipoise.nn.text_encoder import TextEncoder

__all__ = ["GigaGAN"]

LEARNING: Mapping[str, float] = {"lr_g": 2e-3, "lr_d": 2e-3, "beta1": 0.0, "beta2": 0.99}
"""Adam as for stylegan2."""


@dataclass(frozen=True, kw_only=True)
class GigaGAN:
    """Options of GigaGAN, besides AdversarialOptions in _adversarial_options.py.

    `latent_dim`: numbers of a latent and of a style. `width`: largest number of channels. `channel_base`: a map has
    channel_base / side channels, up to `width`; side is 4, 8, 16, ... from the smallest map. `mapping_layers`: layers
    of the mapping network. `mapping_lr`: their learning rate as a multiple of `lr_g`. `kernels`: kernels of a
    convolution of the generator that a sample mixes; 1 for none to choose from. `attention_side`: longest side of maps
    with attention; 0 for none. `scales`: sizes of the images that the discriminator sees, each half of the one before.
    `text_width`: numbers of a word.
    """

    captions: ClassVar[Literal["needed"]] = "needed"
    loss: ClassVar[Literal["non_saturating"]] = "non_saturating"  # the matching-aware loss has its form
    constraint: ClassVar[Literal["none"]] = "none"
    clip: ClassVar[float] = 0.01

    # Adversarial training: AdversarialOptions in _adversarial_options.py
    fakes: Fakes = "shared"
    penalty_interval: int = 8
    optimizer: OptimizerName = "adam"
    latent_dim: int = 64
    knobs: Mapping[str, float] = field(default_factory=lambda: {**LEARNING, "r1_gamma": 0.1, "ema_half_life": 2000})
    # Networks
    width: int = 64
    channel_base: int = 512
    mapping_layers: int = 2
    mapping_lr: float = 0.01
    kernels: int = 2
    attention_side: int = 8
    scales: int = 3
    text_width: int = 64

    def __post_init__(self) -> None:
        validate_adversarial_options(self)
        validate_counts(width=self.width, channel_base=self.channel_base, mapping_layers=self.mapping_layers)
        validate_counts(kernels=self.kernels, scales=self.scales, text_width=self.text_width)
        if self.attention_side < 0:
            raise SettingError(f"attention_side = {self.attention_side}: it must be at least 0, which is no attention")
        if not 0 < self.mapping_lr <= 1:
            raise SettingError(f"mapping_lr = {self.mapping_lr:g}: it must be above 0, up to 1; stylegan2 has 0.01")

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for images with captions like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        image_pyramid("gigagan", spec, smallest=16)
        if spec.captions is None:
            raise SettingError(
                "gigagan generates images from captions, and this data has none; use --data openmoji, or --model "
                "stylegan2 for images with labels or without"
            )
        text_generator, discriminator = self.networks(spec, spec.captions)
        initialise_generator(text_generator, generator)
        initialise_discriminator(discriminator, generator)
        networks: dict[str, nn.Module] = {"generator": text_generator, "discriminator": discriminator}
        model = adversarial_model(
            "gigagan",
            self,
            networks,
            generator,
            augmentations=suitable_augmentations(spec),
            extensions=Extensions(
                knobs=GigaGANKnobs,
                draw=TextTraining(self.latent_dim).draw,
                captions=spec.captions,
                discriminator_terms=matching_terms,
            ),
        )
        return dataclasses.replace(model, generate=generate, samplings=frozenset({"psi"}))

    def networks(self, spec: DataSpec, captions: Captions) -> tuple[TextGenerator, PyramidDiscriminator]:
        """Build the networks for images like `spec`, without drawing their weights."""
        pyramid = image_pyramid("gigagan", spec, smallest=16)
        sides = [4 << level for level in range(pyramid.doublings + 1)]
        widths = [max(1, min(self.channel_base // side, self.width)) for side in sides]
        words = len(captions.vocabulary)
        mapping = MappingNetwork(
            2 * self.latent_dim, self.latent_dim, layers=self.mapping_layers, lr_multiplier=self.mapping_lr
        )
        synthesis = TextSynthesis(
            spec.shape[0],
            pyramid.start,
            widths,
            self.latent_dim,
            self.text_width,
            kernels=self.kernels,
            attention_side=self.attention_side,
        )
        discriminator = PyramidDiscriminator(
            spec.shape[0],
            pyramid.start,
            widths,
            TextEncoder(words, captions.length, self.text_width),
            scales=min(self.scales, pyramid.doublings),
            attention_side=self.attention_side,
        )
        return TextGenerator(TextEncoder(words, captions.length, self.text_width), mapping, synthesis), discriminator
