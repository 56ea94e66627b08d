"""Training of pix2pix: its knobs, and the losses of both networks on pairs."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import l1_loss

from equipoise.core.data import PairedBatch
from equipoise.core.knobs import AdversarialKnobs, knob
from equipoise.core.model import Loss, Moment, Networks, OptimizerSettings
from equipoise.losses.penalties import r1_penalty
from equipoise.models._translation import PatchAdversarialLoss, mean_logit
from equipoise.nn.super_resolution import enlarge


@dataclass(frozen=True, slots=True)
class Pix2PixKnobs(AdversarialKnobs):
    """Knobs of adversarial training, and the weights of both terms of the generator loss."""

    l1_weight: float = knob(100, 1e-1, 1e4, "", "log", "weight of |y - G(x)| in the generator loss", can_be_off=True)
    adversarial_weight: float = knob(
        1,
        1e-3,
        1e2,
        "",
        "log",
        "weight of the adversarial term; off: regression without a discriminator",
        can_be_off=True,
    )


@dataclass(frozen=True)
class PairTraining:
    """The losses of both networks."""

    adversarial: PatchAdversarialLoss

    def discriminator_loss(self, networks: Networks, batch: PairedBatch, moment: Moment[Pix2PixKnobs]) -> Loss:
        """Compute L_D on pairs with real and with generated samples; R1 is taken with respect to the sample only."""
        gamma, d = moment.knobs.r1_gamma, networks["discriminator"]
        fake: Tensor = networks["generator"](batch.source, moment.generator).float()
        real_pairs, fake_pairs = _pairs(batch.source, batch.real), _pairs(batch.source, fake.detach())
        real_logit, fake_logit = self.adversarial.real_and_fake_logits(d, real_pairs, fake_pairs, moment)
        adversarial = self.adversarial.discriminator(real_logit, fake_logit, moment)
        terms = {"adversarial": adversarial.detach()}
        # L_D = L_adv(D(x, y), D(x, G(x))) / 2 + γ R1(y): Isola 2017, eq. 1 and section 3.3; Mescheder 2018, eq. 9.
        total = adversarial / 2
        if gamma:
            r1 = r1_penalty(lambda images: mean_logit(d(_pairs(batch.source, images))), batch.real)
            total, terms = total + gamma * r1, terms | {"r1": r1.detach()}
        return Loss(
            total,
            terms,
            logit_real=mean_logit(real_logit.detach()),
            logit_fake=mean_logit(fake_logit.detach()),
            carry={"fake": fake, "source": batch.source},
        )

    def generator_loss(self, networks: Networks, batch: PairedBatch, moment: Moment[Pix2PixKnobs]) -> Loss:
        """Compute L_G, on the fakes of the discriminator's phase if they belong to the same batch."""
        knobs = moment.knobs
        fake = moment.carried.get("fake") if moment.carried.get("source") is batch.source else None
        if fake is None:
            fake = networks["generator"](batch.source, moment.generator).float()
        l1 = l1_loss(fake, batch.real)
        if not knobs.adversarial_weight:
            return Loss(knobs.l1_weight * l1, {"l1": l1.detach()})
        fake_pairs, real_pairs = _pairs(batch.source, fake), _pairs(batch.source, batch.real)
        adversarial, fake_logit = self.adversarial.generator(networks["discriminator"], fake_pairs, real_pairs, moment)
        # L_G = λ_adv L_adv(D(x, G(x))) + λ_L1 E |y - G(x)|_1: Isola 2017, eq. 4.
        total = knobs.adversarial_weight * adversarial + knobs.l1_weight * l1
        terms = {"adversarial": adversarial.detach(), "l1": l1.detach()}
        return Loss(total, terms, logit_fake=mean_logit(fake_logit.detach()))

    def logits_of_reals(self, networks: Networks, batch: PairedBatch, moment: Moment[Pix2PixKnobs]) -> Tensor:
        """Compute D(x, y), (B,), of real pairs with the noise and augmentation of training."""
        pairs = _pairs(batch.source, batch.real)
        return mean_logit(self.adversarial.logits(networks["discriminator"], pairs, moment))


def _pairs(source: Tensor, images: Tensor) -> Tensor:
    """Concatenate inputs, enlarged if they are smaller, and samples by channel: (B, C + C', H, W)."""
    if source.shape[-1] != images.shape[-1]:
        source = enlarge(source, images.shape[-1] // source.shape[-1])
    return torch.cat([source, images], dim=1)


def is_adversarial(moment: Moment[Pix2PixKnobs]) -> bool:
    return moment.knobs.adversarial_weight > 0


def pair_optimizer_settings(network: str, moment: Moment[Pix2PixKnobs]) -> OptimizerSettings:
    """Return Adam's settings (section 3.3)."""
    knobs = moment.knobs
    return OptimizerSettings("adam", knobs.lr_g if network == "generator" else knobs.lr_d, knobs.beta1, knobs.beta2)
