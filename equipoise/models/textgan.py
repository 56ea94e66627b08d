"""TextGAN: text generation by soft sentences, whose features are matched by a kernel (Zhang et al. 2017, "TextGAN").

The discriminator learns features that maximise the discrepancy MMD(f(s), f(G(z))) and allow z to be reconstructed; the
generator minimises the discrepancy alone. In training, its words are softmax(L logits), with L increasing during
training (section 2.3); samples consist of the most likely words.

    D:  -E log D(s) - E log(1 - D(G(z))) + λ_r |z' - z|² - λ_m MMD²        G:  MMD²(f(s), f(G(z)))
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from torch import Generator, Tensor, nn

from equipoise.core.data import DataSpec, TokenBatch
from equipoise.core.knobs import Knobs, check_turnable, knob
from equipoise.core.model import Loss, Model, Moment, Networks, OptimizerSettings, Phase
from equipoise.errors import SettingError
from equipoise.losses.adversarial import logistic_discriminator
from equipoise.losses.discrepancy import mmd
from equipoise.models._adversarial_options import validate_counts
from equipoise.models._sentences import convolutions_for, require_vocabulary
from equipoise.nn import latents
from equipoise.nn.initialize import all_normal_, fan_in_
from equipoise.nn.sentences import SentenceFeatures
from equipoise.nn.soft import SoftGenerator

__all__ = ["TextGAN"]


@dataclass(frozen=True, slots=True)
class TextGANKnobs(Knobs):
    """Knobs of TextGAN: learning rates, weights of the discriminator's two regularisers, sharpness of soft words."""

    lr_g: float = knob(1e-3, 1e-6, 1e-1, "", "log", "learning rate of the generator")
    lr_d: float = knob(5e-4, 1e-6, 1e-1, "", "log", "learning rate of the discriminator")
    beta1: float = knob(0.5, 0, 0.95, "", "linear", "Adam's decay of the mean gradient, both networks", max_change=0.1)
    ema_half_life: float = knob(
        0, 1, 1e7, "images", "log", "half-life of the generator's running average; off: no average", can_be_off=True
    )
    discrepancy_weight: float = knob(
        1e-3, 1e-6, 1e1, "", "log", "weight of the discrepancy that the discriminator maximises", can_be_off=True
    )
    reconstruction_weight: float = knob(
        1e-3,
        1e-6,
        1e1,
        "",
        "log",
        "weight of reconstructing the latent from the discriminator's features",
        can_be_off=True,
    )
    sharpness: float = knob(
        100, 1, 1000, "", "log", "L of softmax(L logits) at the end of training; log L increases linearly from 0"
    )


TextGANMoment = Moment[TextGANKnobs]


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
        phases = _TextGANPhases(self, length, size)
        return Model(
            name="textgan",
            networks={"generator": soft_generator, "discriminator": discriminator},
            phases=phases.schedule(),
            knobs=TextGANKnobs().with_values(self.knobs),
            turnable=turnable,
            optimizer=phases.optimizer_settings,
            latent=lambda count, source, truncation: _uniform_latent(count, size, source, truncation),
            generate=lambda networks, latent, condition, sampling: _generator(networks).tokens(latent, length).float(),
            logits=lambda networks, batch, moment: _logits_of_tokens(networks, batch.real),
            mixed_precision=False,
            probability=torch.sigmoid,
            ideal=lambda knobs: 2 * math.log(2),
            vocabulary=vocabulary,
            adversarial_start=phases.adversarial_start,
        )


class FeatureMatchingDiscriminator(nn.Module):
    """Discriminator: features f(s) in (-1, 1), D(s) by two layers, z reconstructed by two more (Zhang 2017, figure
    1)."""

    def __init__(self, sentence_features: SentenceFeatures, size: int, head: int) -> None:
        super().__init__()
        self.register_module("seen", sentence_features)  # this name is part of the checkpoint format
        self.decide = nn.Sequential(nn.Linear(size, head), nn.ReLU(), nn.Linear(head, 1))
        self.find = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, size), nn.Tanh())

    def features(self, sentences: Tensor) -> Tensor:
        """Compute f (B, F) of tokens (B, T), or of mixtures of words (B, T, V)."""
        return cast(Tensor, self.get_submodule("seen")(sentences)).tanh()

    def logits(self, features: Tensor) -> Tensor:
        """Compute logits (B,) from features (B, F)."""
        logits: Tensor = self.decide(features)
        return logits.squeeze(1)

    def reconstruct(self, features: Tensor) -> Tensor:
        """Compute an estimate (B, F) of the latent from features (B, F)."""
        latent: Tensor = self.find(features)
        return latent


@dataclass(frozen=True)
class _TextGANPhases:
    """The losses of both networks, and when each is trained. `length`: tokens of a sentence; `size`: of a latent."""

    options: TextGAN
    length: int
    size: int

    def schedule(self) -> tuple[Phase, ...]:
        """Return autoencoding, detection of swapped words, then adversarial training."""
        return (
            Phase(
                "autoencoding",
                ("generator", "discriminator"),
                self.autoencoding_loss,
                when=lambda moment: self.period(moment) == 0,
            ),
            Phase("swapping", ("discriminator",), self.swapping_loss, when=lambda moment: self.period(moment) == 1),
            Phase(
                "discriminator",
                ("discriminator",),
                self.discriminator_loss,
                when=lambda moment: self.period(moment) == 2,
                repeats=lambda moment: moment.knobs.discriminator_steps,
            ),
            Phase(
                "generator",
                ("generator",),
                self.generator_loss,
                when=lambda moment: self.period(moment) == 2,
                repeats=lambda moment: moment.knobs.generator_steps,
            ),
        )

    def period(self, moment: TextGANMoment) -> int:
        """Return 0 in autoencoding, 1 in detection of swapped words, 2 in adversarial training."""
        return int(moment.step >= self.options.autoencoding_steps) + int(moment.step >= self.adversarial_start)

    @property
    def adversarial_start(self) -> int:
        """First step of adversarial training."""
        return self.options.autoencoding_steps + self.options.swapping_steps

    def sharpness(self, moment: TextGANMoment) -> float:
        """Return L: 1 at the start of adversarial training, the knob at the end of the run, log L linear between."""
        start = self.adversarial_start * moment.progress / moment.step if moment.step else 0.0  # as a share of the run
        return float(moment.knobs.sharpness ** max(0.0, (moment.progress - start) / (1 - start))) if start < 1 else 1.0

    def autoencoding_loss(self, networks: Networks, batch: TokenBatch, moment: TextGANMoment) -> Loss:
        """Compute -E log p(s | z = f(s)), a mean over tokens."""
        latent = _discriminator(networks).features(batch.real)
        total = _generator(networks).negative_log_likelihood(latent, batch.real)
        return Loss(total, terms={"nll_per_token": total.detach()})

    def swapping_loss(self, networks: Networks, batch: TokenBatch, moment: TextGANMoment) -> Loss:
        """Compute L_D on sentences against copies with two words swapped."""
        both = torch.cat([batch.real, swap_two_words(batch, moment.generator)])
        real_logit, fake_logit = _logits_of_tokens(networks, both).chunk(2)
        total = logistic_discriminator(real_logit, fake_logit)
        return Loss(total, terms={"adversarial": total.detach()})

    def discriminator_loss(self, networks: Networks, batch: TokenBatch, moment: TextGANMoment) -> Loss:
        """Compute L_D on real sentences and soft sentences of the generator."""
        discriminator, knobs = _discriminator(networks), moment.knobs
        with torch.no_grad():
            latent, fake = self._generate(networks, len(batch), moment)
        real_features, fake_features = discriminator.features(batch.real), discriminator.features(fake)
        real_logit, fake_logit = discriminator.logits(real_features), discriminator.logits(fake_features)
        adversarial = logistic_discriminator(real_logit, fake_logit)
        reconstruction = (discriminator.reconstruct(fake_features) - latent).square().sum(dim=1).mean()
        discrepancy = mmd(real_features, fake_features, self.options.bandwidth)
        # L_D = -E log D(s) - E log(1 - D(G(z))) + λ_r E |z' - z|² - λ_m MMD²(f(s), f(G(z))): Zhang 2017, section 2.1.
        total = adversarial + knobs.reconstruction_weight * reconstruction - knobs.discrepancy_weight * discrepancy
        terms = {"adversarial": adversarial, "reconstruction": reconstruction, "discrepancy": discrepancy}
        return Loss(
            total,
            terms={name: term.detach() for name, term in terms.items()},
            logit_real=real_logit.detach(),
            logit_fake=fake_logit.detach(),
        )

    def generator_loss(self, networks: Networks, batch: TokenBatch, moment: TextGANMoment) -> Loss:
        """Compute L_G on soft sentences."""
        discriminator = _discriminator(networks)
        _, fake = self._generate(networks, len(batch), moment)
        with torch.no_grad():
            real_features = discriminator.features(batch.real)
        # L_G = MMD²(f(s), f(G(z))): Zhang 2017, section 2.1.
        total = mmd(real_features, discriminator.features(fake), self.options.bandwidth)
        max_weight = fake.detach().amax(dim=2).mean()
        return Loss(total, terms={"discrepancy": total.detach(), "likeliest_word": max_weight})

    def optimizer_settings(self, network: str, moment: TextGANMoment) -> OptimizerSettings:
        """Return Adam's settings of one network."""
        knobs = moment.knobs
        if network == "discriminator":
            return OptimizerSettings("adam", knobs.lr_d, knobs.beta1, knobs.beta2)
        max_grad_norm = self.options.max_grad_norm
        return OptimizerSettings("adam", knobs.lr_g, knobs.beta1, knobs.beta2, max_grad_norm=max_grad_norm)

    def _generate(self, networks: Networks, count: int, moment: TextGANMoment) -> tuple[Tensor, Tensor]:
        latent = _uniform_latent(count, self.size, moment.generator, None)
        return latent, _generator(networks).soft(latent, self.length, self.sharpness(moment))


def swap_two_words(batch: TokenBatch, generator: Generator) -> Tensor:
    """Swap two random positions of each sentence (B, T); sentences of one word are unchanged."""
    uniform = torch.rand(2, len(batch), generator=generator, device=generator.device)
    first = (uniform[0] * batch.lengths).long()
    second = (uniform[1] * (batch.lengths - 1)).long()
    second = torch.where(batch.lengths > 1, second + (second >= first), first)
    order = torch.arange(batch.real.shape[1], device=batch.real.device).repeat(len(batch), 1)
    order.scatter_(1, first[:, None], second[:, None]).scatter_(1, second[:, None], first[:, None])
    return batch.real.gather(1, order)


def _uniform_latent(count: int, size: int, generator: Generator, truncation: float | None) -> Tensor:
    """Draw (count, size) from [-1, 1), as in the authors' code; from [-T, T) for a truncation T below 1."""
    bound = 1.0 if truncation is None else min(1.0, truncation)
    return bound * (2 * latents.uniform(count, size, generator) - 1)


def _logits_of_tokens(networks: Networks, tokens: Tensor) -> Tensor:
    discriminator = _discriminator(networks)
    return discriminator.logits(discriminator.features(tokens))


def _generator(networks: Networks) -> SoftGenerator:
    return cast(SoftGenerator, networks["generator"])


def _discriminator(networks: Networks) -> FeatureMatchingDiscriminator:
    return cast(FeatureMatchingDiscriminator, networks["discriminator"])
