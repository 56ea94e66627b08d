"""TextGAN: sentences as mixtures of words, so that features can be matched by a kernel (Zhang et al. 2017, "TextGAN").

The discriminator learns features that spread real from written sentences, MMD(f(s), f(G(z))), while they keep enough to
find z again; the generator minimises the discrepancy alone. Its words are softmax(L logits), sharpened as the game
goes on (section 2.3); what it writes in the end are the likeliest ones.

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
from equipoise.losses.discrepancy import mmd
from equipoise.models._adversarial import check_counts
from equipoise.models._writing import fitting, told_apart, vocabulary_of
from equipoise.nn import latents
from equipoise.nn.initialize import all_normal_, fan_in_
from equipoise.nn.sentences import SentenceFeatures
from equipoise.nn.soft import SoftWriter

__all__ = ["TextGAN"]


@dataclass(frozen=True, slots=True)
class TextGANKnobs(Knobs):
    """Weights of the discriminator's two regularisers, and how sharp words become."""

    lr_g: float = knob(1e-3, 1e-6, 1e-1, "", "log", "learning rate of the generator")
    lr_d: float = knob(5e-4, 1e-6, 1e-1, "", "log", "learning rate of the discriminator")
    beta1: float = knob(0.5, 0, 0.95, "", "linear", "Adam's decay of the mean gradient, both players", move=0.1)
    ema_half_life: float = knob(
        0, 1, 1e7, "images", "log", "half-life of the generator's running average; off is no average", off=True
    )
    discrepancy_weight: float = knob(
        1e-3, 1e-6, 1e1, "", "log", "weight of the discrepancy that the discriminator's features seek", off=True
    )
    reconstruction_weight: float = knob(
        1e-3, 1e-6, 1e1, "", "log", "weight of finding the latent again from the discriminator's features", off=True
    )
    sharpness: float = knob(
        100, 1, 1000, "", "log", "L of softmax(L logits) at the end of the game; it rises from 1 evenly in log L"
    )


Now = Moment[TextGANKnobs]


@dataclass(frozen=True, kw_only=True)
class TextGAN:
    """Options of the two players.

    `embedding`, `hidden`: numbers of a word and of the state of the generator. `judge_embedding`: numbers of a word of
    the discriminator. `widths`, `maps`: words that its convolutions span, and how many there are of each; those wider
    than a sentence are left out. A latent has as many numbers as there are maps. `head`: units between features and
    logit. `initial`: the standard deviation of the generator's first weights. `bandwidth`: of the kernel; None for five
    around the median distance. `autoencoding_steps`: steps before the game in which the discriminator's features are
    decoded by the generator. `swapping_steps`: steps after that in which the discriminator learns to tell sentences
    from copies with two words swapped. `longest`: a longer gradient of the generator is scaled down to it. `knobs`:
    values that differ from the defaults.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        # Zhang 2017, section 4, and the authors' code: latents as long as features, one bandwidth.
        "paper": {
            "embedding": 300,
            "hidden": 500,
            "judge_embedding": 300,
            "widths": (3, 4, 5),
            "maps": (300, 300, 300),
            "head": 200,
            "bandwidth": 20.0,
            "knobs": {"lr_g": 5e-5, "lr_d": 1e-4, "beta1": 0.9, "beta2": 0.999, "sharpness": 1000},
        }
    }

    embedding: int = 32
    hidden: int = 64
    judge_embedding: int = 32
    widths: tuple[int, ...] = (2, 3, 4)
    maps: tuple[int, ...] = (32, 32, 32)
    head: int = 64
    initial: float = 0.1
    bandwidth: float | None = None
    autoencoding_steps: int = 1000
    swapping_steps: int = 200
    longest: float = 5.0
    knobs: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_counts(embedding=self.embedding, hidden=self.hidden, judge_embedding=self.judge_embedding, head=self.head)
        for name in ("initial", "bandwidth", "longest"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingError(f"{name} = {value:g}: it must be above 0")
        for name in ("autoencoding_steps", "swapping_steps"):
            if not getattr(self, name) >= 0:
                raise SettingError(f"{name} = {getattr(self, name)}: it must be at least 0")

    def build(self, spec: DataSpec, generator: Generator) -> Model[TextGANKnobs]:
        """The game for sentences of one length (T,). Raises SettingError for data of another kind."""
        vocabulary = vocabulary_of(spec, "textgan")
        (length,) = spec.shape
        widths, maps = fitting(self.widths, self.maps, length, "textgan")
        size = sum(maps)
        writer = SoftWriter(len(vocabulary), self.embedding, self.hidden, size, ends=vocabulary.ends)
        features = SentenceFeatures(len(vocabulary), self.judge_embedding, widths, maps)
        judge = MatchingJudge(features, size, self.head)
        all_normal_(writer, generator, self.initial)
        fan_in_(judge, generator)
        turnable = frozenset(TextGANKnobs.ranges())
        check_turnable(self.knobs, turnable, "textgan")
        game = _Game(self, length, size)
        return Model(
            name="textgan",
            networks={"generator": writer, "discriminator": judge},
            phases=(
                Phase(
                    *("autoencoding", ("generator", "discriminator"), game.autoencode),
                    when=lambda m: game.stage(m) == 0,
                ),
                Phase("swapping", ("discriminator",), game.spot_swaps, when=lambda m: game.stage(m) == 1),
                Phase(
                    *("discriminator", ("discriminator",), game.discriminate),
                    when=lambda m: game.stage(m) == 2,
                    repeats=lambda m: m.knobs.discriminator_steps,
                ),
                Phase(
                    *("generator", ("generator",), game.match),
                    when=lambda m: game.stage(m) == 2,
                    repeats=lambda m: m.knobs.generator_steps,
                ),
            ),
            knobs=TextGANKnobs().with_values(self.knobs),
            turnable=turnable,
            optimizer=game.settings,
            latent=lambda count, source, truncation: _latent(count, size, source, truncation),
            generate=lambda networks, latent, condition: _writer(networks).written(latent, length).float(),
            logits=lambda networks, batch, moment: _judge(networks).judge(_judge(networks).features(batch.real)),
            mixed_precision=False,
            probability=torch.sigmoid,
            ideal=lambda knobs: 2 * math.log(2),
            vocabulary=vocabulary,
            adversarial_start=game.adversarial_start,
        )


class MatchingJudge(nn.Module):
    """f(s) in (-1, 1), D(s) by two layers of it, and z again by two more (Zhang 2017, section 2.1 and figure 1)."""

    def __init__(self, seen: SentenceFeatures, size: int, head: int) -> None:
        super().__init__()
        self.seen = seen
        self.decide = nn.Sequential(nn.Linear(size, head), nn.ReLU(), nn.Linear(head, 1))
        self.find = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, size), nn.Tanh())

    def features(self, sentences: Tensor) -> Tensor:
        """(B, F) of tokens (B, T), or of mixtures of words (B, T, V)."""
        return cast(Tensor, self.seen(sentences)).tanh()

    def judge(self, features: Tensor) -> Tensor:
        """(B, F) -> logits (B,)."""
        logits: Tensor = self.decide(features)
        return logits.squeeze(1)


@dataclass(frozen=True)
class _Game:
    """The phases of one built TextGAN."""

    rules: TextGAN
    length: int
    size: int

    def stage(self, moment: Now) -> int:
        """0 while features are decoded, 1 while swaps are spotted, 2 in the game."""
        return int(moment.step >= self.rules.autoencoding_steps) + int(moment.step >= self.adversarial_start)

    @property
    def adversarial_start(self) -> int:
        """The first step of the game."""
        return self.rules.autoencoding_steps + self.rules.swapping_steps

    def sharpness(self, moment: Now) -> float:
        """L now: 1 where the game begins, the knob at the end of the run, evenly in log L between."""
        begun = self.adversarial_start * moment.progress / moment.step if moment.step else 0.0  # as a share of the run
        return float(moment.knobs.sharpness ** max(0.0, (moment.progress - begun) / (1 - begun))) if begun < 1 else 1.0

    def autoencode(self, networks: Networks, batch: TokenBatch, moment: Now) -> Loss:
        """-E log p(s | z = f(s)), a mean over tokens."""
        total = _writer(networks).surprise(_judge(networks).features(batch.real), batch.real)
        return Loss(total, terms={"nll_per_token": total.detach()})

    def spot_swaps(self, networks: Networks, batch: TokenBatch, moment: Now) -> Loss:
        """Sentences against copies with two words swapped."""
        judge = _judge(networks)
        both = torch.cat([batch.real, swapped(batch, moment.generator)])
        real_logit, fake_logit = judge.judge(judge.features(both)).chunk(2)
        total = told_apart(real_logit, fake_logit)
        return Loss(total, terms={"adversarial": total.detach()})

    def discriminate(self, networks: Networks, batch: TokenBatch, moment: Now) -> Loss:
        """-E log D(s) - E log(1 - D(G(z))) + λ_r |z' - z|² - λ_m MMD²(f(s), f(G(z)))."""
        judge, knobs = _judge(networks), moment.knobs
        with torch.no_grad():
            latent, fake = self._fakes(networks, len(batch), moment)
        real_seen, fake_seen = judge.features(batch.real), judge.features(fake)
        real_logit, fake_logit = judge.judge(real_seen), judge.judge(fake_seen)
        adversarial = told_apart(real_logit, fake_logit)
        lost = (judge.find(fake_seen) - latent).square().sum(dim=1).mean()
        apart = mmd(real_seen, fake_seen, self.rules.bandwidth)
        terms = {"adversarial": adversarial, "reconstruction": lost, "discrepancy": apart}
        return Loss(
            adversarial + knobs.reconstruction_weight * lost - knobs.discrepancy_weight * apart,
            terms={name: term.detach() for name, term in terms.items()},
            logit_real=real_logit.detach(),
            logit_fake=fake_logit.detach(),
        )

    def match(self, networks: Networks, batch: TokenBatch, moment: Now) -> Loss:
        """MMD²(f(s), f(G(z)))."""
        judge = _judge(networks)
        _, fake = self._fakes(networks, len(batch), moment)
        with torch.no_grad():
            real_seen = judge.features(batch.real)
        total = mmd(real_seen, judge.features(fake), self.rules.bandwidth)
        surest = fake.detach().amax(dim=2).mean()
        return Loss(total, terms={"discrepancy": total.detach(), "likeliest_word": surest})

    def settings(self, network: str, moment: Now) -> OptimizerSettings:
        """One Adam for each player."""
        knobs = moment.knobs
        if network == "discriminator":
            return OptimizerSettings("adam", knobs.lr_d, knobs.beta1, knobs.beta2)
        return OptimizerSettings("adam", knobs.lr_g, knobs.beta1, knobs.beta2, longest=self.rules.longest)

    def _fakes(self, networks: Networks, count: int, moment: Now) -> tuple[Tensor, Tensor]:
        latent = _latent(count, self.size, moment.generator, None)
        return latent, _writer(networks).soft(latent, self.length, self.sharpness(moment))


def swapped(batch: TokenBatch, generator: Generator) -> Tensor:
    """The sentences of a batch, (B, T), two different places of each swapped; those of one word are left."""
    drawn = torch.rand(2, len(batch), generator=generator, device=generator.device)
    first = (drawn[0] * batch.lengths).long()
    second = (drawn[1] * (batch.lengths - 1)).long()
    second = torch.where(batch.lengths > 1, second + (second >= first), first)
    order = torch.arange(batch.real.shape[1], device=batch.real.device).repeat(len(batch), 1)
    order.scatter_(1, first[:, None], second[:, None]).scatter_(1, second[:, None], first[:, None])
    return batch.real.gather(1, order)


def _latent(count: int, size: int, generator: Generator, truncation: float | None) -> Tensor:
    """(count, size) from [-1, 1), as the authors' code draws it; within [-T, T) for a truncation T below 1."""
    bound = 1.0 if truncation is None else min(1.0, truncation)
    return bound * (2 * latents.uniform(count, size, generator) - 1)


def _writer(networks: Networks) -> SoftWriter:
    return cast(SoftWriter, networks["generator"])


def _judge(networks: Networks) -> MatchingJudge:
    return cast(MatchingJudge, networks["discriminator"])
