"""TextGAN: text generation by soft sentences, whose features are matched by a kernel (Zhang et al. 2017, "TextGAN").

The discriminator learns features that maximise the discrepancy MMD(f(s), f(G(z))) and allow z to be reconstructed; the
generator minimises the discrepancy alone. In training, its words are softmax(L logits), with L increasing during
training (section 2.3); samples consist of the most likely words.

    D:  -E log D(s) - E log(1 - D(G(z))) + λ_r |z' - z|² - λ_m MMD²        G:  MMD²(f(s), f(G(z)))
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Generator

from equipoise.core.data import DataSpec
from equipoise.core.knobs import check_turnable
from equipoise.core.model import Model
from equipoise.errors import SettingError
from equipoise.models._adversarial_options import validate_counts
from equipoise.models._sentences import FeatureMatchingDiscriminator, convolutions_for, require_vocabulary
from equipoise.models._textgan_training import (
    SoftTraining,
    TextGANKnobs,
    logits_of_tokens,
    soft_generator_of,
    uniform_latent,
)
from equipoise.nn.initialize import all_normal_, fan_in_
from equipoise.nn.sentences import SentenceFeatures
from equipoise.nn.soft import SoftGenerator

__all__ = ["TextGAN"]


@dataclass(frozen=True, kw_only=True)
class TextGAN:
    """Options of the networks and of the training schedule.

    `embedding`: size of a word embedding of the generator. `hidden`: size of the generator's LSTM state.
    `discriminator_embedding`: size of a word embedding of the discriminator. `widths`: widths of the discriminator's
    convolutions in words; those wider than a sentence are omitted. `maps`: feature maps of each width; their sum is the
    length of the latent. `head`: hidden units between features and logit. `initial`: standard deviation of the
    generator's initial weights. `bandwidth`: bandwidth of the kernel; None for five around the median distance.
    `autoencoding_steps`: steps before adversarial training in which the generator learns to decode the discriminator's
    features. `swapping_steps`: steps after that in which the discriminator learns to distinguish sentences from copies
    with two words swapped. `max_grad_norm`: norm to which the generator's gradient is clipped. `knobs`: values that
    differ from the defaults of the knobs.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        # Zhang 2017, section 4, and the authors' code: latents as long as features, one bandwidth.
        "paper": {
            "embedding": 300,
            "hidden": 500,
            "discriminator_embedding": 300,
            "widths": (3, 4, 5),
            "maps": (300, 300, 300),
            "head": 200,
            "bandwidth": 20.0,
            "knobs": {"lr_g": 5e-5, "lr_d": 1e-4, "beta1": 0.9, "beta2": 0.999, "sharpness": 1000},
        }
    }

    embedding: int = 32
    hidden: int = 64
    discriminator_embedding: int = 32
    widths: tuple[int, ...] = (2, 3, 4)
    maps: tuple[int, ...] = (32, 32, 32)
    head: int = 64
    initial: float = 0.1
    bandwidth: float | None = None
    autoencoding_steps: int = 1000
    swapping_steps: int = 200
    max_grad_norm: float = 5.0
    knobs: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        validate_counts(embedding=self.embedding, hidden=self.hidden)
        validate_counts(discriminator_embedding=self.discriminator_embedding, head=self.head)
        for name in ("initial", "bandwidth", "max_grad_norm"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingError(f"{name} = {value:g}: it must be above 0")
        for name in ("autoencoding_steps", "swapping_steps"):
            if not getattr(self, name) >= 0:
                raise SettingError(f"{name} = {getattr(self, name)}: it must be at least 0")

    def build(self, spec: DataSpec, generator: Generator) -> Model[TextGANKnobs]:
        """Build the model for sentences of one length (T,), with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        vocabulary = require_vocabulary(spec, "textgan")
        (length,) = spec.shape
        widths, maps = convolutions_for(self.widths, self.maps, length, "textgan")
        size = sum(maps)
        soft_generator = SoftGenerator(len(vocabulary), self.embedding, self.hidden, size, ends=vocabulary.ends)
        features = SentenceFeatures(len(vocabulary), self.discriminator_embedding, widths, maps)
        discriminator = FeatureMatchingDiscriminator(features, size, self.head)
        all_normal_(soft_generator, generator, self.initial)
        fan_in_(discriminator, generator)
        turnable = frozenset(TextGANKnobs.ranges())
        check_turnable(self.knobs, turnable, "textgan")
        phases = self.training(length, size)
        return Model(
            name="textgan",
            networks={"generator": soft_generator, "discriminator": discriminator},
            phases=phases.schedule(),
            knobs=TextGANKnobs().with_values(self.knobs),
            turnable=turnable,
            optimizer=phases.optimizer_settings,
            latent=lambda count, source, truncation: uniform_latent(count, size, source, truncation),
            generate=lambda networks, latent, condition, sampling: (
                soft_generator_of(networks).tokens(latent, length).float()
            ),
            logits=lambda networks, batch, moment: logits_of_tokens(networks, batch.real),
            mixed_precision=False,
            probability=torch.sigmoid,
            ideal=lambda knobs: 2 * math.log(2),
            vocabulary=vocabulary,
            adversarial_start=phases.adversarial_start,
        )

    def training(self, length: int, size: int) -> SoftTraining:
        """Return the losses and the schedule for sentences of `length` tokens and latents of `size` numbers."""
        steps = self.autoencoding_steps, self.swapping_steps
        return SoftTraining(length, size, self.bandwidth, *steps, self.max_grad_norm)
