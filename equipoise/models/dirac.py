"""Dirac-GAN: Mescheder, Geiger and Nowozin 2018, "Which Training Methods for GANs do actually Converge?", section 2.

One weight a player: the generator puts all its mass at theta, the discriminator is D(x) = psi x, the data stands at 0.
Everything about it is known: the eigenvalues of the update, the critical damping gamma = 2 f'(0) = 1 for the logistic
losses, and that simultaneous gradient descent without a penalty never converges.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Generator, Tensor, nn

from equipoise.core.data import Batch, DataSpec
from equipoise.core.knobs import Knobs, knob
from equipoise.core.model import Loss, Model, Moment, Networks, OptimizerSettings, Phase
from equipoise.errors import SettingError
from equipoise.losses.adversarial import LOSSES, AdversarialLossName

__all__ = ["Dirac"]


@dataclass(frozen=True, slots=True)
class DiracKnobs(Knobs):
    """Plain gradient descent needs steps that Adam would not."""

    lr_g: float = knob(0.2, 1e-4, 1, "", "log", "step of the generator's gradient descent")
    lr_d: float = knob(0.2, 1e-4, 1, "", "log", "step of the discriminator's gradient descent")
    beta1: float = knob(0, 0, 0.95, "", "linear", "momentum of both players", move=0.1)
    ema_half_life: float = knob(
        0, 1, 1e7, "images", "log", "half-life of the generator's running average; off is no average", off=True
    )
    r1_gamma: float = knob(0, 1e-4, 1e2, "", "log", "gradient penalty at reals, gamma / 2 psi^2", off=True)


@dataclass(frozen=True, kw_only=True)
class Dirac:
    """`updates`: both players at once, or the discriminator first. `start`: theta = psi at the beginning."""

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"simultaneous": {"updates": "simultaneous"}}

    loss: AdversarialLossName = "non_saturating"
    updates: Literal["alternating", "simultaneous"] = "alternating"
    start: float = 1.0

    def build(self, spec: DataSpec, generator: Generator) -> Model[DiracKnobs]:
        """The game on the data set `origin`. Raises SettingError for other data."""
        if spec.shape != (1,):
            raise SettingError("dirac plays on a single number; use --model mlp for points, --model dcgan for images")
        game = {
            "alternating": (
                Phase("discriminator", ("discriminator",), self._discriminate, repeats=_discriminator_steps),
                Phase("generator", ("generator",), self._fool, repeats=_generator_steps),
            ),
            "simultaneous": (Phase("both", ("discriminator", "generator"), self._both),),
        }
        steps = {"discriminator_steps", "generator_steps"} if self.updates == "simultaneous" else set()
        return Model(
            name="dirac",
            networks={"generator": _Scalar(self.start), "discriminator": _Scalar(self.start)},
            phases=game[self.updates],
            knobs=DiracKnobs(),
            turnable=frozenset(DiracKnobs.ranges()) - steps - {"beta2"},
            optimizer=_settings,
            latent=lambda count, source, truncation: torch.zeros(count, 1, device=source.device),
            generate=_generate,
            logits=lambda networks, batch, moment: _judge(networks, batch.real),
            mixed_precision=False,
            probability=LOSSES[self.loss].probability,
            ideal=lambda knobs: LOSSES[self.loss].ideal((1.0, 1.0), (0.0, 0.0)),
        )

    def _discriminate(self, networks: Networks, batch: Batch, moment: Moment[DiracKnobs]) -> Loss:
        fake = _theta(networks, len(batch)).detach()
        return self._discriminator_loss(networks, batch.real, fake, _psi(networks), moment.knobs)

    def _fool(self, networks: Networks, batch: Batch, moment: Moment[DiracKnobs]) -> Loss:
        fake_logit = (_psi(networks).detach() * _theta(networks, len(batch))).flatten()
        total = LOSSES[self.loss].generator(fake_logit, torch.zeros_like(fake_logit))
        return Loss(total, terms={"adversarial": total.detach()}, logit_fake=fake_logit.detach())

    def _both(self, networks: Networks, batch: Batch, moment: Moment[DiracKnobs]) -> Loss:
        """The sum, each player's part with the other held still: one update moves both from where they stood."""
        discriminator = self._discriminate(networks, batch, moment)
        generator = self._fool(networks, batch, moment)
        return Loss(
            discriminator.total + generator.total,
            terms={"discriminator": discriminator.total.detach(), "generator": generator.total.detach()},
            logit_real=discriminator.logit_real,
            logit_fake=discriminator.logit_fake,
        )

    def _discriminator_loss(
        self, networks: Networks, real: Tensor, fake: Tensor, psi: Tensor, knobs: DiracKnobs
    ) -> Loss:
        real_logit, fake_logit = (psi * real).flatten(), (psi * fake).flatten()
        one, zero = torch.ones((), device=psi.device), torch.zeros((), device=psi.device)
        adversarial = LOSSES[self.loss].discriminator(real_logit, fake_logit, one, zero)
        r1 = psi.square().sum() / 2  # |d(psi x)/dx|^2 / 2
        return Loss(
            adversarial + knobs.r1_gamma * r1,
            terms={"adversarial": adversarial.detach(), "r1": r1.detach()},
            logit_real=real_logit.detach(),
            logit_fake=fake_logit.detach(),
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


def _judge(networks: Networks, samples: Tensor) -> Tensor:
    return (_psi(networks) * samples).flatten()


def _generate(networks: Networks, latent: Tensor, condition: Tensor | None) -> Tensor:
    return _theta(networks, latent.shape[0])  # len() would make the batch of an exported graph a constant


def _settings(network: str, moment: Moment[DiracKnobs]) -> OptimizerSettings:
    knobs = moment.knobs
    return OptimizerSettings("sgd", knobs.lr_g if network == "generator" else knobs.lr_d, beta1=knobs.beta1)


def _discriminator_steps(moment: Moment[DiracKnobs]) -> int:
    return moment.knobs.discriminator_steps


def _generator_steps(moment: Moment[DiracKnobs]) -> int:
    return moment.knobs.generator_steps
