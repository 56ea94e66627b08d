"""pix2pix: a U-Net from image to image, trained on pairs with a patch discriminator (Isola et al. 2017).

Isola, Zhu, Zhou and Efros 2017, "Image-to-Image Translation with Conditional Adversarial Networks", equation 4:

    G* = arg min_G max_D E log D(x, y) + E log(1 - D(x, G(x, z))) + lambda E |y - G(x, z)|_1

x is the input and y the sample of a pair; lambda is 100. The noise z is dropout (section 3.2.1). As in section 3.3, the
generator minimises -log D(x, G(x, z)) instead, and the loss of the discriminator is halved.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor
from torch.nn.functional import l1_loss

from equipoise.core.data import DataSpec, PairedBatch
from equipoise.core.knobs import AdversarialKnobs, check_turnable, knob
from equipoise.core.model import Loss, Model, Moment, Networks, OptimizerSettings, Phase
from equipoise.core.sampling import Sampling
from equipoise.errors import SettingError
from equipoise.losses.adversarial import LOSSES, AdversarialLossName
from equipoise.losses.penalties import r1_penalty
from equipoise.models._adversarial_options import validate_counts
from equipoise.models._adversarial_phases import discriminator_steps, generator_steps
from equipoise.models._translation import (
    PatchAdversarialLoss,
    initialise,
    mean_logit,
    no_latent,
    validate_patch,
    validate_translation_spec,
)
from equipoise.nn.augment import Augmentation
from equipoise.nn.image_translation import PatchDiscriminator, UNet, minimum_side
from equipoise.nn.layers import Norm

__all__ = ["Pix2Pix"]

SIZES = (16, 32, 64, 128, 256, 512)
SHORT_RUN_KNOBS: Mapping[str, float] = {"lr_g": 1e-3, "lr_d": 2e-4, "r1_gamma": 0.3, "ema_half_life": 4000}
"""Knobs for narrow networks and a few thousand steps. At the paper's learning rate of 2e-4, samples are still grey
after 700 steps with 16 emoji; a running average over 10,000 images would still contain the initial weights."""
NARROW_UNET: Mapping[str, object] = {
    "width": 16,
    "norm": "batch",
    "dropout": 0.0,
    "change": True,
    "patch": 34,
    "discriminator_norm": "none",
}
"""Options of a narrow U-Net. A residual to the input preserves strokes and backgrounds; normalisation would remove the
amount of colour from the input of the discriminator."""


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


@dataclass(frozen=True, kw_only=True)
class Pix2Pix:
    """Options of pix2pix.

    `loss`: adversarial loss. `width`: channels of the first layer of both networks; they double with every halving, up
    to 8 times. `discriminator_width`: channels of the first layer of the discriminator, if different. `patch`: side in
    pixels of the receptive field of one logit: 16, 34 or 70. `norm`: batch or instance normalisation, or none, in the
    generator. `discriminator_norm`: the same in the discriminator. `dropout`: probability of dropout in the three
    innermost levels of the decoder, in training. `change`: the generator predicts a residual to the input instead of
    the image. `knobs`: values that differ from the defaults of the knobs.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "cpu32": {**NARROW_UNET, "knobs": SHORT_RUN_KNOBS},
        "cpu64": {**NARROW_UNET, "knobs": SHORT_RUN_KNOBS},
        # Isola 2017, section 6.2, with a batch size of 1, where batch normalisation equals instance normalisation.
        "facades256": {"width": 64, "patch": 70, "norm": "instance", "dropout": 0.5},
    }
    pairing: ClassVar[Literal["needed"]] = "needed"

    loss: AdversarialLossName = "non_saturating"
    width: int = 64
    discriminator_width: int | None = None
    patch: int = 70
    norm: Norm = "instance"
    discriminator_norm: Norm = "instance"
    dropout: float = 0.5
    change: bool = False
    knobs: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        validate_counts(width=self.width)
        if self.discriminator_width is not None:
            validate_counts(discriminator_width=self.discriminator_width)
        validate_patch(self.patch)
        if not 0 <= self.dropout < 1:
            raise SettingError(f"dropout = {self.dropout:g}: it must be from 0 to below 1")

    def build(self, spec: DataSpec, generator: Generator) -> Model[Pix2PixKnobs]:
        """Build the model for pairs like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        sizes = [size for size in SIZES if size >= minimum_side(self.patch)]
        sources, channels, size = validate_translation_spec("pix2pix", spec, sizes)
        if "train" not in spec.paired:
            raise SettingError("pix2pix needs pairs, and the inputs of this data are unpaired; use --model cyclegan")
        width = self.discriminator_width or self.width
        networks = {
            "generator": UNet((sources, channels), size, self.width, self.norm, self.dropout, self.change),
            "discriminator": PatchDiscriminator(sources + channels, width, self.patch, self.discriminator_norm),
        }
        initialise(networks["generator"], self.norm, generator)
        initialise(networks["discriminator"], self.discriminator_norm, generator)
        # No colour augmentation: input and sample are augmented together and can have different channels.
        augmentations: tuple[Augmentation, ...] = ("translation", "cutout", *(("flip",) if spec.flips else ()))
        is_per_sample = self.discriminator_norm != "batch"
        adversarial = PatchAdversarialLoss(LOSSES[self.loss], augmentations, is_per_sample)
        phases = _Pix2PixPhases(adversarial)
        turnable = adversarial.turnable | {"l1_weight", "adversarial_weight"}
        check_turnable(self.knobs or {}, turnable, "pix2pix")
        return Model(
            name="pix2pix",
            networks=networks,
            phases=(
                Phase(
                    "discriminator", ("discriminator",), phases.discriminator_loss, _is_adversarial, discriminator_steps
                ),
                Phase("generator", ("generator",), phases.generator_loss, repeats=generator_steps),
            ),
            knobs=Pix2PixKnobs().with_values(self.knobs or {}),
            turnable=turnable,
            optimizer=_optimizer_settings,
            latent=no_latent,
            generate=_generate,
            logits=phases.logits_of_reals,
            source=spec.source,
            multiple=size,  # the U-Net halves the sides down to one pixel
            ideal=adversarial.ideal,
        )


@dataclass(frozen=True)
class _Pix2PixPhases:
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
    """Concatenate inputs and samples by channel: (B, C + C', H, W)."""
    return torch.cat([source, images], dim=1)


def _is_adversarial(moment: Moment[Pix2PixKnobs]) -> bool:
    return moment.knobs.adversarial_weight > 0


def _optimizer_settings(network: str, moment: Moment[Pix2PixKnobs]) -> OptimizerSettings:
    """Return Adam's settings (section 3.3)."""
    knobs = moment.knobs
    return OptimizerSettings("adam", knobs.lr_g if network == "generator" else knobs.lr_d, knobs.beta1, knobs.beta2)


def _generate(networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
    """Translate inputs (B, C, H, W) without dropout, so that the result is deterministic."""
    if condition is None:
        raise SettingError("pix2pix needs input images; use: equipoise translate RUN FOLDER")
    images: Tensor = networks["generator"](condition)
    return images.float()
