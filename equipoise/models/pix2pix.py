"""pix2pix: a U-Net from image to image, taught by pairs and a discriminator of patches (Isola et al. 2017).

Isola, Zhu, Zhou and Efros 2017, "Image-to-Image Translation with Conditional Adversarial Networks", equation 4:

    G* = arg min_G max_D E log D(x, y) + E log(1 - D(x, G(x, z))) + lambda E |y - G(x, z)|_1

x the input, y the sample that belongs to it, lambda 100. The noise z is dropout (section 3.2.1). The generator
minimises -log D(x, G(x, z)) instead, and the discriminator half of its loss, both by section 3.3.
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
from equipoise.errors import SettingError
from equipoise.losses.adversarial import LOSSES, AdversarialLossName
from equipoise.losses.penalties import zero_centred
from equipoise.models._adversarial import check_counts, discriminator_steps, generator_steps
from equipoise.models._translation import Court, check_images, check_patch, first_weights, no_latent, of_image
from equipoise.nn.augment import Kind
from equipoise.nn.normalise import Norm
from equipoise.nn.patch import PatchDiscriminator, least_side
from equipoise.nn.unet import UNet

__all__ = ["Pix2Pix"]

SIZES = (16, 32, 64, 128, 256, 512)
SHORT: Mapping[str, float] = {"lr_g": 1e-3, "lr_d": 2e-4, "r1_gamma": 0.3, "ema_half_life": 4000}
"""For narrow networks and a few thousand steps. At the paper's rate of 2e-4 they are still grey after 700 steps of 16
emoji; an average over 10,000 images would hold their beginning."""
DIRECT: Mapping[str, object] = {
    "width": 16,
    "norm": "batch",
    "dropout": 0.0,
    "change": True,
    "patch": 34,
    "discriminator_norm": "none",
}
"""Strokes and grounds stay where a change is made; statistics of a batch would hide from the discriminator how much
colour an image has."""


@dataclass(frozen=True, slots=True)
class Pix2PixKnobs(AdversarialKnobs):
    """Those of adversarial games, and the weights of both terms of the generator's loss."""

    l1_weight: float = knob(100, 1e-1, 1e4, "", "log", "weight of |y - G(x)| in the generator's loss", off=True)
    adversarial_weight: float = knob(
        1, 1e-3, 1e2, "", "log", "weight of the adversarial term in it; off is a regression without a game", off=True
    )


@dataclass(frozen=True, kw_only=True)
class Pix2Pix:
    """Options of pix2pix.

    `loss`: adversarial loss. `width`: channels of the first layer of both players; they double with every halving, up
    to 8 times. `discriminator_width`: those of the discriminator, if they are others. `norm`: statistics of the batch,
    of each image alone, or none, in the generator. `discriminator_norm`: the same in the discriminator. `patch`: pixels
    a side that one logit of the discriminator sees: 16, 34 or 70. `dropout`: in the three innermost levels of the way
    up, in training. `change`: the generator makes a change of the input, not an image anew. `knobs`: values that differ
    from the defaults, the published ones of a GAN.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "cpu32": {**DIRECT, "knobs": SHORT},
        "cpu64": {**DIRECT, "knobs": SHORT},
        # Section 6.2, at a batch of 1, at which batch normalisation is that of each image alone.
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
        check_counts(width=self.width)
        if self.discriminator_width is not None:
            check_counts(discriminator_width=self.discriminator_width)
        check_patch(self.patch)
        if not 0 <= self.dropout < 1:
            raise SettingError(f"dropout = {self.dropout:g}: it must be from 0 to below 1")

    def build(self, spec: DataSpec, generator: Generator) -> Model[Pix2PixKnobs]:
        """The GAN for pairs like `spec`; raises SettingError for other data."""
        sizes = [size for size in SIZES if size >= least_side(self.patch)]
        sources, channels, size = check_images("pix2pix", spec, sizes)
        if "train" not in spec.paired:
            raise SettingError("pix2pix learns from pairs, and these inputs belong to no sample; use --model cyclegan")
        shown = self.discriminator_width or self.width
        networks = {
            "generator": UNet((sources, channels), size, self.width, self.norm, self.dropout, self.change),
            "discriminator": PatchDiscriminator(sources + channels, shown, self.patch, self.discriminator_norm),
        }
        for name, network in networks.items():
            norm = self.discriminator_norm if name.startswith("discriminator") else self.norm
            first_weights(network, norm, generator)
        # Colour is left out: input and sample are changed alike, and they may have other channels.
        kinds: tuple[Kind, ...] = ("translation", "cutout", *(("flip",) if spec.flips else ()))
        game = _Game(Court(LOSSES[self.loss], kinds, together=self.discriminator_norm != "batch"))
        turnable = game.court.turnable | {"l1_weight", "adversarial_weight"}
        check_turnable(self.knobs or {}, turnable, "pix2pix")
        return Model(
            name="pix2pix",
            networks=networks,
            phases=(
                Phase("discriminator", ("discriminator",), game.discriminate, _is_played, discriminator_steps),
                Phase("generator", ("generator",), game.translate, repeats=generator_steps),
            ),
            knobs=Pix2PixKnobs().with_values(self.knobs or {}),
            turnable=turnable,
            optimizer=_settings,
            latent=no_latent,
            generate=_generate,
            logits=game.logits,
            source=spec.source,
            ideal=game.court.ideal,
        )


@dataclass(frozen=True)
class _Game:
    """The phases of one built GAN."""

    court: Court

    def discriminate(self, networks: Networks, batch: PairedBatch, moment: Moment[Pix2PixKnobs]) -> Loss:
        """The discriminator's loss: half the adversarial term, plus gamma R1 at pairs, of the sample alone."""
        knobs, judge = moment.knobs, networks["discriminator"]
        fake: Tensor = networks["generator"](batch.source, moment.generator).float()
        shown, made = _pairs(batch.source, batch.real), _pairs(batch.source, fake.detach())
        real_logit, fake_logit = self.court.both(judge, shown, made, moment)
        adversarial = self.court.discriminator(real_logit, fake_logit, moment)
        total, terms = adversarial / 2, {"adversarial": adversarial.detach()}
        if knobs.r1_gamma:
            r1 = zero_centred(lambda images: of_image(judge(_pairs(batch.source, images))), batch.real)
            total, terms = total + knobs.r1_gamma * r1, terms | {"r1": r1.detach()}
        real, false = (of_image(logits.detach()) for logits in (real_logit, fake_logit))
        return Loss(total, terms, logit_real=real, logit_fake=false, carry={"fake": fake, "source": batch.source})

    def translate(self, networks: Networks, batch: PairedBatch, moment: Moment[Pix2PixKnobs]) -> Loss:
        """The generator's loss: adversarial_weight times the adversarial term, plus l1_weight |y - G(x)|."""
        knobs = moment.knobs
        fake = moment.carried.get("fake") if moment.carried.get("source") is batch.source else None
        if fake is None:
            fake = networks["generator"](batch.source, moment.generator).float()
        l1 = l1_loss(fake, batch.real)
        if not knobs.adversarial_weight:
            return Loss(knobs.l1_weight * l1, {"l1": l1.detach()})
        judge = networks["discriminator"]
        real_logit = fake_logit = self.court.logits(judge, _pairs(batch.source, fake), moment)
        if self.court.loss.needs_real:
            with torch.no_grad():
                real_logit = self.court.logits(judge, _pairs(batch.source, batch.real), moment)
        adversarial = self.court.loss.generator(fake_logit, real_logit)
        return Loss(
            knobs.adversarial_weight * adversarial + knobs.l1_weight * l1,
            {"adversarial": adversarial.detach(), "l1": l1.detach()},
            logit_fake=of_image(fake_logit.detach()),
        )

    def logits(self, networks: Networks, batch: PairedBatch, moment: Moment[Pix2PixKnobs]) -> Tensor:
        """D(x, y), (B,), as the discriminator sees pairs in training."""
        return of_image(self.court.logits(networks["discriminator"], _pairs(batch.source, batch.real), moment))


def _pairs(source: Tensor, images: Tensor) -> Tensor:
    """Input and sample, one behind the other: (B, C + C', H, W)."""
    return torch.cat([source, images], dim=1)


def _is_played(moment: Moment[Pix2PixKnobs]) -> bool:
    return moment.knobs.adversarial_weight > 0


def _settings(network: str, moment: Moment[Pix2PixKnobs]) -> OptimizerSettings:
    """Adam for both (section 3.3)."""
    knobs = moment.knobs
    return OptimizerSettings("adam", knobs.lr_g if network == "generator" else knobs.lr_d, knobs.beta1, knobs.beta2)


def _generate(networks: Networks, latent: Tensor, condition: Tensor | None) -> Tensor:
    """Of inputs (B, C, H, W), without dropout: the same input gives the same sample."""
    if condition is None:
        raise SettingError("pix2pix makes images of images; give it some: equipoise translate RUN FOLDER")
    made: Tensor = networks["generator"](condition)
    return made.float()
