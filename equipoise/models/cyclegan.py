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
from torch import Generator, nn

from equipoise.core.data import DataSpec
from equipoise.core.knobs import check_turnable
from equipoise.core.model import Model, Phase
from equipoise.errors import SettingError
from equipoise.losses.adversarial import LOSSES, AdversarialLossName
from equipoise.models._adversarial_options import validate_counts
from equipoise.models._adversarial_phases import discriminator_steps, generator_steps
from equipoise.models._cyclegan_training import (
    DISCRIMINATORS,
    GENERATORS,
    CycleGANKnobs,
    CycleTraining,
    cycle_optimizer_settings,
)
from equipoise.models._translation import (
    PatchAdversarialLoss,
    initialise,
    no_latent,
    validate_patch,
    validate_translation_spec,
)
from equipoise.nn.augment import Augmentation
from equipoise.nn.image_translation import PatchDiscriminator, UNet, minimum_side
from equipoise.nn.layers import Norm
from equipoise.nn.residual import ResidualGenerator

__all__ = ["CycleGAN"]

SIZES = (16, 32, 64, 128, 256, 512)
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
        scale, is_per_image = GENERATOR_SCALES.get(self.loss, 1.0), self.norm != "batch"
        phases = CycleTraining(adversarial, scale, max(sources, targets), self.pool, is_per_image)
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
            optimizer=cycle_optimizer_settings,
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
