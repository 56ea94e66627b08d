"""StyleGAN 3: generator without aliasing, whose details move and turn with the objects (Karras et al. 2021).

Karras, Aittala, Laine, Härkönen, Hellsten, Lehtinen and Aila 2021, "Alias-Free Generative Adversarial Networks". The
default networks are small, with six layers and a narrow margin: equivariance holds without training, but the quality of
the presets needs a GPU. Those are the paper's networks, whose parameters a test counts. The discriminator is that of
StyleGAN 2.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Generator, nn

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model
from equipoise.errors import SettingError
from equipoise.losses.adversarial import AdversarialLossName
from equipoise.models import _stylegan3
from equipoise.models._adversarial import adversarial_model
from equipoise.models._adversarial_extensions import Discriminator, Extensions
from equipoise.models._adversarial_options import (
    Fakes,
    OptimizerName,
    validate_adversarial_options,
    validate_counts,
)
from equipoise.models._convolutional import suitable_augmentations
from equipoise.models._stylegan2_discriminator import StyleDiscriminator
from equipoise.nn.alias_free import initialise_alias_free, layer_maps
from equipoise.nn.equalised import initialise_equalised

__all__ = ["StyleGAN3"]

Equivariance = Literal["translation", "rotation"]
SMALLEST_MAP = 4
"""Side of the discriminator's smallest map."""


def paper_preset(equivariance: Equivariance, channel_base: int, gamma: float) -> Mapping[str, object]:
    """Return the options of one of the paper's configurations. `gamma`: of R1 (Karras 2021, appendix F)."""
    return {
        **{"equivariance": equivariance, "layers": 14, "margin": 10, "width": 512, "channel_base": channel_base},
        **{"latent_dim": 512, "fakes": "fresh", "penalty_interval": 16, "magnitude_half_life": 20_000},
        **{"label_layers": 8},
        **({"blur": 10.0, "blur_images": 200_000} if equivariance == "rotation" else {}),
        "knobs": {"lr_g": 2.5e-3, "lr_d": 2e-3, "beta1": 0.0, "beta2": 0.99, "r1_gamma": gamma},
    }


@dataclass(frozen=True, kw_only=True)
class StyleGAN3:
    """Options of StyleGAN 3. Those of adversarial training: AdversarialOptions in _adversarial_options.py.

    `equivariance`: translation for 3 x 3 kernels, configuration T of the paper; rotation for 1 x 1 kernels, twice the
    channels in the generator and radial filters, configuration R. `layers`: of the generator, without the input and the
    colours. `critical_layers`: the last layers, whose maps use every frequency up to the limit of the sampling rate.
    `margin`: pixels around the image that the maps have, so that its border has no effect inside. `width`: largest
    number of channels. `channel_base`: a map of the generator whose frequencies end at f cycles per image has
    channel_base / (2 f) channels, a map of the discriminator channel_base / side, up to `width`. `mapping_layers`: from
    the latent to the style, which has as many numbers. `magnitude_half_life`: images after which the running magnitudes
    of the maps, which normalise them, have half forgotten. `blur`: pixels by which reals and fakes are blurred at
    first, then less and less; 0 for none. `blur_images`: reals after which blur ends. `deviation_group`: samples per
    group of the minibatch standard deviation. `label_layers`: layers that map labels in the discriminator.
    `conditional`: use class labels; None to use them if the data has them.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "rotation": {"equivariance": "rotation", "blur": 1.25, "blur_images": 4_000},  # small
        "t256": paper_preset("translation", 16_384, 2.0),
        "r256": paper_preset("rotation", 16_384, 2.0),
        "t1024": paper_preset("translation", 32_768, 32.0),
        "r1024": paper_preset("rotation", 32_768, 32.0),
    }

    loss: AdversarialLossName = "non_saturating"
    constraint: Literal["none", "gradient_penalty"] = "none"
    fakes: Fakes = "shared"
    penalty_interval: int = 8
    clip: ClassVar[float] = 0.01
    optimizer: OptimizerName = "adam"
    latent_dim: int = 64
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {"lr_g": 2.5e-3, "lr_d": 2e-3, "beta1": 0.0, "beta2": 0.99, "r1_gamma": 1.0}
    )
    equivariance: Equivariance = "translation"
    layers: int = 6
    critical_layers: int = 2
    margin: int = 6
    width: int = 64
    channel_base: int = 1024
    mapping_layers: int = 2
    magnitude_half_life: int = 2_000
    blur: float = 0.0
    blur_images: int = 4_000
    deviation_group: int = 4
    label_layers: int = 0
    conditional: bool | None = None

    def __post_init__(self) -> None:
        validate_adversarial_options(self)
        validate_counts(
            critical_layers=self.critical_layers,
            width=self.width,
            channel_base=self.channel_base,
            mapping_layers=self.mapping_layers,
            magnitude_half_life=self.magnitude_half_life,
            blur_images=self.blur_images,
            deviation_group=self.deviation_group,
        )
        _stylegan3.validate_layers(self.layers, self.critical_layers, self.margin, self.blur, self.label_layers)

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for square images like `spec`, with weights drawn from `generator`.

        Raises SettingError for other data.
        """
        _stylegan3.validate_spec("stylegan3", spec)
        if self.conditional and not spec.classes:
            raise SettingError("conditional = true, but the data has no labels; omit this option")
        classes = 0 if self.conditional is False else spec.classes
        networks: dict[str, nn.Module] = {
            "generator": self.build_generator(spec, classes),
            "discriminator": self.build_discriminator(spec, classes),
        }
        initialise_alias_free(networks["generator"], generator)
        initialise_equalised(networks["discriminator"], generator)
        extensions = Extensions(draw=_stylegan3.draw_function(self.magnitude_half_life, self.deviation_group))
        if self.blur:
            prepare = _stylegan3.fading_blur(self.blur, self.blur_images)
            extensions = dataclasses.replace(extensions, prepare=prepare)
        model = adversarial_model(
            "stylegan3",
            self,
            networks,
            generator,
            augmentations=suitable_augmentations(spec),
            classes=classes,
            extensions=extensions,
        )
        return dataclasses.replace(
            model,
            generate=_stylegan3.generate,
            generate_transformed=_stylegan3.generate_transformed,
            styles=_stylegan3.STYLES,
            samplings=_stylegan3.SAMPLINGS,
        )

    def build_generator(self, spec: DataSpec, classes: int) -> _stylegan3.AliasFreeGenerator:
        """Build the generator without initial weights."""
        channels, size, _ = spec.shape
        factor = 2 if self.equivariance == "rotation" else 1
        maps = layer_maps(
            size,
            layers=self.layers,
            critical=self.critical_layers,
            margin=self.margin,
            channel_base=factor * self.channel_base,
            max_channels=factor * self.width,
        )
        return _stylegan3.AliasFreeGenerator(
            maps,
            channels,
            self.latent_dim,
            critical=self.critical_layers,
            kernel=1 if self.equivariance == "rotation" else 3,
            mapping_layers=self.mapping_layers,
            classes=classes,
        )

    def build_discriminator(self, spec: DataSpec, classes: int) -> Discriminator:
        """Build the discriminator without initial weights."""
        channels, size, _ = spec.shape
        sides = [SMALLEST_MAP << level for level in range((size // SMALLEST_MAP).bit_length())]
        discriminator = StyleDiscriminator(
            channels,
            (SMALLEST_MAP, SMALLEST_MAP),
            [max(1, min(self.channel_base // side, self.width)) for side in sides],
            architecture="residual",
            group=self.deviation_group,
            classes=classes,
            label_layers=self.label_layers,
        )
        return _stylegan3.BlurringDiscriminator(discriminator) if self.blur else discriminator
