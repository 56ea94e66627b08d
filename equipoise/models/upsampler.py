"""Super-resolution: images of four times the sides, trained with a patch discriminator (Ledig et al. 2017, SRGAN).

Ledig et al. 2017, "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network": an image and
its smaller version are a pair, and a discriminator adds the details that regression averages away. The loss is that of
pix2pix, without features of a classification network; the generator adds details to a bicubic enlargement. It is the
second of two models of GigaGAN (Kang et al. 2023): one generates small images, the other enlarges them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
from equipoise.models._translation import PatchAdversarialLoss, initialise, no_latent, validate_patch
from equipoise.nn.augment import Augmentation
from equipoise.nn.image_translation import PatchDiscriminator, minimum_side
from equipoise.nn.super_resolution import EnlargingNetwork, initialise_enlarging

__all__ = ["Upsampler"]


@dataclass(frozen=True, kw_only=True)
class Upsampler:
    """Options of the upsampler.

    `loss`: adversarial loss. `factor`: sides of an image divided by those of its input: 2, 4 or 8. `width`: channels of
    the generator. `blocks`: residual blocks at the size of the input. `discriminator_width`: channels of the first
    layer of the discriminator; they double with every halving, up to 8 times. `patch`: side in pixels of the receptive
    field of one logit: 16, 34 or 70. `knobs`: values that differ from the defaults of the knobs.
    """

    pairing: ClassVar[Literal["made"]] = "made"

    loss: AdversarialLossName = "non_saturating"
    factor: int = 4
    width: int = 32
    blocks: int = 4
    discriminator_width: int = 16
    patch: int = 16
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {"lr_g": 1e-3, "lr_d": 5e-4, "r1_gamma": 0.3, "l1_weight": 30.0, "ema_half_life": 2000}
    )

    def __post_init__(self) -> None:
        validate_counts(width=self.width, blocks=self.blocks, discriminator_width=self.discriminator_width)
        validate_patch(self.patch)
        if self.factor not in (2, 4, 8):
            raise SettingError(f"factor = {self.factor}: it must be 2, 4 or 8")

    @property
    def downscaling(self) -> int:
        """The factor by which the inputs are smaller, which are made from the images."""
        return self.factor

    def build(self, spec: DataSpec, generator: Generator) -> Model[Pix2PixKnobs]:
        """Build the model for images like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        source = self._source(spec)
        channels = source[0]
        network = EnlargingNetwork(channels, self.width, self.blocks, self.factor.bit_length() - 1)
        discriminator = PatchDiscriminator(2 * channels, self.discriminator_width, self.patch, "none")
        initialise_enlarging(network, generator)
        initialise(discriminator, "none", generator)
        augmentations: tuple[Augmentation, ...] = ("translation", "cutout", *(("flip",) if spec.flips else ()))
        adversarial = PatchAdversarialLoss(LOSSES[self.loss], augmentations, is_per_sample=True)
        phases = PairTraining(adversarial)
        turnable = adversarial.turnable | {"l1_weight", "adversarial_weight"}
        check_turnable(self.knobs, turnable, "upsampler")
        return Model(
            name="upsampler",
            networks={"generator": network, "discriminator": discriminator},
            phases=(
                Phase(
                    "discriminator", ("discriminator",), phases.discriminator_loss, is_adversarial, discriminator_steps
                ),
                Phase("generator", ("generator",), phases.generator_loss, repeats=generator_steps),
            ),
            knobs=Pix2PixKnobs().with_values(self.knobs),
            turnable=turnable,
            optimizer=pair_optimizer_settings,
            latent=no_latent,
            generate=_generate,
            logits=phases.logits_of_reals,
            source=source,
            multiple=1,
            scale=self.factor,
            ideal=adversarial.ideal,
        )

    def _source(self, spec: DataSpec) -> tuple[int, int, int]:
        """Return the shape of an input. Raises SettingError for data that the model does not support."""
        if not spec.is_image:
            raise SettingError("upsampler enlarges images; use --model mlp for points, dcgan for sequences")
        channels, height, width = spec.shape
        least = max(minimum_side(self.patch), 4 * self.factor)
        if height % self.factor or width % self.factor or min(height, width) < least:
            side = max(least, round(min(height, width) / self.factor) * self.factor)
            raise SettingError(
                f"upsampler enlarges images by {self.factor} to sides that are multiples of {self.factor}, of at least "
                f"{least} pixels, not {width} x {height}; use --image-size {side}"
            )
        return channels, height // self.factor, width // self.factor


def _generate(networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
    """Enlarge inputs (B, C, H, W) to (B, C, f H, f W) in [-1, 1]."""
    if condition is None:
        raise SettingError("upsampler needs input images; use: equipoise translate RUN FOLDER")
    images: Tensor = networks["generator"](condition)
    return images.float().clamp(-1, 1)
