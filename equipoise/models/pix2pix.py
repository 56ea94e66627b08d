"""pix2pix: a U-Net from image to image, trained on pairs with a patch discriminator (Isola et al. 2017).

Isola, Zhu, Zhou and Efros 2017, "Image-to-Image Translation with Conditional Adversarial Networks", equation 4:

    G* = arg min_G max_D E log D(x, y) + E log(1 - D(x, G(x, z))) + lambda E |y - G(x, z)|_1

x is the input and y the sample of a pair; lambda is 100. The noise z is dropout (section 3.2.1). As in section 3.3, the
generator minimises -log D(x, G(x, z)) instead, and the loss of the discriminator is halved.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Generator, Tensor

from equipoise.core.data import DataSpec
from equipoise.core.knobs import check_turnable
from equipoise.core.model import Model, Networks, Phase
from equipoise.core.sampling import Sampling
from equipoise.errors import SettingError
from equipoise.losses.adversarial import LOSSES, AdversarialLossName
from equipoise.models._adversarial_options import validate_counts
from equipoise.models._adversarial_phases import discriminator_steps, generator_steps
from equipoise.models._pix2pix_training import (
    PairTraining,
    Pix2PixKnobs,
    is_adversarial,
    pair_optimizer_settings,
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
        phases = PairTraining(adversarial)
        turnable = adversarial.turnable | {"l1_weight", "adversarial_weight"}
        check_turnable(self.knobs or {}, turnable, "pix2pix")
        return Model(
            name="pix2pix",
            networks=networks,
            phases=(
                Phase(
                    "discriminator", ("discriminator",), phases.discriminator_loss, is_adversarial, discriminator_steps
                ),
                Phase("generator", ("generator",), phases.generator_loss, repeats=generator_steps),
            ),
            knobs=Pix2PixKnobs().with_values(self.knobs or {}),
            turnable=turnable,
            optimizer=pair_optimizer_settings,
            latent=no_latent,
            generate=_generate,
            logits=phases.logits_of_reals,
            source=spec.source,
            multiple=size,  # the U-Net halves the sides down to one pixel
            ideal=adversarial.ideal,
        )


def _generate(networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
    """Translate inputs (B, C, H, W) without dropout, so that the result is deterministic."""
    if condition is None:
        raise SettingError("pix2pix needs input images; use: equipoise translate RUN FOLDER")
    images: Tensor = networks["generator"](condition)
    return images.float()
