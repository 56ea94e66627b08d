"""Shared parts of image-to-image models: validation of data, and the adversarial loss of a patch discriminator."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Moment
from equipoise.errors import SettingError
from equipoise.losses.adversarial import AdversarialLoss
from equipoise.models._adversarial_options import LABEL_KNOBS
from equipoise.models._adversarial_phases import sample_labels
from equipoise.nn.augment import Augmentation, augment, instance_noise
from equipoise.nn.image_translation import HALVINGS
from equipoise.nn.initialize import he_normal_, normal_
from equipoise.nn.layers import Norm

TURNABLE = frozenset(
    {
        *("lr_g", "lr_d", "beta1", "beta2", "discriminator_steps", "generator_steps", "ema_half_life"),
        *("instance_noise", "augment_p", "r1_gamma"),
    }
)
GREY = 0.0
"""Value of pixels that a shift uncovers; differs from the black background of digits and the white one of drawings."""


def validate_translation_spec(name: str, spec: DataSpec, sizes: Sequence[int]) -> tuple[int, int, int]:
    """Return the channels of inputs, the channels of samples, and the side in pixels.

    Raises SettingError for data that the model does not support.
    """
    if spec.source is None:
        raise SettingError(
            f"{name} translates images, and this data has no input images; use a folder with both and "
            "--data paired_folder or unpaired_folders, or use --model dcgan"
        )
    if not spec.is_image or len(spec.source) != 3 or spec.source[1:] != spec.shape[1:]:
        raise SettingError(f"{name} translates images to images of the same size; use --model mlp for points")
    channels, height, width = spec.shape
    if height != width or height not in sizes:
        raise SettingError(
            f"{name} supports square images of {', '.join(map(str, sizes))} pixels, not {height} x {width}; "
            "use --image-size"
        )
    return spec.source[0], channels, height


def validate_patch(patch: int) -> None:
    """Raise SettingError for a patch size that PatchDiscriminator does not support."""
    if patch not in HALVINGS:
        raise SettingError(f"patch = {patch}: it must be one of {', '.join(map(str, HALVINGS))} pixels")


def initialise(network: nn.Module, norm: Norm, generator: Generator) -> None:
    """Initialise weights from N(0, 0.02), as in both papers, or He's initialisation for networks without normalisation.

    Without normalisation, five layers of N(0, 0.02) at a width of 16 would scale their input by about 0.001.
    """
    (he_normal_ if norm == "none" else normal_)(network, generator)


def no_latent(count: int, generator: Generator, truncation: float | None) -> Tensor:
    """Return zeros (count, 1): samples depend on the input only."""
    return torch.zeros(count, 1, device=generator.device)


def mean_logit(logits: Tensor) -> Tensor:
    """Average patch logits (B, 1, h, w) to image logits (B,): Isola 2017, section 3.2.2."""
    return logits.float().mean(dim=(1, 2, 3))


@dataclass(frozen=True)
class PatchAdversarialLoss:
    """Adversarial loss on the logits of a patch discriminator, with augmentation and instance noise.

    `is_per_sample`: whether the discriminator processes each image independently, so that reals and fakes can share one
    batch.
    """

    loss: AdversarialLoss
    augmentations: tuple[Augmentation, ...]
    is_per_sample: bool

    def logits(self, network: nn.Module, images: Tensor, moment: Moment[AdversarialKnobs]) -> Tensor:
        """Compute logits (B, 1, h, w) of images (B, C, H, W) after augmentation and instance noise."""
        knobs, generator = moment.knobs, moment.generator
        augmented = augment(images, knobs.augment_p, generator, self.augmentations, fill=GREY)
        logits: Tensor = network(instance_noise(augmented, knobs.instance_noise, generator))
        return logits

    def real_and_fake_logits(
        self, network: nn.Module, real: Tensor, fake: Tensor, moment: Moment[AdversarialKnobs]
    ) -> tuple[Tensor, Tensor]:
        """Compute logits of equal numbers of reals and fakes, in one pass if the discriminator is per sample."""
        if not self.is_per_sample:
            return self.logits(network, real, moment), self.logits(network, fake, moment)
        real_logit, fake_logit = self.logits(network, torch.cat([real, fake]), moment).chunk(2)
        return real_logit, fake_logit

    def discriminator(self, real_logit: Tensor, fake_logit: Tensor, moment: Moment[AdversarialKnobs]) -> Tensor:
        """Compute the discriminator loss of logits (B, 1, h, w): a mean over patches, with one label per image."""
        knobs = moment.knobs
        real_label = sample_labels(knobs.real_label_low, knobs.real_label_high, real_logit, moment)
        fake_label = sample_labels(knobs.fake_label_low, knobs.fake_label_high, fake_logit, moment)
        return self.loss.discriminator(real_logit, fake_logit, real_label, fake_label)

    def generator(
        self, network: nn.Module, fake: Tensor, real: Tensor, moment: Moment[AdversarialKnobs]
    ) -> tuple[Tensor, Tensor]:
        """Compute the generator loss and the logits (B, 1, h, w) of fakes.

        Reals are passed through the discriminator only if the loss needs them.
        """
        real_logit = fake_logit = self.logits(network, fake, moment)
        if self.loss.needs_real:
            with torch.no_grad():
                real_logit = self.logits(network, real, moment)
        return self.loss.generator(fake_logit, real_logit), fake_logit

    def ideal(self, knobs: AdversarialKnobs) -> float:
        """Return the optimal discriminator's loss when fakes and reals have the same distribution."""
        real_labels = knobs.real_label_low, knobs.real_label_high
        return self.loss.ideal(real_labels, (knobs.fake_label_low, knobs.fake_label_high))

    @property
    def turnable(self) -> frozenset[str]:
        """Knobs that have an effect."""
        return TURNABLE | LABEL_KNOBS if self.loss.has_labels else TURNABLE
