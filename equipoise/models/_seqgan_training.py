"""Training of SeqGAN: its knobs, the losses of both networks, and the schedule of its phases (Yu 2017, algorithm 1)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from equipoise.core.data import Batch
from equipoise.core.knobs import Knobs, knob
from equipoise.core.model import Loss, Moment, Networks, OptimizerSettings, Phase
from equipoise.losses.adversarial import logistic_discriminator
from equipoise.models._seqgan_rewards import Rewards, discriminator_of, policy_of

LikelihoodSchedule = Literal["cosine", "constant"]


@dataclass(frozen=True, slots=True)
class SeqGANKnobs(Knobs):
    """Knobs of SeqGAN. Defaults: usual settings of Adam for recurrent networks; no running average, as in the paper."""

    lr_g: float = knob(3e-4, 1e-6, 1e-1, "", "log", "learning rate of the generator in adversarial training")
    lr_d: float = knob(1e-3, 1e-6, 1e-1, "", "log", "learning rate of the discriminator")
    lr_likelihood: float = knob(1e-2, 1e-6, 1e-1, "", "log", "learning rate of the generator in likelihood training")
    beta1: float = knob(0.9, 0, 0.95, "", "linear", "Adam's decay of the mean gradient, both networks", max_change=0.1)
    ema_half_life: float = knob(
        0, 1, 1e7, "images", "log", "half-life of the generator's running average; off: no average", can_be_off=True
    )
    likelihood_weight: float = knob(
        0, 1e-4, 1e2, "", "log", "weight of the likelihood of real sentences in addition to the reward", can_be_off=True
    )


SeqGANMoment = Moment[SeqGANKnobs]


@dataclass(frozen=True)
class PolicyTraining:
    """The losses of both networks, and when each is trained. Fields are options of SeqGAN, but `length`: of a sentence.

    `rewards`: how sampled sentences are rewarded.
    """

    rewards: Rewards
    length: int
    likelihood_steps: int
    likelihood_schedule: LikelihoodSchedule
    discriminator_pretraining_steps: int
    generator_every: int
    dropout: float
    output_penalty: float
    max_grad_norm: float

    def schedule(self) -> tuple[Phase, ...]:
        """Return likelihood training of the generator, then discriminator and generator updates."""
        return (
            Phase("likelihood", ("generator",), self.likelihood_loss, when=self.is_likelihood_training),
            Phase(
                "discriminator",
                ("discriminator",),
                self.discriminator_loss,
                when=self.is_discriminator_training,
                repeats=lambda moment: moment.knobs.discriminator_steps,
            ),
            Phase(
                "generator",
                ("generator",),
                self.generator_loss,
                when=self.is_generator_training,
                repeats=lambda moment: moment.knobs.generator_steps,
            ),
        )

    @property
    def adversarial_start(self) -> int:
        """First step of adversarial training."""
        return self.likelihood_steps + self.discriminator_pretraining_steps

    def is_likelihood_training(self, moment: SeqGANMoment) -> bool:
        """Whether the generator alone is trained, by maximum likelihood."""
        return moment.step < self.likelihood_steps

    def is_discriminator_training(self, moment: SeqGANMoment) -> bool:
        """Whether the discriminator is trained: before and during adversarial training."""
        return not self.is_likelihood_training(moment)

    def is_generator_training(self, moment: SeqGANMoment) -> bool:
        """Whether the generator is trained by rewards, every `generator_every` steps of adversarial training."""
        adversarial_steps = moment.step - self.adversarial_start
        return adversarial_steps >= 0 and adversarial_steps % self.generator_every == 0

    def likelihood_loss(self, networks: Networks, batch: Batch, moment: SeqGANMoment) -> Loss:
        """Compute -E log p(y_t | y_1 … y_{t-1}), a mean over tokens."""
        total = self._negative_log_likelihood(networks, batch, moment)
        return Loss(total, terms={"nll_per_token": total.detach()})

    def discriminator_loss(self, networks: Networks, batch: Batch, moment: SeqGANMoment) -> Loss:
        """Compute L_D on real sentences and equally many samples of the generator."""
        discriminator = discriminator_of(networks)
        fake = policy_of(networks).sentences(len(batch), self.length, moment.generator)
        real_logit, fake_logit = discriminator(torch.cat([batch.real, fake]), moment.generator).chunk(2)
        adversarial = logistic_discriminator(real_logit, fake_logit)
        penalty = sum(weight.square().sum() / 2 for weight in discriminator.last.parameters())
        # L_D = -E log D(x) - E log(1 - D(y)) + λ |w|² / 2, w the last layer: Yu 2017, eq. 5, and the authors' code.
        total = adversarial + self.output_penalty * penalty
        return Loss(
            total,
            terms={"adversarial": adversarial.detach()},
            logit_real=real_logit.detach(),
            logit_fake=fake_logit.detach(),
        )

    def generator_loss(self, networks: Networks, batch: Batch, moment: SeqGANMoment) -> Loss:
        """Compute L_G by REINFORCE with a baseline (Williams 1992)."""
        policy, weight = policy_of(networks), moment.knobs.likelihood_weight
        tokens = policy.sentences(len(batch), self.length, moment.generator)
        q = self.rewards.action_values(networks, tokens, moment.generator)
        log_p = policy.log_probabilities(tokens)
        reinforce = -((q - self.rewards.baselines(q)) * log_p).sum(dim=1).mean()
        nll = (
            self._negative_log_likelihood(networks, batch, moment) if weight else torch.zeros((), device=tokens.device)
        )
        # L_G = -E Σ_t (Q(y_1 … y_t) - b_t) log p(y_t | y_1 … y_{t-1}) + λ NLL(x): Yu 2017, eq. 6, with a baseline b.
        total = reinforce + weight * nll
        terms = {"policy": reinforce, "reward": q[:, -1].mean(), "entropy": -log_p.sum(dim=1).mean()}
        return Loss(total, terms={name: term.detach() for name, term in terms.items()})

    def optimizer_settings(self, network: str, moment: SeqGANMoment) -> OptimizerSettings:
        """Return Adam's settings of one network."""
        knobs = moment.knobs
        if network == "discriminator":
            return OptimizerSettings("adam", knobs.lr_d, knobs.beta1, knobs.beta2)
        is_likelihood = self.is_likelihood_training(moment)
        lr = knobs.lr_likelihood * self._likelihood_decay(moment) if is_likelihood else knobs.lr_g
        return OptimizerSettings("adam", lr, knobs.beta1, knobs.beta2, max_grad_norm=self.max_grad_norm)

    def _likelihood_decay(self, moment: SeqGANMoment) -> float:
        """Return the factor of the learning rate: a half cosine from 1 to 0 (Loshchilov 2017, equation 5), or 1."""
        if self.likelihood_schedule == "constant":
            return 1.0
        return (1 + math.cos(math.pi * moment.step / self.likelihood_steps)) / 2

    def _negative_log_likelihood(self, networks: Networks, batch: Batch, moment: SeqGANMoment) -> Tensor:
        return policy_of(networks).negative_log_likelihood(batch.real, self.dropout, moment.generator)
