"""Generator of StyleGAN 3: how fakes are drawn in training, sampling with truncated styles, blur of early images."""

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from equipoise.core.data import DataSpec
from equipoise.core.image_sizes import ImageSides
from equipoise.core.model import Networks, StyleSpace
from equipoise.core.sampling import Sampling
from equipoise.core.world import batch_world
from equipoise.errors import SettingError
from equipoise.models._adversarial_extensions import AdversarialMoment, Discriminator, Draw
from equipoise.nn import latents
from equipoise.nn.alias_free import AliasFreeMaps, AliasFreeSynthesis
from equipoise.nn.gaussian_blur import gaussian_blur
from equipoise.nn.minibatch_deviation import check_deviation_group
from equipoise.nn.style_mapping import MappingNetwork, truncate_styles

SIZES = tuple(2**exponent for exponent in range(4, 11))
"""Sides of an image in pixels: 16 to 1,024."""
MAX_CHANNELS = 4
STYLE_DECAY = 0.998
"""Decay of the mean style per update of the generator (Karras 2020, StyleGAN2-ADA; 2021)."""


def validate_spec(name: str, spec: DataSpec) -> None:
    """Raise SettingError for data that are not square images of one of SIZES, with the nearest of them."""
    if not spec.is_image:
        kind, alternative = "sentences", "seqgan"
        if spec.vocabulary is None:
            kind, alternative = ("sequences", "dcgan") if spec.is_sequence else ("points", "mlp")
        raise SettingError(f"{name} generates images, not {kind}; use --model {alternative} for this data")
    channels, height, width = spec.shape
    if height != width or height not in SIZES:
        middle = math.sqrt(height * width)
        nearest = min(SIZES, key=lambda size: abs(math.log2(size / middle)))
        raise SettingError(
            f"{name} generates square images whose side is a power of two from {SIZES[0]} to {SIZES[-1]} pixels, not "
            f"{ImageSides(height, width).text}; use --image-size {nearest}"
        )
    if channels > MAX_CHANNELS:
        raise SettingError(
            f"{name} generates images of 1 to {MAX_CHANNELS} channels, not {channels}; use --option data.channels=3"
        )


def validate_layers(layers: int, critical: int, margin: int, blur: float, label_layers: int) -> None:
    """Raise SettingError for an option outside its range."""
    if layers <= critical:
        raise SettingError(f"layers = {layers}: it must be above critical_layers, which is {critical}")
    for name, value in {"margin": margin, "label_layers": label_layers}.items():
        if value < 0:
            raise SettingError(f"{name} = {value}: it must be at least 0")
    if not 0 <= blur < math.inf:
        raise SettingError(f"blur = {blur:g}: it must be at least 0, in pixels")


class AliasFreeGenerator(nn.Module):
    """Mapping and synthesis networks: latents (N, L), and labels (N,) or None -> images (N, C, H, H), unbounded."""

    def __init__(
        self,
        maps: Sequence[AliasFreeMaps],
        channels: int,
        latent_dim: int,
        *,
        critical: int,
        kernel: int,
        mapping_layers: int,
        classes: int = 0,
    ) -> None:
        """`maps`, `critical`, `kernel`: see AliasFreeSynthesis; filters are radial for kernels of 1.

        `channels`: C. `latent_dim`: L, also of a style. `classes`: number of labels, 0 for none.
        """
        super().__init__()
        self.latent_dim = latent_dim
        self.mapping = MappingNetwork(latent_dim, latent_dim, layers=mapping_layers, classes=classes)
        self.synthesis = AliasFreeSynthesis(
            maps, channels, latent_dim, critical=critical, kernel=kernel, radial=kernel == 1
        )

    def forward(self, latent: Tensor, condition: Tensor | None, transform: Tensor | None = None) -> Tensor:
        """Generate images. `transform`: see FourierFeatures; running means do not change."""
        return self.synthesise(self.mapping(latent, condition), transform)

    def synthesise(self, style: Tensor, transform: Tensor | None = None, decay: float | None = None) -> Tensor:
        """Generate images with one style (N, L) in all layers. Arguments as of AliasFreeSynthesis."""
        images: Tensor = self.synthesis(self.repeat(style), transform, decay)
        return images

    def repeat(self, style: Tensor) -> Tensor:
        """Return styles (N, layers, L) that are equal in all layers."""
        return style[:, None].expand(-1, self.synthesis.styles, -1)


class BlurringDiscriminator(Discriminator):
    """Discriminator that blurs reals and fakes by `sigma`, in pixels, before it sees them; 0 changes nothing."""

    def __init__(self, discriminator: Discriminator) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.sigma = 0.0

    def features(self, samples: Tensor) -> Tensor:
        """Compute the features of blurred samples (N, C, H, W)."""
        return self.discriminator.features(gaussian_blur(samples, self.sigma))

    def logits(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Compute logits (N,) from features."""
        return self.discriminator.logits(features, condition)


def fading_blur(sigma: float, images: int) -> Callable[[Networks, AdversarialMoment], None]:
    """Return a function that sets the blur of the discriminator: `sigma` pixels at first, 0 after `images` reals.

    Karras 2021, appendix F: without it, the generator of configuration R collapses early.
    """

    def prepare(networks: Networks, moment: AdversarialMoment) -> None:
        discriminator = cast(BlurringDiscriminator, networks["discriminator"])
        discriminator.sigma = sigma * max(0.0, 1 - moment.images / images)

    return prepare


def draw_function(magnitude_half_life: float, deviation_group: int) -> Draw:
    """Return the function that draws fakes of training.

    Mean style and magnitudes are updated by the fakes that the generator is trained with, those that have a gradient.
    `magnitude_half_life`: of the magnitudes, in images. `deviation_group`: must divide a batch, else SettingError.
    """

    def draw(networks: Networks, count: int, labels: Tensor | None, moment: AdversarialMoment) -> Tensor:
        check_deviation_group(count, deviation_group)
        generator = cast(AliasFreeGenerator, networks["generator"])
        style = generator.mapping(latents.normal(count, generator.latent_dim, moment.generator), labels)
        decay = None
        if torch.is_grad_enabled():
            generator.mapping.update_average(style, STYLE_DECAY)
            decay = 0.5 ** (count * batch_world().size / magnitude_half_life)
        return generator.synthesise(style, decay=decay)

    return draw


def _map_to_styles(networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
    generator = cast(AliasFreeGenerator, networks["generator"])
    styles = generator.repeat(generator.mapping(latent, condition))
    psi = 1.0 if sampling.psi is None else sampling.psi
    return truncate_styles(styles, generator.mapping.w_avg, psi, sampling.cutoff)


def _synthesise(networks: Networks, styles: Tensor, sampling: Sampling) -> Tensor:
    images: Tensor = cast(AliasFreeGenerator, networks["generator"]).synthesis(styles)
    return images


def generate(networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
    """Generate images (N, C, H, W), clamped to [-1, 1]."""
    return _synthesise(networks, _map_to_styles(networks, latent, condition, sampling), sampling).clamp(-1, 1)


def generate_transformed(networks: Networks, latent: Tensor, condition: Tensor | None, matrix: Tensor) -> Tensor:
    """Generate images (N, C, H, W) of the scenes of latents, transformed by a matrix (3, 3); not clamped.

    `matrix`: maps positions in the image to positions in the scene, in sides of the image; see FourierFeatures.
    """
    generator = cast(AliasFreeGenerator, networks["generator"])
    return cast(Tensor, generator(latent, condition, matrix.to(latent.device)))


STYLES = StyleSpace(
    map=_map_to_styles,
    synthesize=_synthesise,
    mean=lambda networks: cast(AliasFreeGenerator, networks["generator"]).mapping.w_avg,
)
SAMPLINGS = frozenset({"psi", "cutoff"})
