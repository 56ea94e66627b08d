"""The game of a generator of samples against a discriminator of one logit: losses x constraints x penalties x fakes.

A recipe of such a GAN extends :class:`Adversarial` with its networks' options. Networks obey two small interfaces:
a generator is called (latent (B, L), labels (B,) or None) -> samples; a discriminator has `features(samples)` and
`judge(features, labels) -> logits (B,)`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Generator, Tensor, nn

from equipoise.core.data import Batch
from equipoise.core.knobs import AdversarialKnobs, check_turnable
from equipoise.core.model import Loss, Memory, Model, Moment, Networks, OptimizerSettings, Phase
from equipoise.errors import SettingError
from equipoise.losses.adversarial import LOSSES, AdversarialLoss, AdversarialLossName
from equipoise.losses.penalties import feature_matching, gradient_penalty, lecam, lecam_memory, zero_centred
from equipoise.nn import latents
from equipoise.nn.augment import Kind, augment, instance_noise
from equipoise.nn.spectral import spectral_norm

Constraint = Literal["none", "weight_clipping", "gradient_penalty", "spectral_norm"]
Now = Moment[AdversarialKnobs]

LABEL_KNOBS = frozenset({"real_label_low", "real_label_high", "fake_label_low", "fake_label_high"})


class Discriminator(nn.Module):
    """The interface of a discriminator, for types."""

    def features(self, samples: Tensor) -> Tensor:
        """What it sees in samples, before its last layer."""
        raise TypeError("an interface is not called")

    def judge(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """The logits (B,) of features."""
        raise TypeError("an interface is not called")


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """How the two players meet.

    `loss` and `constraint`: see losses/adversarial.py; weight_clipping keeps the discriminator's weights in a box,
    gradient_penalty turns `gp_weight` on at 10, spectral_norm divides its layers by their largest singular value.
    `optimizer`: of both players; rmsprop has no beta1, sgd takes it for momentum. `latent_dim`: numbers of noise.
    `fakes`: whether the generator's phase makes fakes anew, or uses those of the discriminator's phase (saves one pass
    of the generator). `penalty_interval`: R1 and R2 every so many steps, in a phase of their own, weighted by the
    interval (Karras 2020, StyleGAN2, section 3.1 and appendix B); 1 puts them into every discriminator update.
    `clip`: the bound of weight clipping. `knobs`: values that differ from the defaults, the published ones of a GAN.
    """

    loss: AdversarialLossName = "non_saturating"
    constraint: Constraint = "none"
    fakes: Literal["fresh", "shared"] = "fresh"
    penalty_interval: int = 1
    clip: float = 0.01
    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    latent_dim: int = 100
    knobs: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        check_counts(penalty_interval=self.penalty_interval, latent_dim=self.latent_dim)
        if not self.clip > 0:
            raise SettingError(f"clip = {self.clip:g}: it must be above 0")

    def game(
        self, name: str, networks: Mapping[str, nn.Module], generator: Generator, *, kinds: Sequence[Kind], classes: int
    ) -> Model[AdversarialKnobs]:
        """The GAN of these networks. `kinds`: augmentations that suit the data. `classes`: labels used, 0 for none."""
        if self.constraint == "spectral_norm":
            for module in networks["discriminator"].modules():
                if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
                    spectral_norm(module, generator)
        turnable = self._turnable(kinds)
        values = {"gp_weight": 10.0} if self.constraint == "gradient_penalty" else {}
        # A recipe's own Adam betas mean nothing to another optimizer; any other knob of its that idles is a mistake.
        betas = {"beta1", "beta2"} - turnable
        values |= {knob: value for knob, value in (self.knobs or {}).items() if knob not in betas}
        check_turnable(values, turnable, name)
        game = _Game(self, LOSSES[self.loss], tuple(kinds), bool(classes))
        lazy = (Phase("penalties", ("discriminator",), game.penalize, when=game.penalty_is_due),)
        return Model(
            name=name,
            networks=networks,
            phases=(
                Phase("discriminator", ("discriminator",), game.discriminate, repeats=discriminator_steps),
                *(lazy if self.penalty_interval > 1 else ()),
                Phase("generator", ("generator",), game.fool, repeats=generator_steps),
            ),
            knobs=AdversarialKnobs().with_values(values),
            turnable=turnable,
            optimizer=game.settings,
            latent=lambda count, source, truncation: latents.normal(count, self.latent_dim, source, truncation),
            generate=_generate,
            logits=game.logits,
            memory=lecam_memory(torch.device("cpu")),
            num_classes=classes,
            mixed_precision=bool(kinds),
            probability=LOSSES[self.loss].probability,
            ideal=game.ideal,
        )

    def _turnable(self, kinds: Sequence[Kind]) -> frozenset[str]:
        idle = set() if LOSSES[self.loss].has_labels else set(LABEL_KNOBS)
        idle |= {"gp_weight"} if self.constraint != "gradient_penalty" else set()
        idle |= {"augment_p"} if not kinds else set()
        idle |= {"adam": set(), "rmsprop": {"beta1"}, "sgd": {"beta2"}}[self.optimizer]
        return frozenset(AdversarialKnobs.ranges()) - idle


@dataclass(frozen=True)
class _Game:
    """The phases of one built GAN."""

    rules: Adversarial
    loss: AdversarialLoss
    kinds: tuple[Kind, ...]
    conditional: bool

    def discriminate(self, networks: Networks, batch: Batch, moment: Now) -> Loss:
        """The discriminator's loss: adversarial term plus every penalty that is on and not lazy."""
        knobs, labels = moment.knobs, self._labels(batch)
        share = self.rules.fakes == "shared"
        with torch.set_grad_enabled(share):
            fake = self._fakes(networks, len(batch), labels, moment)
        real_seen, fake_seen = self._seen(batch.real, moment), self._seen(fake.detach(), moment)
        discriminator = cast(Discriminator, networks["discriminator"])
        real_logit = discriminator.judge(discriminator.features(real_seen), labels)
        fake_logit = discriminator.judge(discriminator.features(fake_seen), labels)
        real_label = drawn_label(knobs.real_label_low, knobs.real_label_high, real_logit, moment)
        fake_label = drawn_label(knobs.fake_label_low, knobs.fake_label_high, fake_logit, moment)
        adversarial = self.loss.discriminator(real_logit, fake_logit, real_label, fake_label)
        weighted: dict[str, tuple[float, Tensor]] = {}
        memory: Memory = {}
        if knobs.lecam_weight:
            penalty, memory = lecam(real_logit, fake_logit, moment.memory)
            weighted["lecam"] = knobs.lecam_weight, penalty
        if knobs.gp_weight:
            judge = self._judge(networks, labels)
            penalty = gradient_penalty(judge, real_seen, fake_seen, moment.generator)
            weighted["gradient_penalty"] = knobs.gp_weight, penalty
        if self.rules.penalty_interval == 1:
            weighted |= self._zero_centred(networks, real_seen, fake_seen, labels, knobs)
        return Loss(
            adversarial + sum(weight * penalty for weight, penalty in weighted.values()),
            terms=_terms(adversarial, weighted),
            logit_real=real_logit.detach(),
            logit_fake=fake_logit.detach(),
            memory=memory,
            carry=({"fake": fake} | ({} if labels is None else {"labels": labels})) if share else {},
        )

    def penalize(self, networks: Networks, batch: Batch, moment: Now) -> Loss:
        """R1 and R2, lazily: interval (gamma_1 R1 + gamma_2 R2)."""
        labels = self._labels(batch)
        with torch.no_grad():
            real = self._seen(batch.real, moment)
            fake = real
            if moment.knobs.r2_gamma:
                fake = self._seen(self._fakes(networks, len(batch), labels, moment), moment)
        weighted = self._zero_centred(networks, real, fake, labels, moment.knobs)
        total = self.rules.penalty_interval * sum(weight * penalty for weight, penalty in weighted.values())
        return Loss(cast(Tensor, total), terms={name: penalty.detach() for name, (_, penalty) in weighted.items()})

    def penalty_is_due(self, moment: Now) -> bool:
        """Every so many steps, if either penalty is on."""
        on = moment.knobs.r1_gamma > 0 or moment.knobs.r2_gamma > 0
        return on and moment.step % self.rules.penalty_interval == 0

    def fool(self, networks: Networks, batch: Batch, moment: Now) -> Loss:
        """The generator's loss: adversarial term plus feature matching if that is on."""
        weight = moment.knobs.feature_matching_weight
        real_labels, labels = self._labels(batch), moment.carried.get("labels", self._labels(batch))
        fake = moment.carried.get("fake")
        if fake is None:
            fake = self._fakes(networks, len(batch), labels, moment)
        discriminator = cast(Discriminator, networks["discriminator"])
        fake_features = discriminator.features(self._seen(fake, moment))
        real_logit = fake_logit = discriminator.judge(fake_features, labels)
        weighted: dict[str, tuple[float, Tensor]] = {}
        if self.loss.needs_real or weight:
            with torch.no_grad():
                real_features = discriminator.features(self._seen(batch.real, moment))
                real_logit = discriminator.judge(real_features, real_labels)
            if weight:
                weighted["feature_matching"] = weight, feature_matching(real_features, fake_features)
        adversarial = self.loss.generator(fake_logit, real_logit)
        return Loss(
            adversarial + sum(weight * penalty for weight, penalty in weighted.values()),
            terms=_terms(adversarial, weighted),
            logit_fake=fake_logit.detach(),
        )

    def logits(self, networks: Networks, batch: Batch, moment: Now) -> Tensor:
        """D(x), (B,), as the discriminator sees reals in training."""
        judge = self._judge(networks, self._labels(batch))
        return judge(self._seen(batch.real, moment))

    def settings(self, network: str, moment: Now) -> OptimizerSettings:
        """One optimizer for each player; the lazy penalty's extra updates are made up for (Karras 2020, appendix B)."""
        knobs, rules = moment.knobs, self.rules
        if network == "generator":
            return OptimizerSettings(rules.optimizer, knobs.lr_g, knobs.beta1, knobs.beta2)
        limit = rules.clip if rules.constraint == "weight_clipping" else None
        lazy = rules.penalty_interval > 1 and (knobs.r1_gamma > 0 or knobs.r2_gamma > 0)
        c = rules.penalty_interval / (rules.penalty_interval + 1) if lazy else 1.0
        return OptimizerSettings(rules.optimizer, knobs.lr_d * c, knobs.beta1**c, knobs.beta2**c, limit=limit)

    def ideal(self, knobs: AdversarialKnobs) -> float:
        """What the discriminator's adversarial term comes to where fakes are as reals are."""
        real = knobs.real_label_low, knobs.real_label_high
        return self.loss.ideal(real, (knobs.fake_label_low, knobs.fake_label_high))

    def _labels(self, batch: Batch) -> Tensor | None:
        return batch.condition if self.conditional else None

    def _fakes(self, networks: Networks, count: int, labels: Tensor | None, moment: Now) -> Tensor:
        latent = latents.normal(count, self.rules.latent_dim, moment.generator)
        return cast(Tensor, networks["generator"](latent, labels))

    def _seen(self, samples: Tensor, moment: Now) -> Tensor:
        """What the discriminator is shown of samples, real or fake."""
        if self.kinds:
            samples = augment(samples, moment.knobs.augment_p, moment.generator, self.kinds)
        return instance_noise(samples, moment.knobs.instance_noise, moment.generator)

    def _judge(self, networks: Networks, labels: Tensor | None) -> Callable[[Tensor], Tensor]:
        discriminator = cast(Discriminator, networks["discriminator"])
        return lambda samples: discriminator.judge(discriminator.features(samples), labels)

    def _zero_centred(
        self, networks: Networks, real: Tensor, fake: Tensor, labels: Tensor | None, knobs: AdversarialKnobs
    ) -> dict[str, tuple[float, Tensor]]:
        judge = self._judge(networks, labels)
        places = {"r1": (knobs.r1_gamma, real), "r2": (knobs.r2_gamma, fake)}
        return {name: (gamma, zero_centred(judge, samples)) for name, (gamma, samples) in places.items() if gamma}


def check_counts(**options: int) -> None:
    """Raise SettingError for the first option below 1."""
    for name, value in options.items():
        if value < 1:
            raise SettingError(f"{name} = {value}: it must be at least 1")


def _terms(adversarial: Tensor, weighted: Mapping[str, tuple[float, Tensor]]) -> dict[str, Tensor]:
    return {"adversarial": adversarial.detach()} | {name: penalty.detach() for name, (_, penalty) in weighted.items()}


def drawn_label(low: float, high: float, logits: Tensor, moment: Now) -> Tensor:
    """(B, 1, ...) for logits (B, ...): one label a sample, uniform between the two in whatever order a controller has
    them; a scalar, and nothing drawn, if they are equal.
    """
    if low == high:
        return torch.full((), low, device=logits.device)
    shape = (len(logits), *(1,) * (logits.ndim - 1))
    return low + (high - low) * torch.rand(shape, generator=moment.generator, device=logits.device)


def discriminator_steps(moment: Now) -> int:
    """As the knob says."""
    return moment.knobs.discriminator_steps


def generator_steps(moment: Now) -> int:
    """As the knob says."""
    return moment.knobs.generator_steps


def _generate(networks: Networks, latent: Tensor, condition: Tensor | None) -> Tensor:
    return cast(Tensor, networks["generator"](latent, condition))
