"""CycleGAN: translation between two sets of images in both directions, trained without pairs (Zhu et al. 2017).

Zhu, Park, Isola and Efros 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
equations 2 and 3 and the identity term of section 5.2:

    L_GAN(G, D_Y) + L_GAN(F, D_X) + lambda (E |F(G(x)) - x|_1 + E |G(F(y)) - y|_1)
                                  + lambda / 2 (E |G(y) - y|_1 + E |F(x) - x|_1)

x are inputs, y samples, G maps x to y and F maps y to x; lambda is 10; the authors' code has a separate one for each
cycle. The adversarial loss is least squares: (D(G(x)) - 1)^2 for the generator, half the usual loss for the
discriminator. The discriminator also sees earlier fakes, from a pool of 50 (section 4).
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
from equipoise.nn.layers import Norm, frozen_running_statistics
from equipoise.nn.pool import exchange_with_pool
from equipoise.nn.residual import ResidualGenerator

__all__ = ["CycleGAN"]

SIZES = (16, 32, 64, 128, 256, 512)
GENERATORS = ("generator", "generator_back")
DISCRIMINATORS = ("discriminator", "discriminator_back")
SHORT_RUN_KNOBS: Mapping[str, float] = {
    "lr_g": 1e-3,
    "lr_d": 1e-3,
    "r1_gamma": 0.3,
    "ema_half_life": 4000,
    "cycle_back_weight": 2,
    "identity_weight": 0,
}
"""Knobs for narrow networks and a few thousand steps. Without R1, discriminators respond to imperceptible patterns and
generators produce arbitrary colours. The cycle from samples has a lower weight, because outlines cannot encode the lost
colours. Residual generators preserve backgrounds without an identity term."""
NARROW_UNET: Mapping[str, object] = {
    "width": 16,
    "body": "unet",
    "norm": "batch",
    "change": True,
    "discriminator_width": 32,
    "patch": 34,
    "discriminator_norm": "none",
}
"""Options of a narrow U-Net, which preserves strokes from the first step. Instance normalisation would remove the
amount of colour from the input of discriminators, and the brightness of the background from the input of generators."""
GENERATOR_SCALES = {"least_squares": 2.0}
"""Factor of the generator loss: (D(G(x)) - 1)^2 / 2 in Mao 2017, without the 1/2 in Zhu 2017."""


@dataclass(frozen=True, slots=True)
class CycleGANKnobs(AdversarialKnobs):
    """Knobs of adversarial training, and the weights of the cycle and identity terms."""

    cycle_weight: float = knob(
        10, 1e-2, 1e3, "", "log", "weight of |F(G(x)) - x|, the cycle from inputs", can_be_off=True
    )
    cycle_back_weight: float = knob(
        10, 1e-2, 1e3, "", "log", "weight of |G(F(y)) - y|, the cycle from samples", can_be_off=True
    )
    identity_weight: float = knob(5, 1e-2, 1e3, "", "log", "weight of |G(y) - y| + |F(x) - x|", can_be_off=True)


@dataclass(frozen=True, kw_only=True)
class CycleGAN:
    """Options of CycleGAN.

    `loss`: adversarial loss. `width`: channels of the first layer of all four networks. `discriminator_width`: channels
    of the first layer of the discriminators, if different. `body`: generators of residual blocks, or the U-Net of
    pix2pix. `blocks`: residual blocks; None for the paper's: 6 below 256 pixels, else 9. `patch`: side in pixels of the
    receptive field of one logit: 16, 34 or 70. `norm`: batch or instance normalisation, or none, in the generators.
    `discriminator_norm`: the same in the discriminators. `change`: generators predict a residual to the input instead
    of the image. `pool`: size of the pool of earlier fakes of each direction, 0 for none. `knobs`: values that differ
    from the defaults of the knobs.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "cpu32": {**NARROW_UNET, "knobs": SHORT_RUN_KNOBS},
        "cpu64": {**NARROW_UNET, "knobs": SHORT_RUN_KNOBS},
        # Zhu 2017, section 7.1; use a batch size of 1.
        "horse2zebra256": {"width": 64, "blocks": 9, "patch": 70, "norm": "instance"},
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
        validate_counts(width=self.width, blocks=1 if self.blocks is None else self.blocks)
        if self.discriminator_width is not None:
            validate_counts(discriminator_width=self.discriminator_width)
        validate_patch(self.patch)
        if self.pool < 0:
            raise SettingError(f"pool = {self.pool}: it must be at least 0")

    def build(self, spec: DataSpec, generator: Generator) -> Model[CycleGANKnobs]:
        """Build the model for two sets of images like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        sizes = [size for size in SIZES if size >= minimum_side(self.patch)]
        sources, targets, size = validate_translation_spec("cyclegan", spec, sizes)
        if {sources, targets} not in ({1}, {3}, {1, 3}):
            raise SettingError(
                f"cyclegan supports grey and colour images, not {sources} and {targets} channels; use other data"
            )
        augmentations: tuple[Augmentation, ...] = (
            *("colour", "translation", "cutout"),
            *(("flip",) if spec.flips else ()),
        )
        is_per_sample = self.discriminator_norm != "batch"
        adversarial = PatchAdversarialLoss(LOSSES[self.loss], augmentations, is_per_sample)
        phases = _CycleGANPhases(adversarial, self, channels=max(sources, targets))
        turnable = adversarial.turnable | {"cycle_weight", "cycle_back_weight", "identity_weight"}
        check_turnable(self.knobs or {}, turnable, "cyclegan")
        return Model(
            name="cyclegan",
            networks=self._networks(sources, targets, size, generator),
            phases=(
                Phase("generator", GENERATORS, phases.generator_loss, repeats=generator_steps),
                Phase("discriminator", DISCRIMINATORS, phases.discriminator_loss, repeats=discriminator_steps),
            ),
            knobs=CycleGANKnobs().with_values(self.knobs or {}),
            turnable=turnable,
            optimizer=_optimizer_settings,
            latent=no_latent,
            generate=lambda networks, latent, condition, sampling: phases.translate(networks["generator"], condition),
            logits=phases.logits_of_reals,
            memory={"pool": torch.zeros(0, targets, size, size), "pool_back": torch.zeros(0, sources, size, size)},
            averaged=GENERATORS,
            source=spec.source,
            multiple=size if self.body == "unet" else ResidualGenerator.MULTIPLE,
            reverse=lambda networks, images: phases.translate(networks["generator_back"], images),
            ideal=adversarial.ideal,
        )

    def _networks(self, sources: int, targets: int, size: int, generator: Generator) -> dict[str, nn.Module]:
        channels, blocks = max(sources, targets), self.blocks or (9 if size >= 256 else 6)

        def generator_network(out_channels: int) -> nn.Module:
            if self.body == "unet":
                return UNet((channels, out_channels), size, self.width, self.norm, 0.0, self.change)
            return ResidualGenerator((channels, out_channels), self.width, blocks, self.norm, self.change)

        def discriminator_network(in_channels: int) -> nn.Module:
            width = self.discriminator_width or self.width
            return PatchDiscriminator(in_channels, width, self.patch, self.discriminator_norm)

        directions = (targets, sources)
        generators = {name: generator_network(count) for name, count in zip(GENERATORS, directions, strict=True)}
        discriminators = {
            name: discriminator_network(count) for name, count in zip(DISCRIMINATORS, directions, strict=True)
        }
        for network in generators.values():
            initialise(network, self.norm, generator)
        for network in discriminators.values():
            initialise(network, self.discriminator_norm, generator)
        return {**generators, **discriminators}


@dataclass(frozen=True)
class _CycleGANPhases:
    """The losses of all four networks.

    `channels`: input channels of the generators; grey images are expanded to colour. Outputs have the channels of the
    target domain, so that grey images cannot encode colours for the translation back.
    """

    adversarial: PatchAdversarialLoss
    options: CycleGAN
    channels: int

    def generator_loss(self, networks: Networks, batch: UnpairedBatch, moment: Moment[CycleGANKnobs]) -> Loss:
        """Compute L_G + L_F: adversarial and cycle terms, and the identity term if it is on."""
        knobs, x, y = moment.knobs, batch.source, batch.real
        g, f = networks["generator"], networks["generator_back"]
        (fake_y, same_y), (fake_x, same_x) = self._fake_and_same(g, x, y, knobs), self._fake_and_same(f, y, x, knobs)
        adversarial, logit = self.adversarial.generator(networks["discriminator"], fake_y, y, moment)
        adversarial_back, _ = self.adversarial.generator(networks["discriminator_back"], fake_x, x, moment)
        with frozen_running_statistics(g, f):
            cycle, cycle_back = l1_loss(self.translate(f, fake_y), x), l1_loss(self.translate(g, fake_x), y)
        scale = GENERATOR_SCALES.get(self.options.loss, 1.0)
        # L = L_adv(G, D_Y) + L_adv(F, D_X) + λ_x |F(G(x)) - x| + λ_y |G(F(y)) - y| + λ_id (|G(y) - y| + |F(x) - x|)
        # Zhu 2017, eqs. 2 and 3, section 5.2.
        total = scale * (adversarial + adversarial_back)
        total = total + knobs.cycle_weight * cycle + knobs.cycle_back_weight * cycle_back
        terms = {"adversarial": adversarial, "adversarial_back": adversarial_back}
        terms |= {"cycle": cycle, "cycle_back": cycle_back}
        if same_y is not None and same_x is not None:
            terms["identity"] = l1_loss(same_y, y) + l1_loss(same_x, x)
            total = total + knobs.identity_weight * terms["identity"]
        return Loss(
            total,
            {name: term.detach() for name, term in terms.items()},
            logit_fake=mean_logit(logit.detach()),
            carry={"fake_y": fake_y.detach(), "fake_x": fake_x.detach()},
        )

    def discriminator_loss(self, networks: Networks, batch: UnpairedBatch, moment: Moment[CycleGANKnobs]) -> Loss:
        """Compute L_D_Y + L_D_X on reals and on new and earlier fakes; R1 is added if it is on."""
        x, y = batch.source, batch.real
        fake_y, fake_x = moment.carried.get("fake_y"), moment.carried.get("fake_x")
        if fake_y is None or fake_x is None:
            with torch.no_grad():
                fake_y = self.translate(networks["generator"], x)
                fake_x = self.translate(networks["generator_back"], y)
        fake_y, pool = exchange_with_pool(moment.memory["pool"], fake_y, self.options.pool, moment.generator)
        fake_x, pool_back = exchange_with_pool(moment.memory["pool_back"], fake_x, self.options.pool, moment.generator)
        d_y, d_x = networks["discriminator"], networks["discriminator_back"]
        real_logit, fake_logit = self.adversarial.real_and_fake_logits(d_y, y, fake_y, moment)
        adversarial = self.adversarial.discriminator(real_logit, fake_logit, moment)
        logits_back = self.adversarial.real_and_fake_logits(d_x, x, fake_x, moment)
        adversarial_back = self.adversarial.discriminator(*logits_back, moment)
        terms = {"adversarial": adversarial.detach(), "adversarial_back": adversarial_back.detach()}
        # L = L_adv(D_Y(y), D_Y(G(x))) + L_adv(D_X(x), D_X(F(y))) + γ (R1(D_Y, y) + R1(D_X, x))
        # Zhu 2017, section 4; Mescheder 2018, eq. 9.
        total = adversarial + adversarial_back
        if gamma := moment.knobs.r1_gamma:
            r1 = _r1(d_y, y) + _r1(d_x, x)
            total, terms = total + gamma * r1, terms | {"r1": r1.detach()}
        return Loss(
            total,
            terms,
            logit_real=mean_logit(real_logit.detach()),
            logit_fake=mean_logit(fake_logit.detach()),
            memory={"pool": pool, "pool_back": pool_back},
        )

    def logits_of_reals(self, networks: Networks, batch: UnpairedBatch, moment: Moment[CycleGANKnobs]) -> Tensor:
        """Compute D_Y(y), (B,), of reals with the noise and augmentation of training."""
        return mean_logit(self.adversarial.logits(networks["discriminator"], batch.real, moment))

    def translate(self, network: nn.Module, images: Tensor | None) -> Tensor:
        """Pass images (B, C, H, W), grey or colour, through a generator: (B, C', H, W) float32."""
        if images is None:
            raise SettingError("cyclegan needs input images; use: equipoise translate RUN FOLDER")
        translated: Tensor = network(self._expand_channels(images)).float()
        return translated

    def _fake_and_same(
        self, network: nn.Module, images: Tensor, targets: Tensor, knobs: CycleGANKnobs
    ) -> tuple[Tensor, Tensor | None]:
        """Translate images, and images of the target domain for the identity term, None if that is off.

        Running statistics of batch normalisation are updated only when translating inputs, as in inference. When
        updated by all passes, generators copied their input in inference.
        """
        if not knobs.identity_weight:
            return self.translate(network, images), None
        if self.options.norm == "batch":
            fake = self.translate(network, images)
            with frozen_running_statistics(network):
                return fake, self.translate(network, targets)
        both = torch.cat([self._expand_channels(images), self._expand_channels(targets)])
        fake, same = self.translate(network, both).chunk(2)
        return fake, same

    def _expand_channels(self, images: Tensor) -> Tensor:
        return images.expand(-1, self.channels, -1, -1)


def _r1(network: nn.Module, real: Tensor) -> Tensor:
    return r1_penalty(lambda images: mean_logit(network(images)), real)


def _optimizer_settings(network: str, moment: Moment[CycleGANKnobs]) -> OptimizerSettings:
    """Return Adam's settings (section 4 and the authors' code), the same for both directions."""
    knobs = moment.knobs
    return OptimizerSettings("adam", knobs.lr_g if network in GENERATORS else knobs.lr_d, knobs.beta1, knobs.beta2)
