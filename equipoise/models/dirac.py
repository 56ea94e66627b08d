"""Dirac-GAN: Mescheder, Geiger and Nowozin 2018, "Which Training Methods for GANs do actually Converge?", section 2.

Each network has one weight: all samples of the generator are theta, the discriminator is D(x) = psi x, and all data are
0. The dynamics are known in closed form: the eigenvalues of the update, the critical damping gamma = 2 f'(0) = 1
for the logistic losses, and that simultaneous gradient descent without a penalty never converges.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Generator, Tensor, nn

from equipoise.core.data import Batch, DataSpec
from equipoise.core.knobs import Knobs, knob
from equipoise.core.model import Loss, Model, Moment, Networks, OptimizerSettings, Phase
from equipoise.core.sampling import Sampling
from equipoise.errors import SettingError
from equipoise.losses.adversarial import LOSSES, AdversarialLoss, AdversarialLossName

__all__ = ["Dirac"]


@dataclass(frozen=True, slots=True)
class DiracKnobs(Knobs):
    """Knobs of gradient descent, whose learning rates are larger than those of Adam."""

    lr_g: float = knob(0.2, 1e-4, 1, "", "log", "learning rate of the generator")
    lr_d: float = knob(0.2, 1e-4, 1, "", "log", "learning rate of the discriminator")
    beta1: float = knob(0, 0, 0.95, "", "linear", "momentum of both networks", max_change=0.1)
    ema_half_life: float = knob(
        0, 1, 1e7, "images", "log", "half-life of the generator's running average; off: no average", can_be_off=True
    )
    r1_gamma: float = knob(0, 1e-4, 1e2, "", "log", "gradient penalty at reals, gamma / 2 psi^2", can_be_off=True)


@dataclass(frozen=True, kw_only=True)
class Dirac:
    """Options of the Dirac-GAN.

    `loss`: adversarial loss. `updates`: both networks simultaneously, or the discriminator first. `start`: initial
    value of theta and psi.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"simultaneous": {"updates": "simultaneous"}}

    loss: AdversarialLossName = "non_saturating"
    updates: Literal["alternating", "simultaneous"] = "alternating"
    start: float = 1.0

    def build(self, spec: DataSpec, generator: Generator) -> Model[DiracKnobs]:
        """Build the model for the data set `origin`. Raises SettingError for other data."""
        if spec.shape != (1,):
            raise SettingError(
                "dirac supports only data of a single number; use --model mlp for points, --model dcgan for images"
            )
        loss = LOSSES[self.loss]
        losses = _DiracPhases(loss)
        phases = {
            "alternating": (
                Phase("discriminator", ("discriminator",), losses.discriminator_loss, repeats=_discriminator_steps),
                Phase("generator", ("generator",), losses.generator_loss, repeats=_generator_steps),
            ),
            "simultaneous": (Phase("both", ("discriminator", "generator"), losses.simultaneous_loss),),
        }
        steps = {"discriminator_steps", "generator_steps"} if self.updates == "simultaneous" else set()
        return Model(
            name="dirac",
            networks={"generator": _Scalar(self.start), "discriminator": _Scalar(self.start)},
            phases=phases[self.updates],
            knobs=DiracKnobs(),
            turnable=frozenset(DiracKnobs.ranges()) - steps - {"beta2"},
            optimizer=_optimizer_settings,
            latent=lambda count, source, truncation: torch.zeros(count, 1, device=source.device),
            generate=_generate,
            logits=lambda networks, batch, moment: (_psi(networks) * batch.real).flatten(),
            mixed_precision=False,
            probability=loss.probability,
            ideal=lambda knobs: loss.ideal((1.0, 1.0), (0.0, 0.0)),
        )


@dataclass(frozen=True)
class _DiracPhases:
    """The losses of both networks."""

    loss: AdversarialLoss

    def discriminator_loss(self, networks: Networks, batch: Batch, moment: Moment[DiracKnobs]) -> Loss:
        """Compute L_D on real and fake numbers."""
        gamma, psi = moment.knobs.r1_gamma, _psi(networks)
        fake = _theta(networks, len(batch)).detach()
        real_logit, fake_logit = (psi * batch.real).flatten(), (psi * fake).flatten()
        one, zero = torch.ones((), device=psi.device), torch.zeros((), device=psi.device)
        adversarial = self.loss.discriminator(real_logit, fake_logit, one, zero)
        r1 = psi.square().sum() / 2  # |dD/dx|² / 2 = psi² / 2
        # L_D = L_adv(psi x, psi theta) + γ R1: Mescheder 2018, section 2 and eq. 9.
        total = adversarial + gamma * r1
        return Loss(
            total,
            terms={"adversarial": adversarial.detach(), "r1": r1.detach()},
            logit_real=real_logit.detach(),
            logit_fake=fake_logit.detach(),
        )

    def generator_loss(self, networks: Networks, batch: Batch, moment: Moment[DiracKnobs]) -> Loss:
        """Compute L_G = L_adv(psi theta). No loss needs real logits here: their gradient is 0."""
        fake_logit = (_psi(networks).detach() * _theta(networks, len(batch))).flatten()
        total = self.loss.generator(fake_logit, torch.zeros_like(fake_logit))
        return Loss(total, terms={"adversarial": total.detach()}, logit_fake=fake_logit.detach())

    def simultaneous_loss(self, networks: Networks, batch: Batch, moment: Moment[DiracKnobs]) -> Loss:
        """Compute L_D + L_G, each with the other network's weight detached, so that one update changes both."""
        discriminator = self.discriminator_loss(networks, batch, moment)
        generator = self.generator_loss(networks, batch, moment)
        return Loss(
            discriminator.total + generator.total,
            terms={"discriminator": discriminator.total.detach(), "generator": generator.total.detach()},
            logit_real=discriminator.logit_real,
            logit_fake=discriminator.logit_fake,
        )


class _Scalar(nn.Module):
    """A network of one weight."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([start]))


def _theta(networks: Networks, count: int) -> Tensor:
    return cast(_Scalar, networks["generator"]).weight.expand(count, 1)


def _psi(networks: Networks) -> Tensor:
    return cast(_Scalar, networks["discriminator"]).weight


def _generate(networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
    return _theta(networks, latent.shape[0])  # len() would fix the batch size of an exported graph


def _optimizer_settings(network: str, moment: Moment[DiracKnobs]) -> OptimizerSettings:
    knobs = moment.knobs
    return OptimizerSettings("sgd", knobs.lr_g if network == "generator" else knobs.lr_d, beta1=knobs.beta1)


def _discriminator_steps(moment: Moment[DiracKnobs]) -> int:
    return moment.knobs.discriminator_steps


def _generator_steps(moment: Moment[DiracKnobs]) -> int:
    return moment.knobs.generator_steps
