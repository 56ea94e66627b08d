"""SeqGAN: text generation by policy gradients, because tokens are discrete (Yu, Zhang, Wang and Yu 2017, "SeqGAN").

The generator is a policy p(y_t | y_1 … y_{t-1}), an LSTM. The reward of a sentence is D(y); the reward of a prefix is
the mean over continuations sampled from the policy (Monte-Carlo search, equation 4). Before adversarial training, the
generator is trained by maximum likelihood, then the discriminator on its samples (algorithm 1).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, cast

import torch
from torch import Generator, Tensor

from equipoise.core.data import Batch, DataSpec
from equipoise.core.knobs import Knobs, check_turnable, knob
from equipoise.core.model import Loss, Model, Moment, Networks, OptimizerSettings, Phase
from equipoise.errors import SettingError
from equipoise.losses.adversarial import logistic_discriminator
from equipoise.models._adversarial_options import validate_counts
from equipoise.models._sentences import SentenceDiscriminator, convolutions_for, require_vocabulary
from equipoise.nn import latents
from equipoise.nn.initialize import all_normal_, fan_in_
from equipoise.nn.recurrent import Recurrent, roll_out

__all__ = ["SeqGAN"]


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


@dataclass(frozen=True, kw_only=True)
class SeqGAN:
    """Options of the networks, the training schedule and the rewards.

    `embedding`: size of a word embedding of the generator. `hidden`: size of the generator's LSTM state.
    `discriminator_embedding`: size of a word embedding of the discriminator. `widths`: widths of the discriminator's
    convolutions in words; those wider than a sentence are omitted. `maps`: feature maps of each width.
    `discriminator_dropout`: probability of dropout in the discriminator, in training. `dropout`: probability of dropout
    in the generator, in likelihood training. `initial`: standard deviation of the generator's initial weights.
    `likelihood_steps`: steps of likelihood training of the generator. `likelihood_schedule`: its learning rate, cosine
    decay to 0 or constant. `discriminator_pretraining_steps`: steps between likelihood and adversarial training, in
    which only the discriminator is trained. `generator_every`: steps per generator update in adversarial training.
    `rollouts`: continuations sampled for each prefix. `reward`: D(y); for ablations, constant for 1 or shuffled for D
    of another sentence. `baseline`: subtracted from the reward of a token without changing the expected gradient: batch
    for the mean of other sentences at the same position, prefix for the value before the token. `output_penalty`:
    weight of half the squared weights of the last layer in the discriminator loss. `max_grad_norm`: norm to which the
    generator's gradient is clipped. `knobs`: values that differ from the defaults of the knobs.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        # Yu 2017, appendix, and the authors' code for the oracle of 5,000 words and 20 tokens. Their discriminator
        # updates use 64 sentences, half of them real. Ours use 64 real and 64 generated ones, so half as many are made.
        "paper": {
            "embedding": 32,
            "hidden": 32,
            "discriminator_embedding": 64,
            "widths": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20),
            "maps": (100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160),
            "discriminator_dropout": 0.25,
            "dropout": 0.0,
            "initial": 0.1,
            "likelihood_steps": 18_720,
            "likelihood_schedule": "constant",
            "discriminator_pretraining_steps": 2340,
            "generator_every": 234,
            "rollouts": 16,
            "baseline": "none",
            "output_penalty": 0.2,
            "max_grad_norm": 5.0,
            "knobs": {
                "lr_g": 1e-2,
                "lr_likelihood": 1e-2,
                "lr_d": 1e-4,
                "beta1": 0.9,
                "beta2": 0.999,
                "discriminator_steps": 10,
            },
        },
        # For an oracle of a few hundred words on a CPU, selected by the NLL_gen of held-out sentences and by cost.
        "oracle": {
            "hidden": 64,
            "dropout": 0.1,
            "likelihood_steps": 2000,
            "discriminator_pretraining_steps": 200,
            "maps": (32, 32, 32, 32, 32),
            "knobs": {"lr_g": 1e-3},
        },
    }

    embedding: int = 32
    hidden: int = 64
    discriminator_embedding: int = 32
    widths: tuple[int, ...] = (1, 2, 3, 4, 5)
    maps: tuple[int, ...] = (32, 64, 64, 64, 64)
    discriminator_dropout: float = 0.25
    dropout: float = 0.2
    initial: float = 0.1
    likelihood_steps: int = 1200
    likelihood_schedule: Literal["cosine", "constant"] = "cosine"
    discriminator_pretraining_steps: int = 100
    generator_every: int = 1
    rollouts: int = 4
    reward: Literal["discriminator", "constant", "shuffled"] = "discriminator"
    baseline: Literal["none", "batch", "prefix"] = "prefix"
    output_penalty: float = 0.0
    max_grad_norm: float = 5.0
    knobs: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        validate_counts(embedding=self.embedding, hidden=self.hidden)
        validate_counts(discriminator_embedding=self.discriminator_embedding)
        validate_counts(generator_every=self.generator_every, rollouts=self.rollouts)
        for name in ("likelihood_steps", "discriminator_pretraining_steps", "output_penalty"):
            if not getattr(self, name) >= 0:
                raise SettingError(f"{name} = {getattr(self, name):g}: it must be at least 0")
        for name in ("initial", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise SettingError(f"{name} = {getattr(self, name):g}: it must be above 0")
        for name in ("dropout", "discriminator_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingError(f"{name} = {getattr(self, name):g}: it must be from 0 to below 1")

    def build(self, spec: DataSpec, generator: Generator) -> Model[SeqGANKnobs]:
        """Build the model for sentences of one length (T,), with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        vocabulary = require_vocabulary(spec, "seqgan")
        (length,) = spec.shape
        widths, maps = convolutions_for(self.widths, self.maps, length, "seqgan")
        policy = Recurrent(len(vocabulary), self.embedding, self.hidden, ends=vocabulary.ends)
        discriminator = SentenceDiscriminator(
            len(vocabulary), self.discriminator_embedding, widths, maps, self.discriminator_dropout
        )
        all_normal_(policy, generator, self.initial)
        fan_in_(discriminator, generator)
        phases = _SeqGANPhases(self, length)
        turnable = frozenset(SeqGANKnobs.ranges())
        check_turnable(self.knobs, turnable, "seqgan")
        return Model(
            name="seqgan",
            networks={"generator": policy, "discriminator": discriminator},
            phases=phases.schedule(),
            knobs=SeqGANKnobs().with_values(self.knobs),
            turnable=turnable,
            optimizer=phases.optimizer_settings,
            latent=lambda count, source, truncation: latents.uniform(count, length, source, truncation),
            generate=lambda networks, latent, condition, sampling: _policy(networks).from_latent(latent).float(),
            logits=lambda networks, batch, moment: _discriminator(networks)(batch.real, moment.generator),
            mixed_precision=False,
            probability=torch.sigmoid,
            ideal=lambda knobs: 2 * math.log(2),
            vocabulary=vocabulary,
            log_likelihood=lambda networks, tokens: _policy(networks).log_likelihood(tokens),
            adversarial_start=phases.adversarial_start,
        )


@dataclass(frozen=True)
class _SeqGANPhases:
    """The losses of both networks, and when each is trained. `length`: tokens of a sentence."""

    options: SeqGAN
    length: int

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
        return self.options.likelihood_steps + self.options.discriminator_pretraining_steps

    def is_likelihood_training(self, moment: SeqGANMoment) -> bool:
        """Whether the generator alone is trained, by maximum likelihood."""
        return moment.step < self.options.likelihood_steps

    def is_discriminator_training(self, moment: SeqGANMoment) -> bool:
        """Whether the discriminator is trained: before and during adversarial training."""
        return not self.is_likelihood_training(moment)

    def is_generator_training(self, moment: SeqGANMoment) -> bool:
        """Whether the generator is trained by rewards, every `generator_every` steps of adversarial training."""
        adversarial_steps = moment.step - self.adversarial_start
        return adversarial_steps >= 0 and adversarial_steps % self.options.generator_every == 0

    def likelihood_loss(self, networks: Networks, batch: Batch, moment: SeqGANMoment) -> Loss:
        """Compute -E log p(y_t | y_1 … y_{t-1}), a mean over tokens."""
        total = self._negative_log_likelihood(networks, batch, moment)
        return Loss(total, terms={"nll_per_token": total.detach()})

    def discriminator_loss(self, networks: Networks, batch: Batch, moment: SeqGANMoment) -> Loss:
        """Compute L_D on real sentences and equally many samples of the generator."""
        discriminator = _discriminator(networks)
        fake = _policy(networks).sentences(len(batch), self.length, moment.generator)
        real_logit, fake_logit = discriminator(torch.cat([batch.real, fake]), moment.generator).chunk(2)
        adversarial = logistic_discriminator(real_logit, fake_logit)
        penalty = sum(weight.square().sum() / 2 for weight in discriminator.last.parameters())
        # L_D = -E log D(x) - E log(1 - D(y)) + λ |w|² / 2, w the last layer: Yu 2017, eq. 5, and the authors' code.
        total = adversarial + self.options.output_penalty * penalty
        return Loss(
            total,
            terms={"adversarial": adversarial.detach()},
            logit_real=real_logit.detach(),
            logit_fake=fake_logit.detach(),
        )

    def generator_loss(self, networks: Networks, batch: Batch, moment: SeqGANMoment) -> Loss:
        """Compute L_G by REINFORCE with a baseline (Williams 1992)."""
        policy, weight = _policy(networks), moment.knobs.likelihood_weight
        tokens = policy.sentences(len(batch), self.length, moment.generator)
        q = self.action_values(networks, tokens, moment.generator)
        log_p = policy.log_probabilities(tokens)
        reinforce = -((q - self.baselines(q)) * log_p).sum(dim=1).mean()
        nll = (
            self._negative_log_likelihood(networks, batch, moment) if weight else torch.zeros((), device=tokens.device)
        )
        # L_G = -E Σ_t (Q(y_1 … y_t) - b_t) log p(y_t | y_1 … y_{t-1}) + λ NLL(x): Yu 2017, eq. 6, with a baseline b.
        total = reinforce + weight * nll
        terms = {"policy": reinforce, "reward": q[:, -1].mean(), "entropy": -log_p.sum(dim=1).mean()}
        return Loss(total, terms={name: term.detach() for name, term in terms.items()})

    @torch.no_grad()
    def action_values(self, networks: Networks, tokens: Tensor, generator: Generator) -> Tensor:
        """Compute Q (B, T) of sentences (B, T): the expected reward after each token."""
        if self.options.reward == "constant":
            return torch.ones(tokens.shape, device=tokens.device)
        policy, discriminator = _policy(networks), _discriminator(networks)
        q = discriminator.probability(tokens)[:, None].repeat(1, self.length)
        continued = roll_out(policy, tokens, self.options.rollouts, generator)  # (T - 1, rollouts, B, T)
        is_open = policy.open_after(tokens[:, :-1])
        rows = continued.permute(2, 0, 1, 3)[is_open]  # (prefixes that have not ended, rollouts, T)
        q[:, :-1][is_open] = discriminator.probability(rows.flatten(0, 1)).view(rows.shape[:2]).mean(dim=1)
        if self.options.reward == "shuffled":
            q = q[torch.randperm(len(q), generator=generator, device=generator.device)]
        return q

    def baselines(self, q: Tensor) -> Tensor:
        """Compute b (B, T) from Q (B, T); the baseline of a token does not depend on that token."""
        if self.options.baseline == "none" or len(q) < 2:
            return torch.zeros_like(q)
        mean_of_others = (q.sum(dim=0) - q) / (len(q) - 1)
        if self.options.baseline == "batch":
            return mean_of_others
        return torch.cat([mean_of_others[:, :1], q[:, :-1]], dim=1)

    def optimizer_settings(self, network: str, moment: SeqGANMoment) -> OptimizerSettings:
        """Return Adam's settings of one network."""
        knobs = moment.knobs
        if network == "discriminator":
            return OptimizerSettings("adam", knobs.lr_d, knobs.beta1, knobs.beta2)
        is_likelihood = self.is_likelihood_training(moment)
        lr = knobs.lr_likelihood * self._likelihood_decay(moment) if is_likelihood else knobs.lr_g
        return OptimizerSettings("adam", lr, knobs.beta1, knobs.beta2, max_grad_norm=self.options.max_grad_norm)

    def _likelihood_decay(self, moment: SeqGANMoment) -> float:
        """Return the factor of the learning rate: a half cosine from 1 to 0 (Loshchilov 2017, equation 5), or 1."""
        if self.options.likelihood_schedule == "constant":
            return 1.0
        return (1 + math.cos(math.pi * moment.step / self.options.likelihood_steps)) / 2

    def _negative_log_likelihood(self, networks: Networks, batch: Batch, moment: SeqGANMoment) -> Tensor:
        return _policy(networks).negative_log_likelihood(batch.real, self.options.dropout, moment.generator)


def _policy(networks: Networks) -> Recurrent:
    return cast(Recurrent, networks["generator"])


def _discriminator(networks: Networks) -> SentenceDiscriminator:
    return cast(SentenceDiscriminator, networks["discriminator"])
