"""What games from image to image share: data that suit them, and how a discriminator of patches is asked and paid."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Moment
from equipoise.errors import SettingError
from equipoise.losses.adversarial import AdversarialLoss
from equipoise.models._adversarial import drawn_label
from equipoise.nn.augment import Kind, augment, instance_noise
from equipoise.nn.initialize import he_normal_, normal_
from equipoise.nn.normalise import Norm
from equipoise.nn.patch import HALVINGS

ACTING = frozenset(
    {
        *("lr_g", "lr_d", "beta1", "beta2", "discriminator_steps", "generator_steps", "ema_half_life"),
        *("instance_noise", "augment_p", "r1_gamma"),
    }
)
LABELS = frozenset({"real_label_low", "real_label_high", "fake_label_low", "fake_label_high"})
GREY = 0.0
"""What a shifted image uncovers: neither the black ground of digits nor the white one of drawings."""


def check_images(name: str, spec: DataSpec, sizes: Sequence[int]) -> tuple[int, int, int]:
    """Channels of inputs, channels of samples, and pixels a side. Raises SettingError for data that do not suit."""
    if spec.source is None:
        raise SettingError(
            f"{name} makes images of images, and this data has no inputs; give it a folder of both by "
            "--data paired_folder or unpaired_folders, or use --model dcgan"
        )
    if not spec.is_image or len(spec.source) != 3 or spec.source[1:] != spec.shape[1:]:
        raise SettingError(f"{name} makes images of images of the same size; use --model mlp for points")
    channels, height, width = spec.shape
    if height != width or height not in sizes:
        raise SettingError(
            f"{name} takes square images of {', '.join(map(str, sizes))} pixels, not {height} x {width}; "
            "use --image-size"
        )
    return spec.source[0], channels, height


def check_patch(patch: int) -> None:
    """Raise SettingError for a patch that there are no layers for."""
    if patch not in HALVINGS:
        raise SettingError(f"patch = {patch}: one logit sees {', '.join(map(str, HALVINGS))} pixels a side")


def first_weights(network: nn.Module, norm: Norm, generator: Generator) -> None:
    """N(0, 0.02), as both papers have it; He's where no normalisation makes up for weights that small.

    Five layers of 0.02 at a width of 16 would hand on a thousandth of what they see.
    """
    (he_normal_ if norm == "none" else normal_)(network, generator)


def no_latent(count: int, generator: Generator, truncation: float | None) -> Tensor:
    """(count, 1) zeros: what is made hangs on the input alone."""
    return torch.zeros(count, 1, device=generator.device)


def of_image(logits: Tensor) -> Tensor:
    """(B, 1, h, w) logits of patches -> (B,), their means: what Isola 2017, section 3.2.2, takes for D's answer."""
    return logits.float().mean(dim=(1, 2, 3))


@dataclass(frozen=True)
class Court:
    """What a discriminator of patches is shown of images, and what both players pay for its answers.

    `together`: no image changes what a network makes of another, so that two batches may be one.
    """

    loss: AdversarialLoss
    kinds: tuple[Kind, ...]
    together: bool

    def logits(self, network: nn.Module, images: Tensor, moment: Moment[AdversarialKnobs]) -> Tensor:
        """(B, 1, h, w), of images (B, C, H, W) with all that is done to them beforehand."""
        knobs, source = moment.knobs, moment.generator
        seen = augment(images, knobs.augment_p, source, self.kinds, fill=GREY)
        logits: Tensor = network(instance_noise(seen, knobs.instance_noise, source))
        return logits

    def both(
        self, network: nn.Module, real: Tensor, fake: Tensor, moment: Moment[AdversarialKnobs]
    ) -> tuple[Tensor, Tensor]:
        """Logits of as many reals and fakes: in one pass, or, if images see each other, in one each."""
        if not self.together:
            return self.logits(network, real, moment), self.logits(network, fake, moment)
        first, second = self.logits(network, torch.cat([real, fake]), moment).chunk(2)
        return first, second

    def discriminator(self, real: Tensor, fake: Tensor, moment: Moment[AdversarialKnobs]) -> Tensor:
        """What the discriminator pays for logits (B, 1, h, w): every patch counts alike; labels are drawn by image."""
        knobs = moment.knobs
        real_label = drawn_label(knobs.real_label_low, knobs.real_label_high, real, moment)
        fake_label = drawn_label(knobs.fake_label_low, knobs.fake_label_high, fake, moment)
        return self.loss.discriminator(real, fake, real_label, fake_label)

    def ideal(self, knobs: AdversarialKnobs) -> float:
        """What that comes to where fakes are as reals are."""
        real = knobs.real_label_low, knobs.real_label_high
        return self.loss.ideal(real, (knobs.fake_label_low, knobs.fake_label_high))

    @property
    def turnable(self) -> frozenset[str]:
        """Knobs that act."""
        return ACTING | LABELS if self.loss.has_labels else ACTING
