"""SeqGAN: words are chosen, not bent, so the generator learns by rewards (Yu, Zhang, Wang and Yu 2017, "SeqGAN").

The generator is a policy, p(y_t | y_1 … y_{t-1}) by an LSTM; the reward of a whole sentence is D(y), that of a prefix
the mean over continuations which the policy itself draws (Monte-Carlo search, equation 4). Before the game the
generator learns by likelihood, and the discriminator to tell what it then writes from the real (algorithm 1).
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
from equipoise.models._adversarial import check_counts
from equipoise.models._writing import Judge, fitting, told_apart, vocabulary_of
from equipoise.nn import latents
from equipoise.nn.initialize import all_normal_, fan_in_
from equipoise.nn.recurrent import Recurrent, roll_out

__all__ = ["SeqGAN"]


@dataclass(frozen=True, slots=True)
class SeqGANKnobs(Knobs):
    """Adam as it is usual for recurrent networks; the running average is off, as in the paper."""

    lr_g: float = knob(3e-4, 1e-6, 1e-1, "", "log", "learning rate of the generator in the game")
    lr_d: float = knob(1e-3, 1e-6, 1e-1, "", "log", "learning rate of the discriminator")
    lr_likelihood: float = knob(1e-2, 1e-6, 1e-1, "", "log", "learning rate of the generator before the game")
    beta1: float = knob(0.9, 0, 0.95, "", "linear", "Adam's decay of the mean gradient, both players", move=0.1)
    ema_half_life: float = knob(
        0, 1, 1e7, "images", "log", "half-life of the generator's running average; off is no average", off=True
    )
    likelihood_weight: float = knob(
        0, 1e-4, 1e2, "", "log", "weight of the likelihood of real sentences beside the reward", off=True
    )


Now = Moment[SeqGANKnobs]


@dataclass(frozen=True, kw_only=True)
class SeqGAN:
    """Options of the two players and of their rewards.

    `embedding`, `hidden`: numbers of a word and of the state of the generator. `judge_embedding`: numbers of a word of
    the discriminator. `widths`, `maps`: words that its convolutions span, and how many there are of each; those wider
    than a sentence are left out. `judge_dropout`: share of its features that is dropped while it learns. `dropout`: the
    same of the generator before the game. `initial`: the standard deviation of the generator's first weights.
    `likelihood_steps`: steps before the discriminator begins. `likelihood_schedule`: how the learning rate goes over
    them, falling to 0 or staying. `judging_steps`: steps after that before the game begins. `generator_every`: in the
    game, steps from one update of the generator to the next. `rollouts`: continuations of each prefix. `reward`: what
    a sentence is worth; `constant` is 1 for all, `shuffled` what D says of another one: both show what a game is good
    for. `baseline`: what is subtracted of a token's reward, none of which changes the mean of the gradient: `batch`,
    that of other sentences at the same place, or `prefix`, that of what stood before the token. `output_penalty`: times
    half the squared weights of the last layer, in the discriminator's loss. `longest`: a longer gradient of the
    generator is scaled down to it. `knobs`: values that differ from the defaults.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        # Yu 2017, appendix, and the sizes of the authors' code for the oracle of 5,000 words and 20 tokens. Its updates
        # of the discriminator see 64 sentences, half of them real; ours 64 real ones and 64 written: half as many.
        "paper": {
            "embedding": 32,
            "hidden": 32,
            "judge_embedding": 64,
            "widths": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20),
            "maps": (100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160),
            "judge_dropout": 0.25,
            "dropout": 0.0,
            "initial": 0.1,
            "likelihood_steps": 18_720,
            "likelihood_schedule": "constant",
            "judging_steps": 2340,
            "generator_every": 234,
            "rollouts": 16,
            "baseline": "none",
            "output_penalty": 0.2,
            "longest": 5.0,
            "knobs": {
                "lr_g": 1e-2,
                "lr_likelihood": 1e-2,
                "lr_d": 1e-4,
                "beta1": 0.9,
                "beta2": 0.999,
                "discriminator_steps": 10,
            },
        },
        # For an oracle of some hundred words on a CPU: tried out by NLL_gen of held-out sentences, small for its cost.
        "oracle": {
            "hidden": 64,
            "dropout": 0.1,
            "likelihood_steps": 2000,
            "judging_steps": 200,
            "maps": (32, 32, 32, 32, 32),
            "knobs": {"lr_g": 1e-3},
        },
    }

    embedding: int = 32
    hidden: int = 64
    judge_embedding: int = 32
    widths: tuple[int, ...] = (1, 2, 3, 4, 5)
    maps: tuple[int, ...] = (32, 64, 64, 64, 64)
    judge_dropout: float = 0.25
    dropout: float = 0.2
    initial: float = 0.1
    likelihood_steps: int = 1200
    likelihood_schedule: Literal["cosine", "constant"] = "cosine"
    judging_steps: int = 100
    generator_every: int = 1
    rollouts: int = 4
    reward: Literal["discriminator", "constant", "shuffled"] = "discriminator"
    baseline: Literal["none", "batch", "prefix"] = "prefix"
    output_penalty: float = 0.0
    longest: float = 5.0
    knobs: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_counts(embedding=self.embedding, hidden=self.hidden, judge_embedding=self.judge_embedding)
        check_counts(generator_every=self.generator_every, rollouts=self.rollouts)
        for name in ("likelihood_steps", "judging_steps", "output_penalty"):
            if not getattr(self, name) >= 0:
                raise SettingError(f"{name} = {getattr(self, name):g}: it must be at least 0")
        for name in ("initial", "longest"):
            if not getattr(self, name) > 0:
                raise SettingError(f"{name} = {getattr(self, name):g}: it must be above 0")
        for name in ("dropout", "judge_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingError(f"{name} = {getattr(self, name):g}: it must be from 0 to below 1")

    def build(self, spec: DataSpec, generator: Generator) -> Model[SeqGANKnobs]:
        """The game for sentences of one length (T,). Raises SettingError for data of another kind."""
        vocabulary = vocabulary_of(spec, "seqgan")
        (length,) = spec.shape
        widths, maps = fitting(self.widths, self.maps, length, "seqgan")
        writer = Recurrent(len(vocabulary), self.embedding, self.hidden, ends=vocabulary.ends)
        judge = Judge(len(vocabulary), self.judge_embedding, widths, maps, self.judge_dropout)
        all_normal_(writer, generator, self.initial)
        fan_in_(judge, generator)
        game = _Game(self, length)
        turnable = frozenset(SeqGANKnobs.ranges())
        check_turnable(self.knobs, turnable, "seqgan")
        return Model(
            name="seqgan",
            networks={"generator": writer, "discriminator": judge},
            phases=(
                Phase("likelihood", ("generator",), game.learn_by_likelihood, when=game.before_judging),
                Phase(
                    *("discriminator", ("discriminator",), game.discriminate),
                    when=game.judging,
                    repeats=lambda moment: moment.knobs.discriminator_steps,
                ),
                Phase(
                    *("generator", ("generator",), game.learn_by_rewards),
                    when=game.playing,
                    repeats=lambda moment: moment.knobs.generator_steps,
                ),
            ),
            knobs=SeqGANKnobs().with_values(self.knobs),
            turnable=turnable,
            optimizer=game.settings,
            latent=lambda count, source, truncation: latents.uniform(count, length, source, truncation),
            generate=lambda networks, latent, condition: _writer(networks).from_latent(latent).float(),
            logits=lambda networks, batch, moment: _judge(networks)(batch.real, moment.generator),
            mixed_precision=False,
            probability=torch.sigmoid,
            ideal=lambda knobs: 2 * math.log(2),
            vocabulary=vocabulary,
            log_likelihood=lambda networks, tokens: _writer(networks).log_likelihood(tokens),
            adversarial_start=game.adversarial_start,
        )


@dataclass(frozen=True)
class _Game:
    """The phases of one built SeqGAN."""

    rules: SeqGAN
    length: int

    @property
    def adversarial_start(self) -> int:
        """The step of the first round."""
        return self.rules.likelihood_steps + self.rules.judging_steps

    def before_judging(self, moment: Now) -> bool:
        """The generator learns by likelihood, alone."""
        return moment.step < self.rules.likelihood_steps

    def judging(self, moment: Now) -> bool:
        """The discriminator learns: before the game, and in it."""
        return not self.before_judging(moment)

    def playing(self, moment: Now) -> bool:
        """The generator learns by rewards: once a round of the game."""
        since = moment.step - self.adversarial_start
        return since >= 0 and since % self.rules.generator_every == 0

    def learn_by_likelihood(self, networks: Networks, batch: Batch, moment: Now) -> Loss:
        """-E log p(y_t | y_1 … y_{t-1}), a mean over tokens."""
        total = self._surprise(networks, batch, moment)
        return Loss(total, terms={"nll_per_token": total.detach()})

    def discriminate(self, networks: Networks, batch: Batch, moment: Now) -> Loss:
        """Real sentences against as many that the generator writes now."""
        judge = _judge(networks)
        fake = _writer(networks).sentences(len(batch), self.length, moment.generator)
        real_logit, fake_logit = judge(torch.cat([batch.real, fake]), moment.generator).chunk(2)
        adversarial = told_apart(real_logit, fake_logit)
        penalty = sum(weight.square().sum() / 2 for weight in judge.last.parameters())
        return Loss(
            adversarial + self.rules.output_penalty * penalty,
            terms={"adversarial": adversarial.detach()},
            logit_real=real_logit.detach(),
            logit_fake=fake_logit.detach(),
        )

    def learn_by_rewards(self, networks: Networks, batch: Batch, moment: Now) -> Loss:
        """-E sum_t (Q(y_1 … y_t) - b_t) log p(y_t | …): REINFORCE (Williams 1992) with a baseline."""
        writer, weight = _writer(networks), moment.knobs.likelihood_weight
        tokens = writer.sentences(len(batch), self.length, moment.generator)
        value = self.values(networks, tokens, moment.generator)
        log_probability = writer.log_probabilities(tokens)
        policy = -((value - self.baselines(value)) * log_probability).sum(dim=1).mean()
        surprise = self._surprise(networks, batch, moment) if weight else torch.zeros((), device=tokens.device)
        terms = {"policy": policy, "reward": value[:, -1].mean(), "entropy": -log_probability.sum(dim=1).mean()}
        return Loss(policy + weight * surprise, terms={name: term.detach() for name, term in terms.items()})

    @torch.no_grad()
    def values(self, networks: Networks, tokens: Tensor, generator: Generator) -> Tensor:
        """Q (B, T): the reward to be expected of sentences (B, T) after each token, of whole ones their own."""
        if self.rules.reward == "constant":
            return torch.ones(tokens.shape, device=tokens.device)
        writer, judge = _writer(networks), _judge(networks)
        value = judge.probability(tokens)[:, None].repeat(1, self.length)
        continued = roll_out(writer, tokens, self.rules.rollouts, generator)  # (T - 1, rollouts, B, T)
        open_ = writer.open_after(tokens[:, :-1])
        rows = continued.permute(2, 0, 1, 3)[open_]  # (prefixes that go on, rollouts, T)
        value[:, :-1][open_] = judge.probability(rows.flatten(0, 1)).view(rows.shape[:2]).mean(dim=1)
        if self.rules.reward == "shuffled":
            value = value[torch.randperm(len(value), generator=generator, device=generator.device)]
        return value

    def baselines(self, value: Tensor) -> Tensor:
        """b (B, T), none of which hangs on the token that it is for."""
        if self.rules.baseline == "none" or len(value) < 2:
            return torch.zeros_like(value)
        others = (value.sum(dim=0) - value) / (len(value) - 1)
        return others if self.rules.baseline == "batch" else torch.cat([others[:, :1], value[:, :-1]], dim=1)

    def settings(self, network: str, moment: Now) -> OptimizerSettings:
        """One Adam for each player."""
        knobs = moment.knobs
        if network == "discriminator":
            return OptimizerSettings("adam", knobs.lr_d, knobs.beta1, knobs.beta2)
        rate = knobs.lr_likelihood * self._falling(moment) if self.before_judging(moment) else knobs.lr_g
        return OptimizerSettings("adam", rate, knobs.beta1, knobs.beta2, longest=self.rules.longest)

    def _falling(self, moment: Now) -> float:
        """From 1 to 0 along a half cosine over the likelihood steps (Loshchilov 2017, equation 5), or 1 throughout."""
        if self.rules.likelihood_schedule == "constant":
            return 1.0
        return (1 + math.cos(math.pi * moment.step / self.rules.likelihood_steps)) / 2

    def _surprise(self, networks: Networks, batch: Batch, moment: Now) -> Tensor:
        return _writer(networks).surprise(batch.real, self.rules.dropout, moment.generator)


def _writer(networks: Networks) -> Recurrent:
    return cast(Recurrent, networks["generator"])


def _judge(networks: Networks) -> Judge:
    return cast(Judge, networks["discriminator"])
