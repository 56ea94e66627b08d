"""CycleGAN: from one set of images to another and back, without a pair to learn from (Zhu et al. 2017).

Zhu, Park, Isola and Efros 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
equations 2 and 3 and the identity term of section 5.2:

    L_GAN(G, D_Y) + L_GAN(F, D_X) + lambda (E |F(G(x)) - x|_1 + E |G(F(y)) - y|_1)
                                  + lambda / 2 (E |G(y) - y|_1 + E |F(x) - x|_1)

x the inputs, y the samples, G from x to y, F back, lambda 10, of which the authors' code has one for either cycle. The
adversarial loss is that of least squares, the generator's (D(G(x)) - 1)^2, the discriminator's halved; it is shown
earlier fakes too, from a pool of 50 (section 4).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import l1_loss

from equipoise.core.data import DataSpec, UnpairedBatch
from equipoise.core.knobs import AdversarialKnobs, check_turnable, knob
from equipoise.core.model import Loss, Model, Moment, Networks, OptimizerSettings, Phase
from equipoise.errors import SettingError
from equipoise.losses.adversarial import LOSSES, AdversarialLossName
from equipoise.losses.penalties import zero_centred
from equipoise.models._adversarial import check_counts, discriminator_steps, generator_steps
from equipoise.models._translation import Court, check_images, check_patch, first_weights, no_latent, of_image
from equipoise.nn.augment import Kind
from equipoise.nn.normalise import Norm, unrecorded
from equipoise.nn.patch import PatchDiscriminator, least_side
from equipoise.nn.pool import swapped
from equipoise.nn.residual import ResidualGenerator
from equipoise.nn.unet import UNet

__all__ = ["CycleGAN"]

SIZES = (16, 32, 64, 128, 256, 512)
GENERATORS = ("generator", "generator_back")
DISCRIMINATORS = ("discriminator", "discriminator_back")
SHORT: Mapping[str, float] = {
    "lr_g": 1e-3,
    "lr_d": 1e-3,
    "r1_gamma": 0.3,
    "ema_half_life": 4000,
    "cycle_back_weight": 2,
    "identity_weight": 0,
}
"""For narrow networks and a few thousand steps. Without R1 discriminators are won over by patterns that nobody sees,
and generators soon paint in any colour. From samples and back weighs less: outlines cannot hold the colours they lost.
What makes a change needs no identity term to leave grounds alone."""
DIRECT: Mapping[str, object] = {
    "width": 16,
    "body": "unet",
    "norm": "batch",
    "change": True,
    "discriminator_width": 32,
    "patch": 34,
    "discriminator_norm": "none",
}
"""A U-Net hands strokes on from the first step. Statistics of a single image would take how much colour it has from
what discriminators see, and how bright its ground is from generators."""
SCALES = {"least_squares": 2.0}
"""Mao 2017 has (D(G(x)) - 1)^2 / 2 for the generator, Zhu 2017 has no half: against lambda it makes a difference."""


@dataclass(frozen=True, slots=True)
class CycleGANKnobs(AdversarialKnobs):
    """Those of adversarial games, and the weights of what ties the two directions together."""

    cycle_weight: float = knob(10, 1e-2, 1e3, "", "log", "weight of |F(G(x)) - x|: from inputs and back", off=True)
    cycle_back_weight: float = knob(
        10, 1e-2, 1e3, "", "log", "weight of |G(F(y)) - y|: from samples and back", off=True
    )
    identity_weight: float = knob(5, 1e-2, 1e3, "", "log", "weight of |G(y) - y| + |F(x) - x|", off=True)


@dataclass(frozen=True, kw_only=True)
class CycleGAN:
    """Options of CycleGAN.

    `loss`: adversarial loss. `width`: channels of the first layer of all four networks. `discriminator_width`: those
    of the discriminators, if they are others. `body`: generators of residual blocks, or the U-Net of pix2pix.
    `blocks`: residual blocks; None for the paper's: 6 below 256 pixels, 9 from there on. `change`: generators make a
    change of the input, not an image anew. `norm`: statistics of the batch, of each image alone, or none, in the
    generators. `discriminator_norm`: the same in the discriminators. `patch`: pixels a side that one logit of a
    discriminator sees: 16, 34 or 70. `pool`: earlier fakes of each direction that are kept, 0 for none. `knobs`: values
    that differ from the defaults, the published ones of a GAN.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "cpu32": {**DIRECT, "knobs": SHORT},
        "cpu64": {**DIRECT, "knobs": SHORT},
        "horse2zebra256": {"width": 64, "blocks": 9, "patch": 70, "norm": "instance"},  # at a batch of 1, section 7.1
    }
    pairing: ClassVar[Literal["withheld"]] = "withheld"

    loss: AdversarialLossName = "least_squares"
    width: int = 64
    discriminator_width: int | None = None
    body: Literal["residual", "unet"] = "residual"
    blocks: int | None = None
    patch: int = 70
    norm: Norm = "instance"
    discriminator_norm: Norm = "instance"
    change: bool = False
    pool: int = 50
    knobs: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        check_counts(width=self.width, blocks=1 if self.blocks is None else self.blocks)
        if self.discriminator_width is not None:
            check_counts(discriminator_width=self.discriminator_width)
        check_patch(self.patch)
        if self.pool < 0:
            raise SettingError(f"pool = {self.pool}: it must be at least 0")

    def build(self, spec: DataSpec, generator: Generator) -> Model[CycleGANKnobs]:
        """The GAN for two sets of images like `spec`; raises SettingError for other data."""
        sizes = [size for size in SIZES if size >= least_side(self.patch)]
        sources, targets, size = check_images("cyclegan", spec, sizes)
        if {sources, targets} not in ({1}, {3}, {1, 3}):
            raise SettingError(
                f"cyclegan takes grey and colour images, not {sources} and {targets} channels; use --data"
            )
        channels, blocks = max(sources, targets), self.blocks or (9 if size >= 256 else 6)

        def mapping(made: int) -> nn.Module:
            if self.body == "unet":
                return UNet((channels, made), size, self.width, self.norm, 0.0, self.change)
            return ResidualGenerator((channels, made), self.width, blocks, self.norm, self.change)

        def judge(shown: int) -> nn.Module:
            return PatchDiscriminator(
                shown, self.discriminator_width or self.width, self.patch, self.discriminator_norm
            )

        sides = (targets, sources)
        networks = {
            **{name: mapping(made) for name, made in zip(GENERATORS, sides, strict=True)},
            **{name: judge(shown) for name, shown in zip(DISCRIMINATORS, sides, strict=True)},
        }
        for name, network in networks.items():
            norm = self.discriminator_norm if name.startswith("discriminator") else self.norm
            first_weights(network, norm, generator)
        kinds: tuple[Kind, ...] = ("colour", "translation", "cutout", *(("flip",) if spec.flips else ()))
        court = Court(LOSSES[self.loss], kinds, together=self.discriminator_norm != "batch")
        game = _Game(court, channels, self.pool, SCALES.get(self.loss, 1.0), together=self.norm != "batch")
        turnable = game.court.turnable | {"cycle_weight", "cycle_back_weight", "identity_weight"}
        check_turnable(self.knobs or {}, turnable, "cyclegan")
        return Model(
            name="cyclegan",
            networks=networks,
            phases=(
                Phase("generator", GENERATORS, game.translate, repeats=generator_steps),
                Phase("discriminator", DISCRIMINATORS, game.discriminate, repeats=discriminator_steps),
            ),
            knobs=CycleGANKnobs().with_values(self.knobs or {}),
            turnable=turnable,
            optimizer=_settings,
            latent=no_latent,
            generate=lambda networks, latent, condition: game.mapped(networks["generator"], condition),
            logits=game.logits,
            memory={"pool": torch.zeros(0, targets, size, size), "pool_back": torch.zeros(0, sources, size, size)},
            averaged=GENERATORS,
            source=spec.source,
            back=lambda networks, images: game.mapped(networks["generator_back"], images),
            ideal=game.court.ideal,
        )


@dataclass(frozen=True)
class _Game:
    """The phases of one built GAN. `channels`: of what generators take; grey images become colour ones of equal
    channels. What they make has the channels of its side, so that no colour hides in grey images on its way back.

    `together`: no image changes what a generator makes of another.
    """

    court: Court
    channels: int
    pool: int
    scale: float
    together: bool

    def translate(self, networks: Networks, batch: UnpairedBatch, moment: Moment[CycleGANKnobs]) -> Loss:
        """Both generators' loss: adversarial terms, lambda times the cycles, and the identity term if that is on."""
        knobs, x, y = moment.knobs, batch.source, batch.real
        there, back = networks["generator"], networks["generator_back"]
        (fake_y, same_y), (fake_x, same_x) = self._mapped(there, x, y, knobs), self._mapped(back, y, x, knobs)
        adversarial, logit = self._fooled(networks["discriminator"], fake_y, y, moment)
        adversarial_back, _ = self._fooled(networks["discriminator_back"], fake_x, x, moment)
        with unrecorded(there, back):
            cycle, cycle_back = l1_loss(self.mapped(back, fake_y), x), l1_loss(self.mapped(there, fake_x), y)
        total = self.scale * (adversarial + adversarial_back)
        total = total + knobs.cycle_weight * cycle + knobs.cycle_back_weight * cycle_back
        terms = {"adversarial": adversarial, "adversarial_back": adversarial_back}
        terms |= {"cycle": cycle, "cycle_back": cycle_back}
        if same_y is not None and same_x is not None:
            terms["identity"] = l1_loss(same_y, y) + l1_loss(same_x, x)
            total = total + knobs.identity_weight * terms["identity"]
        return Loss(
            total,
            {name: term.detach() for name, term in terms.items()},
            logit_fake=of_image(logit.detach()),
            carry={"fake_y": fake_y.detach(), "fake_x": fake_x.detach()},
        )

    def discriminate(self, networks: Networks, batch: UnpairedBatch, moment: Moment[CycleGANKnobs]) -> Loss:
        """The sum of both discriminators' losses, on fakes new and earlier, plus gamma R1 of each if that is on."""
        x, y = batch.source, batch.real
        fake_y, fake_x = moment.carried.get("fake_y"), moment.carried.get("fake_x")
        if fake_y is None or fake_x is None:
            with torch.no_grad():
                fake_y, fake_x = self.mapped(networks["generator"], x), self.mapped(networks["generator_back"], y)
        shown, pool = swapped(moment.memory["pool"], fake_y, self.pool, moment.generator)
        shown_back, pool_back = swapped(moment.memory["pool_back"], fake_x, self.pool, moment.generator)
        real_logit, fake_logit, forward = self._judged(networks["discriminator"], y, shown, moment)
        *_, backward = self._judged(networks["discriminator_back"], x, shown_back, moment)
        total, terms = forward + backward, {"adversarial": forward.detach(), "adversarial_back": backward.detach()}
        if gamma := moment.knobs.r1_gamma:
            r1 = _r1(networks["discriminator"], y) + _r1(networks["discriminator_back"], x)
            total, terms = total + gamma * r1, terms | {"r1": r1.detach()}
        return Loss(
            total,
            terms,
            logit_real=of_image(real_logit.detach()),
            logit_fake=of_image(fake_logit.detach()),
            memory={"pool": pool, "pool_back": pool_back},
        )

    def logits(self, networks: Networks, batch: UnpairedBatch, moment: Moment[CycleGANKnobs]) -> Tensor:
        """D_Y(y), (B,), as the discriminator of samples sees reals in training."""
        return of_image(self.court.logits(networks["discriminator"], batch.real, moment))

    def mapped(self, network: nn.Module, images: Tensor | None) -> Tensor:
        """Images (B, C, H, W), grey or colour, through a generator: (B, C', H, W), float32."""
        if images is None:
            raise SettingError("cyclegan makes images of images; give it some: equipoise translate RUN FOLDER")
        made: Tensor = network(self._widened(images)).float()
        return made

    def _mapped(
        self, network: nn.Module, images: Tensor, own: Tensor, knobs: CycleGANKnobs
    ) -> tuple[Tensor, Tensor | None]:
        """Images through a generator, and those of its own side for the identity term, None if that is off.

        Generators are asked for images of the other side: of those alone are running statistics. Mixed with those of
        the two other uses, they would make a generator that paints in training copy afterwards.
        """
        if not knobs.identity_weight:
            return self.mapped(network, images), None
        if not self.together:
            fake = self.mapped(network, images)
            with unrecorded(network):
                return fake, self.mapped(network, own)
        fake, same = self.mapped(network, torch.cat([self._widened(images), self._widened(own)])).chunk(2)
        return fake, same

    def _widened(self, images: Tensor) -> Tensor:
        return images.expand(-1, self.channels, -1, -1)

    def _fooled(
        self, network: nn.Module, fake: Tensor, real: Tensor, moment: Moment[CycleGANKnobs]
    ) -> tuple[Tensor, Tensor]:
        """What a generator pays for the logits of its fakes, and these."""
        real_logit = fake_logit = self.court.logits(network, fake, moment)
        if self.court.loss.needs_real:
            with torch.no_grad():
                real_logit = self.court.logits(network, real, moment)
        return self.court.loss.generator(fake_logit, real_logit), fake_logit

    def _judged(
        self, network: nn.Module, real: Tensor, fake: Tensor, moment: Moment[CycleGANKnobs]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of reals and fakes, and what a discriminator pays for them."""
        real_logit, fake_logit = self.court.both(network, real, fake, moment)
        return real_logit, fake_logit, self.court.discriminator(real_logit, fake_logit, moment)


def _r1(network: nn.Module, real: Tensor) -> Tensor:
    return zero_centred(lambda images: of_image(network(images)), real)


def _settings(network: str, moment: Moment[CycleGANKnobs]) -> OptimizerSettings:
    """Adam for all four (section 4 and the authors' code); a direction has no rate of its own."""
    knobs = moment.knobs
    return OptimizerSettings("adam", knobs.lr_g if network in GENERATORS else knobs.lr_d, knobs.beta1, knobs.beta2)
