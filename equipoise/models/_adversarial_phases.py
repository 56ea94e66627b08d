"""Adversarial training with one discriminator: losses L_D and L_G, lazy penalties, settings of the optimizers."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from equipoise.core.data import Batch
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Loss, Memory, Networks, OptimizerSettings
from equipoise.losses.adversarial import AdversarialLoss, WeightedPenalty, loss_terms, total_loss
from equipoise.losses.penalties import (
    LogitFunction,
    feature_matching,
    gradient_penalty,
    lecam,
    r1_penalty,
    r2_penalty,
)
from equipoise.models._adversarial_extensions import AdversarialMoment, Discriminator, DiscriminatorPass, Extensions
from equipoise.models._adversarial_options import AdversarialOptions
from equipoise.nn import latents
from equipoise.nn.augment import Augmentation, augment, instance_noise


@dataclass(frozen=True)
class AdversarialPhases:
    """The losses and optimizer settings of one model. `is_conditional`: whether the networks use class labels."""

    options: AdversarialOptions
    loss: AdversarialLoss
    augmentations: tuple[Augmentation, ...]
    is_conditional: bool
    extensions: Extensions

    def discriminator_loss(self, networks: Networks, batch: Batch, moment: AdversarialMoment) -> Loss:
        """Compute L_D. Penalties of weight 0 are skipped; lazy R1 and R2 are computed in :meth:`lazy_penalties`."""
        self.extensions.prepare(networks, moment)
        knobs, labels = moment.knobs, self._labels(batch)
        is_shared = self.options.fakes == "shared"
        with torch.set_grad_enabled(is_shared):
            fake = self._draw(networks, len(batch), labels, moment)
        x, gz = self._augment(batch.real, moment), self._augment(fake.detach(), moment)
        d, discriminator = _logit_function(networks, labels), cast(Discriminator, networks["discriminator"])
        real_features = discriminator.features(x)
        real_logit = discriminator.logits(real_features, labels)
        fake_features = discriminator.features(gz)
        fake_logit = discriminator.logits(fake_features, labels)
        outputs = DiscriminatorPass(gz, fake_features, fake_logit, labels, x, real_features, real_logit)
        real_label = sample_labels(knobs.real_label_low, knobs.real_label_high, real_logit, moment)
        fake_label = sample_labels(knobs.fake_label_low, knobs.fake_label_high, fake_logit, moment)
        adversarial = self.loss.discriminator(real_logit, fake_logit, real_label, fake_label)
        penalties = dict(self.extensions.discriminator_terms(networks, outputs, moment))
        memory: Memory = {}
        if knobs.lecam_weight:
            penalty, memory = lecam(real_logit, fake_logit, moment.memory)
            penalties["lecam"] = WeightedPenalty(knobs.lecam_weight, penalty)
        if knobs.gp_weight:
            penalty = gradient_penalty(d, x, gz, moment.generator)
            penalties["gradient_penalty"] = WeightedPenalty(knobs.gp_weight, penalty)
        if self.options.penalty_interval == 1:
            penalties |= _r1_and_r2(d, x, gz, knobs)
        # L_D = L_adv(D(x), D(G(z))) + λ_LeCam R_LeCam + λ_GP R_GP + γ₁ R1 + γ₂ R2 + terms of the model
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
                gz = self._augment(self._draw(networks, len(batch), labels, moment), moment)
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
            fake = self._draw(networks, len(batch), labels, moment)
        discriminator = cast(Discriminator, networks["discriminator"])
        gz = self._augment(fake, moment)
        fake_features = discriminator.features(gz)
        real_logit = fake_logit = discriminator.logits(fake_features, labels)
        outputs = DiscriminatorPass(gz, fake_features, fake_logit, labels)
        penalties = dict(self.extensions.generator_terms(networks, outputs, moment))
        if self.loss.needs_real or weight:
            with torch.no_grad():
                real_features = discriminator.features(self._augment(batch.real, moment))
                real_logit = discriminator.logits(real_features, real_labels)
            if weight:
                penalties["feature_matching"] = WeightedPenalty(weight, feature_matching(real_features, fake_features))
        adversarial = self.loss.generator(fake_logit, real_logit)
        # L_G = L_adv(D(G(z)), D(x)) + λ_FM R_FM + terms of the model
        # Feature matching: Salimans 2016, section 3.1. Formulas: losses/.
        total = total_loss(adversarial, penalties)
        return Loss(total, terms=loss_terms(adversarial, penalties), logit_fake=fake_logit.detach())

    def logits_of_reals(self, networks: Networks, batch: Batch, moment: AdversarialMoment) -> Tensor:
        """Compute D(x), (B,), of reals with the noise and augmentation of training."""
        return _logit_function(networks, self._labels(batch))(self._augment(batch.real, moment))

    def optimizer_settings(self, network: str, moment: AdversarialMoment) -> OptimizerSettings:
        """Return the optimizer settings of one network.

        With lazy penalties the discriminator takes k + 1 updates where it took k; c = k / (k + 1) compensates in its
        learning rate and decays (Karras 2020, StyleGAN2, appendix B).
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

    def _draw(self, networks: Networks, count: int, labels: Tensor | None, moment: AdversarialMoment) -> Tensor:
        if self.extensions.draw is not None:
            return self.extensions.draw(networks, count, labels, moment)
        latent = latents.normal(count, self.options.latent_dim, moment.generator)
        return cast(Tensor, networks["generator"](latent, labels))

    def _augment(self, samples: Tensor, moment: AdversarialMoment) -> Tensor:
        """Apply augmentation, instance noise and the model's own transform to samples, real or fake."""
        if self.augmentations:
            samples = augment(samples, moment.knobs.augment_p, moment.generator, self.augmentations)
        samples = instance_noise(samples, moment.knobs.instance_noise, moment.generator)
        transform = self.extensions.transform
        return samples if transform is None else transform(samples, moment)


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
