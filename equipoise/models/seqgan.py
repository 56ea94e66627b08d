"""SeqGAN: text generation by policy gradients, because tokens are discrete (Yu, Zhang, Wang and Yu 2017, "SeqGAN").

The generator is a policy p(y_t | y_1 … y_{t-1}), an LSTM. The reward of a sentence is D(y); the reward of a prefix is
the mean over continuations sampled from the policy (Monte-Carlo search, equation 4). Before adversarial training, the
generator is trained by maximum likelihood, then the discriminator on its samples (algorithm 1).
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
from equipoise.models._sentences import SentenceDiscriminator, convolutions_for, require_vocabulary
from equipoise.models._seqgan_rewards import BaselineKind, RewardKind, Rewards, discriminator_of, policy_of
from equipoise.models._seqgan_training import (
    LikelihoodSchedule,
    PolicyTraining,
    SeqGANKnobs,
)
from equipoise.nn import latents
from equipoise.nn.initialize import all_normal_, fan_in_
from equipoise.nn.recurrent import Recurrent

__all__ = ["SeqGAN"]


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
    likelihood_schedule: LikelihoodSchedule = "cosine"
    discriminator_pretraining_steps: int = 100
    generator_every: int = 1
    rollouts: int = 4
    reward: RewardKind = "discriminator"
    baseline: BaselineKind = "prefix"
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
        phases = self.training(length)
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
            generate=lambda networks, latent, condition, sampling: policy_of(networks).from_latent(latent).float(),
            logits=lambda networks, batch, moment: discriminator_of(networks)(batch.real, moment.generator),
            mixed_precision=False,
            probability=torch.sigmoid,
            ideal=lambda knobs: 2 * math.log(2),
            vocabulary=vocabulary,
            log_likelihood=lambda networks, tokens: policy_of(networks).log_likelihood(tokens),
            adversarial_start=phases.adversarial_start,
        )

    def training(self, length: int) -> PolicyTraining:
        """Return the losses and the schedule for sentences of `length` tokens."""
        return PolicyTraining(
            rewards=Rewards(self.reward, self.rollouts, self.baseline),
            length=length,
            likelihood_steps=self.likelihood_steps,
            likelihood_schedule=self.likelihood_schedule,
            discriminator_pretraining_steps=self.discriminator_pretraining_steps,
            generator_every=self.generator_every,
            dropout=self.dropout,
            output_penalty=self.output_penalty,
            max_grad_norm=self.max_grad_norm,
        )
