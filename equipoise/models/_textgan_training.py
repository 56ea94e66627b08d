"""Training of TextGAN: its knobs, the losses of both networks, and the schedule of its phases (Zhang 2017)."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Generator, Tensor

from equipoise.core.data import TokenBatch
from equipoise.core.knobs import Knobs, knob
from equipoise.core.model import Loss, Moment, Networks, OptimizerSettings, Phase
from equipoise.losses.adversarial import logistic_discriminator
from equipoise.losses.discrepancy import mmd
from equipoise.models._sentences import FeatureMatchingDiscriminator
from equipoise.nn import latents
from equipoise.nn.soft import SoftGenerator


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


@dataclass(frozen=True)
class SoftTraining:
    """The losses of both networks, and when each is trained. Other fields are options of TextGAN.

    `length`: tokens of a sentence; `size`: of a latent.
    """

    length: int
    size: int
    bandwidth: float | None
    autoencoding_steps: int
    swapping_steps: int
    max_grad_norm: float

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
        return int(moment.step >= self.autoencoding_steps) + int(moment.step >= self.adversarial_start)

    @property
    def adversarial_start(self) -> int:
        """First step of adversarial training."""
        return self.autoencoding_steps + self.swapping_steps

    def sharpness(self, moment: TextGANMoment) -> float:
        """Return L: 1 at the start of adversarial training, the knob at the end of the run, log L linear between."""
        start = self.adversarial_start * moment.progress / moment.step if moment.step else 0.0  # as a share of the run
        return float(moment.knobs.sharpness ** max(0.0, (moment.progress - start) / (1 - start))) if start < 1 else 1.0

    def autoencoding_loss(self, networks: Networks, batch: TokenBatch, moment: TextGANMoment) -> Loss:
        """Compute -E log p(s | z = f(s)), a mean over tokens."""
        latent = _discriminator(networks).features(batch.real)
        total = soft_generator_of(networks).negative_log_likelihood(latent, batch.real)
        return Loss(total, terms={"nll_per_token": total.detach()})

    def swapping_loss(self, networks: Networks, batch: TokenBatch, moment: TextGANMoment) -> Loss:
        """Compute L_D on sentences against copies with two words swapped."""
        both = torch.cat([batch.real, swap_two_words(batch, moment.generator)])
        real_logit, fake_logit = logits_of_tokens(networks, both).chunk(2)
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
        discrepancy = mmd(real_features, fake_features, self.bandwidth)
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
        total = mmd(real_features, discriminator.features(fake), self.bandwidth)
        max_weight = fake.detach().amax(dim=2).mean()
        return Loss(total, terms={"discrepancy": total.detach(), "likeliest_word": max_weight})

    def optimizer_settings(self, network: str, moment: TextGANMoment) -> OptimizerSettings:
        """Return Adam's settings of one network."""
        knobs = moment.knobs
        if network == "discriminator":
            return OptimizerSettings("adam", knobs.lr_d, knobs.beta1, knobs.beta2)
        max_grad_norm = self.max_grad_norm
        return OptimizerSettings("adam", knobs.lr_g, knobs.beta1, knobs.beta2, max_grad_norm=max_grad_norm)

    def _generate(self, networks: Networks, count: int, moment: TextGANMoment) -> tuple[Tensor, Tensor]:
        latent = uniform_latent(count, self.size, moment.generator, None)
        return latent, soft_generator_of(networks).soft(latent, self.length, self.sharpness(moment))


def swap_two_words(batch: TokenBatch, generator: Generator) -> Tensor:
    """Swap two random positions of each sentence (B, T); sentences of one word are unchanged."""
    uniform = torch.rand(2, len(batch), generator=generator, device=generator.device)
    first = (uniform[0] * batch.lengths).long()
    second = (uniform[1] * (batch.lengths - 1)).long()
    second = torch.where(batch.lengths > 1, second + (second >= first), first)
    order = torch.arange(batch.real.shape[1], device=batch.real.device).repeat(len(batch), 1)
    order.scatter_(1, first[:, None], second[:, None]).scatter_(1, second[:, None], first[:, None])
    return batch.real.gather(1, order)


def uniform_latent(count: int, size: int, generator: Generator, truncation: float | None) -> Tensor:
    """Draw (count, size) from [-1, 1), as in the authors' code; from [-T, T) for a truncation T below 1."""
    bound = 1.0 if truncation is None else min(1.0, truncation)
    return bound * (2 * latents.uniform(count, size, generator) - 1)


def logits_of_tokens(networks: Networks, tokens: Tensor) -> Tensor:
    """Compute logits (B,) of sentences (B, T) int64."""
    discriminator = _discriminator(networks)
    return discriminator.logits(discriminator.features(tokens))


def soft_generator_of(networks: Networks) -> SoftGenerator:
    """Return the generator."""
    return cast(SoftGenerator, networks["generator"])


def _discriminator(networks: Networks) -> FeatureMatchingDiscriminator:
    return cast(FeatureMatchingDiscriminator, networks["discriminator"])
