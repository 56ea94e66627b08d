"""R3GAN: relativistic pairing loss with R1 and R2, residual networks without normalisation (Huang et al. 2024).

Huang, Gokaslan, Kuleshov and Tompkin 2024, "The GAN is dead; long live the GAN! A Modern GAN Baseline". The default
networks are small and have dense convolutions: grouped ones save three quarters of the operations but only 40 % of the
time of a CPU. The presets are the paper's networks, whose parameters a test counts.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, cast

from torch import Generator, Tensor, nn

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model, Networks
from equipoise.core.sampling import Sampling
from equipoise.errors import SettingError
from equipoise.losses.adversarial import AdversarialLossName
from equipoise.models._adversarial import adversarial_model
from equipoise.models._adversarial_options import (
    Constraint,
    Fakes,
    OptimizerName,
    validate_adversarial_options,
    validate_counts,
)
from equipoise.models._convolutional import suitable_augmentations
from equipoise.models._image_pyramid import START, ImagePyramid, image_pyramid
from equipoise.models._r3gan import (
    ResidualImageDiscriminator,
    ResidualImageGenerator,
    ResidualLayout,
    initialise_networks,
)

__all__ = ["R3GAN"]


def paper_preset(gamma: float, width: int = 768, wide_side: int = 32, group_width: int = 16) -> Mapping[str, object]:
    """Return the options of one of the paper's configurations: the settings at the start of its schedules.

    `gamma`: of R1 and R2. `wide_side`, `group_width`: see the options of :class:`R3GAN`.
    """
    return {
        "width": width,
        "wide_side": wide_side,
        "trunk_side": 1024,
        "blocks": 2,
        "expansion": 2,
        "group_width": group_width,
        "penalty_interval": 1,
        "knobs": {
            **{"lr_g": 2e-4, "lr_d": 2e-4, "beta1": 0.0, "beta2": 0.9},
            **{"r1_gamma": gamma, "r2_gamma": gamma, "ema_half_life": 5e5},
        },
    }


@dataclass(frozen=True, kw_only=True)
class R3GAN:
    """Options of R3GAN. Those of adversarial training are AdversarialOptions in _adversarial_options.py.

    `width`: channels of the levels up to `wide_side`; they halve with every doubling beyond. `wide_side`: largest side
    of a map with all channels, for images whose smallest map is 4 pixels. `trunk_side`: largest side of a map with
    residual blocks; larger maps have one 3 x 3 convolution. `blocks`: residual blocks per level. `expansion`: inner
    channels of a block as a multiple of its channels. `group_width`: inner channels of a group of its 3 x 3
    convolution, 0 for a dense one. `conditional`: use class labels; None to use them if the data has them.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "cifar10": paper_preset(0.05),  # batch size 512
        "ffhq64": paper_preset(2.0),  # 256
        "ffhq256": paper_preset(150.0),  # 256
        "imagenet32": paper_preset(0.5, 1536, group_width=32),  # 4,096
        "imagenet64": paper_preset(1.0, 1536, 64, 32),  # 4,096
    }

    loss: AdversarialLossName = "relativistic"
    constraint: Constraint = "none"
    fakes: Fakes = "fresh"
    penalty_interval: int = 4
    clip: float = 0.01
    optimizer: OptimizerName = "adam"
    latent_dim: int = 64
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {
            **{"lr_g": 1e-3, "lr_d": 1e-3, "beta1": 0.0, "beta2": 0.99},
            **{"r1_gamma": 1.0, "r2_gamma": 1.0, "augment_p": 0.3},
        }
    )
    width: int = 48
    wide_side: int = 16
    trunk_side: int = 16
    blocks: int = 2
    expansion: int = 1
    group_width: int = 0
    conditional: bool | None = None

    def __post_init__(self) -> None:
        validate_adversarial_options(self)
        validate_counts(width=self.width, blocks=self.blocks, expansion=self.expansion)
        for name in ("wide_side", "trunk_side"):
            if getattr(self, name) < START:
                raise SettingError(f"{name} = {getattr(self, name)}: it must be at least {START}")
        if self.group_width < 0:
            raise SettingError(f"group_width = {self.group_width}: it must be at least 0, which is dense")

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for images like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        pyramid = image_pyramid("r3gan", spec)
        if self.conditional and not spec.classes:
            raise SettingError("conditional = true, but the data has no labels; omit this option")
        classes = 0 if self.conditional is False else spec.classes
        layout = self.layout(pyramid, spec.shape[0])
        networks = ResidualImageGenerator(layout, self.latent_dim, classes), ResidualImageDiscriminator(layout, classes)
        initialise_networks(networks, generator)
        named: dict[str, nn.Module] = dict(zip(("generator", "discriminator"), networks, strict=True))
        augmentations = suitable_augmentations(spec)
        # L_D = E softplus(-(D(x) - D(G(z)))) + γ/2 (E |dD(x)/dx|² + E |dD(G(z))/dG(z)|²)
        # L_G = E softplus(-(D(G(z)) - D(x)))        (Huang 2024, equations 2 and 3; formulas: losses/)
        model = adversarial_model("r3gan", self, named, generator, augmentations=augmentations, classes=classes)
        return dataclasses.replace(model, generate=_generate)

    def layout(self, pyramid: ImagePyramid, channels: int) -> ResidualLayout:
        """Return the levels of both networks. Raises SettingError if inner channels are no multiple of the group."""
        sides = [START << level for level in range(pyramid.doublings + 1)]
        widths = tuple(max(1, self.width * self.wide_side // max(side, self.wide_side)) for side in sides)
        trunk = sum(side <= self.trunk_side for side in sides)
        for width in widths[:trunk]:
            inner = self.expansion * width
            if self.group_width and inner > self.group_width and inner % self.group_width:
                raise SettingError(
                    f"group_width = {self.group_width} does not divide the {inner} inner channels of a level with "
                    f"{width} channels; use a width that is a multiple of it"
                )
        return ResidualLayout(pyramid, widths, trunk, self.blocks, self.expansion, self.group_width, channels)


def _generate(networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
    """Generate images, clamped to [-1, 1]: the output of the generator is unbounded."""
    return cast(Tensor, networks["generator"](latent, condition)).clamp(-1, 1)
