"""Adversarial training with one logit per sample: the phases and losses that the options of a recipe define.

A recipe is a frozen dataclass that has the fields of :class:`AdversarialOptions`; its `build` builds the networks and
passes both to :func:`adversarial_model`. A generator maps a latent (B, L) and labels (B,), or None, to samples; a
discriminator implements :class:`Discriminator`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, cast

import torch
from torch import Generator, Tensor, nn

from equipoise.core.data import Batch
from equipoise.core.knobs import AdversarialKnobs, check_turnable
from equipoise.core.model import Loss, Memory, Model, Moment, Networks, OptimizerSettings, Phase
from equipoise.errors import SettingError
from equipoise.losses.adversarial import (
    LOSSES,
    AdversarialLoss,
    AdversarialLossName,
    WeightedPenalty,
    loss_terms,
    total_loss,
)
from equipoise.losses.penalties import (
    LogitFunction,
    feature_matching,
    gradient_penalty,
    lecam,
    lecam_memory,
    r1_penalty,
    r2_penalty,
)
from equipoise.nn import latents
from equipoise.nn.augment import Augmentation, augment, instance_noise
from equipoise.nn.spectral import spectral_norm

Constraint = Literal["none", "weight_clipping", "gradient_penalty", "spectral_norm"]
Fakes = Literal["fresh", "shared"]
OptimizerName = Literal["adam", "rmsprop", "sgd"]
AdversarialMoment = Moment[AdversarialKnobs]

LABEL_KNOBS = frozenset({"real_label_low", "real_label_high", "fake_label_low", "fake_label_high"})


class Discriminator(nn.Module):
    """Interface of a discriminator, for type annotations."""

    def features(self, samples: Tensor) -> Tensor:
        """Compute the input of the last layer."""
        raise TypeError("Discriminator is an interface; its subclasses implement features()")

    def logits(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Compute logits (B,) from features."""
        raise TypeError("Discriminator is an interface; its subclasses implement logits()")


class AdversarialOptions(Protocol):
    """Options of adversarial training, fields of every recipe that uses :func:`adversarial_model`.

    `loss`: adversarial loss, a key of `losses.adversarial.LOSSES`. `constraint`: weight_clipping clips the weights of
    the discriminator to [-clip, clip], gradient_penalty sets `gp_weight` to 10, spectral_norm divides each layer by its
    largest singular value. `fakes`: fresh to generate new fakes in the generator's phase, shared to reuse those of the
    discriminator's phase, which saves one pass of the generator. `penalty_interval`: R1 and R2 are applied every this
    many steps in a separate phase, weighted by the interval (Karras 2020, StyleGAN2, section 3.1 and appendix B); 1
    adds them to every discriminator update. `clip`: bound of weight clipping. `optimizer`: optimizer of both networks;
    rmsprop has no beta1 and uses beta2 as its decay, sgd uses beta1 as its momentum. `latent_dim`: length of the latent
    vector, drawn from N(0, 1). `knobs`: values that differ from the defaults of the knobs.
    """

    @property
    def loss(self) -> AdversarialLossName: ...
    @property
    def constraint(self) -> Constraint: ...
    @property
    def fakes(self) -> Fakes: ...
    @property
    def penalty_interval(self) -> int: ...
    @property
    def clip(self) -> float: ...
    @property
    def optimizer(self) -> OptimizerName: ...
    @property
    def latent_dim(self) -> int: ...
    @property
    def knobs(self) -> Mapping[str, float] | None: ...


def validate_adversarial_options(options: AdversarialOptions) -> None:
    """Raise SettingError for an option outside its range."""
    validate_counts(penalty_interval=options.penalty_interval, latent_dim=options.latent_dim)
    if not options.clip > 0:
        raise SettingError(f"clip = {options.clip:g}: it must be above 0")


def validate_counts(**options: int) -> None:
    """Raise SettingError for the first option below 1."""
    for name, value in options.items():
        if value < 1:
            raise SettingError(f"{name} = {value}: it must be at least 1")


def adversarial_model(
    name: str,
    options: AdversarialOptions,
    networks: Mapping[str, nn.Module],
    generator: Generator,
    *,
    augmentations: Sequence[Augmentation] = (),
    classes: int = 0,
) -> Model[AdversarialKnobs]:
    """Compose a model of a generator, a discriminator and the options of a recipe.

    `networks`: "generator" and "discriminator". `generator`: random generator of the initial vectors of spectral
    normalisation. `augmentations`: augmentations that suit the data.
    `classes`: number of labels that the networks use, 0 for none.
    """
    if options.constraint == "spectral_norm":
        for module in networks["discriminator"].modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Embedding):
                spectral_norm(module, generator)
    turnable = _turnable_knobs(options, augmentations)
    phases = _AdversarialPhases(options, LOSSES[options.loss], tuple(augmentations), bool(classes))
    lazy = (Phase("penalties", ("discriminator",), phases.lazy_penalties, when=phases.is_penalty_due),)
    return Model(
        name=name,
        networks=networks,
        phases=(
            Phase("discriminator", ("discriminator",), phases.discriminator_loss, repeats=discriminator_steps),
            *(lazy if options.penalty_interval > 1 else ()),
            Phase("generator", ("generator",), phases.generator_loss, repeats=generator_steps),
        ),
        knobs=_initial_knobs(name, options, turnable),
        turnable=turnable,
        optimizer=phases.optimizer_settings,
        latent=lambda count, source, truncation: latents.normal(count, options.latent_dim, source, truncation),
        generate=_generate,
        logits=phases.logits_of_reals,
        memory=lecam_memory(torch.device("cpu")),
        num_classes=classes,
        mixed_precision=bool(augmentations),
        probability=LOSSES[options.loss].probability,
        ideal=phases.ideal_loss,
    )


def _turnable_knobs(options: AdversarialOptions, augmentations: Sequence[Augmentation]) -> frozenset[str]:
    inactive = set() if LOSSES[options.loss].has_labels else set(LABEL_KNOBS)
    inactive |= {"gp_weight"} if options.constraint != "gradient_penalty" else set()
    inactive |= {"augment_p"} if not augmentations else set()
    inactive |= {"adam": set(), "rmsprop": {"beta1"}, "sgd": {"beta2"}}[options.optimizer]
    return frozenset(AdversarialKnobs.ranges()) - inactive


def _initial_knobs(name: str, options: AdversarialOptions, turnable: frozenset[str]) -> AdversarialKnobs:
    values = {"gp_weight": 10.0} if options.constraint == "gradient_penalty" else {}
    # A recipe's default betas for Adam are ignored by other optimizers; any other knob without effect is an error.
    unused_betas = {"beta1", "beta2"} - turnable
    values |= {knob: value for knob, value in (options.knobs or {}).items() if knob not in unused_betas}
    check_turnable(values, turnable, name)
    return AdversarialKnobs().with_values(values)


@dataclass(frozen=True)
class _AdversarialPhases:
    """The losses and optimizer settings of one model. `is_conditional`: whether the networks use class labels."""

    options: AdversarialOptions
    loss: AdversarialLoss
    augmentations: tuple[Augmentation, ...]
    is_conditional: bool

    def discriminator_loss(self, networks: Networks, batch: Batch, moment: AdversarialMoment) -> Loss:
        """Compute L_D. Penalties of weight 0 are skipped; lazy R1 and R2 are computed in :meth:`lazy_penalties`."""
        knobs, labels = moment.knobs, self._labels(batch)
        is_shared = self.options.fakes == "shared"
        with torch.set_grad_enabled(is_shared):
            fake = self._generate(networks, len(batch), labels, moment)
        x, gz = self._augment(batch.real, moment), self._augment(fake.detach(), moment)
        d = _logit_function(networks, labels)
        real_logit, fake_logit = d(x), d(gz)
        real_label = sample_labels(knobs.real_label_low, knobs.real_label_high, real_logit, moment)
        fake_label = sample_labels(knobs.fake_label_low, knobs.fake_label_high, fake_logit, moment)
        adversarial = self.loss.discriminator(real_logit, fake_logit, real_label, fake_label)
        penalties: dict[str, WeightedPenalty] = {}
        memory: Memory = {}
        if knobs.lecam_weight:
            penalty, memory = lecam(real_logit, fake_logit, moment.memory)
            penalties["lecam"] = WeightedPenalty(knobs.lecam_weight, penalty)
        if knobs.gp_weight:
            penalty = gradient_penalty(d, x, gz, moment.generator)
            penalties["gradient_penalty"] = WeightedPenalty(knobs.gp_weight, penalty)
        if self.options.penalty_interval == 1:
            penalties |= _r1_and_r2(d, x, gz, knobs)
        # L_D = L_adv(D(x), D(G(z))) + λ_LeCam R_LeCam + λ_GP R_GP + γ₁ R1 + γ₂ R2
        # Tseng 2021; Gulrajani 2017, eq. 3; Mescheder 2018, eqs. 9 and 10. Formulas: losses/.
        total = total_loss(adversarial, penalties)
        return Loss(
            total,
            terms=loss_terms(adversarial, penalties),
            logit_real=real_logit.detach(),
            logit_fake=fake_logit.detach(),
            memory=memory,
            carry=({"fake": fake} | ({} if labels is None else {"labels": labels})) if is_shared else {},
        )

    def lazy_penalties(self, networks: Networks, batch: Batch, moment: AdversarialMoment) -> Loss:
        """Compute the R1 and R2 penalties in a separate phase, weighted by the interval k."""
        labels = self._labels(batch)
        with torch.no_grad():
            x = self._augment(batch.real, moment)
            gz = x
            if moment.knobs.r2_gamma:
                gz = self._augment(self._generate(networks, len(batch), labels, moment), moment)
        penalties = _r1_and_r2(_logit_function(networks, labels), x, gz, moment.knobs)
        # L = k (γ₁ R1 + γ₂ R2): Karras 2020, StyleGAN2, appendix B.
        total = self.options.penalty_interval * sum(weight * penalty for weight, penalty in penalties.values())
        return Loss(cast(Tensor, total), terms={name: penalty.detach() for name, (_, penalty) in penalties.items()})

    def is_penalty_due(self, moment: AdversarialMoment) -> bool:
        """Whether R1 or R2 is on and the step is a multiple of the interval."""
        is_on = moment.knobs.r1_gamma > 0 or moment.knobs.r2_gamma > 0
        return is_on and moment.step % self.options.penalty_interval == 0

    def generator_loss(self, networks: Networks, batch: Batch, moment: AdversarialMoment) -> Loss:
        """Compute L_G. Reals are passed through the discriminator only if a term needs them."""
        weight = moment.knobs.feature_matching_weight
        real_labels, labels = self._labels(batch), moment.carried.get("labels", self._labels(batch))
        fake = moment.carried.get("fake")
        if fake is None:
            fake = self._generate(networks, len(batch), labels, moment)
        discriminator = cast(Discriminator, networks["discriminator"])
        fake_features = discriminator.features(self._augment(fake, moment))
        real_logit = fake_logit = discriminator.logits(fake_features, labels)
        penalties: dict[str, WeightedPenalty] = {}
        if self.loss.needs_real or weight:
            with torch.no_grad():
                real_features = discriminator.features(self._augment(batch.real, moment))
                real_logit = discriminator.logits(real_features, real_labels)
            if weight:
                penalties["feature_matching"] = WeightedPenalty(weight, feature_matching(real_features, fake_features))
        adversarial = self.loss.generator(fake_logit, real_logit)
        # L_G = L_adv(D(G(z)), D(x)) + λ_FM R_FM: feature matching by Salimans 2016, section 3.1. Formulas: losses/.
        total = total_loss(adversarial, penalties)
        return Loss(total, terms=loss_terms(adversarial, penalties), logit_fake=fake_logit.detach())

    def logits_of_reals(self, networks: Networks, batch: Batch, moment: AdversarialMoment) -> Tensor:
        """Compute D(x), (B,), of reals with the noise and augmentation of training."""
        return _logit_function(networks, self._labels(batch))(self._augment(batch.real, moment))

    def optimizer_settings(self, network: str, moment: AdversarialMoment) -> OptimizerSettings:
        """Return the optimizer settings of one network.

        With lazy penalties the discriminator takes k + 1 updates where it took k; c = k / (k + 1) compensates in its
        learning rate and decays (Karras 2020, appendix B).
        """
        knobs, options = moment.knobs, self.options
        if network == "generator":
            return OptimizerSettings(options.optimizer, knobs.lr_g, knobs.beta1, knobs.beta2)
        limit = options.clip if options.constraint == "weight_clipping" else None
        is_lazy = options.penalty_interval > 1 and (knobs.r1_gamma > 0 or knobs.r2_gamma > 0)
        c = options.penalty_interval / (options.penalty_interval + 1) if is_lazy else 1.0
        return OptimizerSettings(options.optimizer, knobs.lr_d * c, knobs.beta1**c, knobs.beta2**c, weight_limit=limit)

    def ideal_loss(self, knobs: AdversarialKnobs) -> float:
        """Return the optimal discriminator's adversarial term when fakes and reals have the same distribution."""
        real_labels = knobs.real_label_low, knobs.real_label_high
        return self.loss.ideal(real_labels, (knobs.fake_label_low, knobs.fake_label_high))

    def _labels(self, batch: Batch) -> Tensor | None:
        return batch.condition if self.is_conditional else None

    def _generate(self, networks: Networks, count: int, labels: Tensor | None, moment: AdversarialMoment) -> Tensor:
        latent = latents.normal(count, self.options.latent_dim, moment.generator)
        return cast(Tensor, networks["generator"](latent, labels))

    def _augment(self, samples: Tensor, moment: AdversarialMoment) -> Tensor:
        """Apply augmentation and instance noise to samples, real or fake, before they enter the discriminator."""
        if self.augmentations:
            samples = augment(samples, moment.knobs.augment_p, moment.generator, self.augmentations)
        return instance_noise(samples, moment.knobs.instance_noise, moment.generator)


def sample_labels(low: float, high: float, logits: Tensor, moment: AdversarialMoment) -> Tensor:
    """Sample labels (B, 1, ...) for logits (B, ...): one per sample, uniform between `low` and `high`, in either order.

    If both are equal, returns a scalar and uses no random numbers.
    """
    if low == high:
        return torch.full((), low, device=logits.device)
    shape = (len(logits), *(1,) * (logits.ndim - 1))
    return low + (high - low) * torch.rand(shape, generator=moment.generator, device=logits.device)


def discriminator_steps(moment: AdversarialMoment) -> int:
    """Return the number of discriminator updates in a step."""
    return moment.knobs.discriminator_steps


def generator_steps(moment: AdversarialMoment) -> int:
    """Return the number of generator updates in a step."""
    return moment.knobs.generator_steps


def _logit_function(networks: Networks, labels: Tensor | None) -> LogitFunction:
    discriminator = cast(Discriminator, networks["discriminator"])
    return lambda samples: discriminator.logits(discriminator.features(samples), labels)


def _r1_and_r2(d: LogitFunction, x: Tensor, gz: Tensor, knobs: AdversarialKnobs) -> dict[str, WeightedPenalty]:
    """Compute R1 at reals and R2 at fakes, those with a weight."""
    r1 = {"r1": WeightedPenalty(knobs.r1_gamma, r1_penalty(d, x))} if knobs.r1_gamma else {}
    r2 = {"r2": WeightedPenalty(knobs.r2_gamma, r2_penalty(d, gz))} if knobs.r2_gamma else {}
    return r1 | r2


def _generate(networks: Networks, latent: Tensor, condition: Tensor | None) -> Tensor:
    return cast(Tensor, networks["generator"](latent, condition))
