"""Options and networks of diffusion models: fields of every recipe with one network that removes noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from equipoise.core.data import DataSpec
from equipoise.core.knobs import Knobs, knob
from equipoise.core.sampling import SamplerName
from equipoise.errors import SettingError, UnknownNameError
from equipoise.models._adversarial_options import validate_counts
from equipoise.nn.diffusion_samplers import SAMPLERS
from equipoise.nn.labelled_augment import DESCRIPTION
from equipoise.nn.unet import BlockKind, UNetLayout

UNUSED_KNOBS = frozenset({"lr_d", "discriminator_steps"})
"""Knobs of a second network, which there is none of."""
SMALLEST_SIDE, LARGEST_SIDE, MAX_CHANNELS = 8, 1024, 4
LOWEST_SIDE = 4
"""Shorter side of the lowest level of a network whose levels follow from the size of the images: 4 to 7."""

PATCHED_SIDE, NARROW_SIDE = 16, 64
"""Shorter side from which on a network sees patches, and from which on it is narrow, unless the options say more."""


@dataclass(frozen=True, slots=True)
class DenoisingKnobs(Knobs):
    """Knobs of a diffusion model.

    The defaults suit small networks and minutes of training. On digits of 16 pixels, after 100 CPU seconds with batches
    of 64, the kernel distance is 0.028; with a learning rate of 1e-3 0.26, of 6e-3 0.088 (one seed, half-life 1,000).
    """

    lr_g: float = knob(3e-3, 1e-6, 1e-2, "", "log", "learning rate of the denoiser")
    beta1: float = knob(0.9, 0, 0.95, "", "linear", "Adam's decay rate of the mean gradient", max_change=0.1)
    augment_p: float = knob(
        0, 0, 0.8, "probability", "linear", "probability of each augmentation, an input of the denoiser"
    )
    ema_half_life: float = knob(
        2000, 1, 1e7, "images", "log", "half-life of the denoiser's running average; off: no average", can_be_off=True
    )


class UNetOptions(Protocol):
    """Options of recipes that build a U-Net; their meaning is that of DenoisingOptions."""

    @property
    def patch(self) -> int | None: ...
    @property
    def width(self) -> int | None: ...
    @property
    def multipliers(self) -> tuple[int, ...]: ...
    @property
    def blocks(self) -> int: ...
    @property
    def attention(self) -> int: ...
    @property
    def dropout(self) -> float: ...
    @property
    def conditional(self) -> bool | None: ...
    @property
    def augment(self) -> bool: ...


class DenoisingOptions(UNetOptions, Protocol):
    """Options of diffusion models.

    `patch`: side of the patches of pixels that the first level sees as one place; None for 2 from 16 pixels on, which
    costs a quarter to a third, else 1. `width`: channels of the first level; None for 24 below 64 pixels, else 16.
    `multipliers`: channels of each level as multiples of `width`; each level has half the size of the one before. Empty
    for levels down to 4 places, of which the last three are twice as wide as those before: with patches of 2, 1,2 for
    16 pixels, 1,2,2,2 for 64. `blocks`: residual blocks per level. `attention`: side of the maps with self-attention, 0
    for none; the lowest level always has it. `dropout`: probability of dropout in residual blocks, in training.
    `conditional`: use class labels; None to use them if the data has them. `label_dropout`: share of labels that are
    withheld in training, for `guidance`. `augment`: whether the network has inputs that describe an augmentation, for
    the knob augment_p. `warmup`: images after which the learning rate has its full value. `max_grad_norm`: norm to
    which gradients are clipped, None for no limit. `sampler`: how samples are computed, unless another one is chosen
    for sampling. `sampling_steps`: evaluations per sample, unless another number is chosen. `preview_steps`:
    evaluations per sample during training, by dpm_2m. `knobs`: values that differ from the defaults of the knobs.
    """

    @property
    def label_dropout(self) -> float: ...
    @property
    def warmup(self) -> int: ...
    @property
    def max_grad_norm(self) -> float | None: ...
    @property
    def sampler(self) -> SamplerName: ...
    @property
    def sampling_steps(self) -> int: ...
    @property
    def preview_steps(self) -> int: ...
    @property
    def knobs(self) -> Mapping[str, float]: ...


def validate_denoising_options(options: DenoisingOptions) -> None:
    """Raise SettingError for an option outside its range."""
    validate_counts(
        patch=1 if options.patch is None else options.patch,
        width=1 if options.width is None else options.width,
        blocks=options.blocks,
        sampling_steps=options.sampling_steps,
        preview_steps=options.preview_steps,
        **{"every number of multipliers": min(options.multipliers, default=1)},
    )
    for name, value in (("dropout", options.dropout), ("label_dropout", options.label_dropout)):
        if not 0 <= value < 1:
            raise SettingError(f"{name} = {value:g}: it must be at least 0 and below 1")
    if options.sampler not in SAMPLERS:
        raise UnknownNameError("sampler", options.sampler, SAMPLERS)
    if options.warmup < 0 or options.attention < 0:
        raise SettingError("warmup and attention must be at least 0")
    if options.max_grad_norm is not None and not options.max_grad_norm > 0:
        raise SettingError(f"max_grad_norm = {options.max_grad_norm:g}: it must be above 0; omit it for no limit")
    check_evaluations(options.sampler, options.sampling_steps)


def check_evaluations(sampler: SamplerName, steps: int) -> None:
    """Raise SettingError if a sampler cannot take this number of evaluations."""
    if sampler == "heun" and steps % 2 == 0:
        raise SettingError(
            f"steps = {steps}: heun takes an odd number of evaluations, 2 N - 1; use {steps - 1} or {steps + 1}, or "
            "another sampler"
        )


def unet_layout(name: str, options: UNetOptions, spec: DataSpec, kind: BlockKind) -> UNetLayout:
    """Return the layout of the network of a model. Raises SettingError for data that it cannot generate."""
    if not spec.is_image:
        known = {"points": "mlp", "sentences": "seqgan", "sequences": "dcgan"}
        noun = "points" if spec.is_points else "sequences" if spec.is_sequence else "sentences"
        raise SettingError(f"{name} generates images, not {noun}; use --model {known[noun]} for this data")
    channels, *sides = spec.shape
    text = " x ".join(map(str, spec.shape))
    if not (min(sides) >= SMALLEST_SIDE and max(sides) <= LARGEST_SIDE and 1 <= channels <= MAX_CHANNELS):
        raise SettingError(
            f"{name} generates images of {SMALLEST_SIDE} to {LARGEST_SIDE:,} pixels a side with 1 to {MAX_CHANNELS} "
            f"channels, not {text}; use --image-size"
        )
    if options.conditional and not spec.classes:
        raise SettingError("conditional = true, but the data has no labels; omit this option")
    patch = (2 if min(sides) >= PATCHED_SIDE else 1) if options.patch is None else options.patch
    multipliers = options.multipliers or _multipliers(min(sides) // patch)
    multiple = patch << (len(multipliers) - 1)
    if any(side % multiple for side in sides):
        nearest = "x".join(str(max(1, round(side / multiple)) * multiple) for side in reversed(sides))
        raise SettingError(
            f"{name} with {len(multipliers)} levels generates images whose sides are multiples of {multiple}, not "
            f"{text}; use --image-size {nearest}, or --option multipliers with fewer numbers"
        )
    return UNetLayout(
        image_channels=channels,
        size=max(sides),
        width=options.width or (16 if min(sides) >= NARROW_SIDE else 24),
        multipliers=multipliers,
        blocks=options.blocks,
        attention=options.attention,
        kind=kind,
        p=options.dropout,
        classes=0 if options.conditional is False else spec.classes,
        augmentations=DESCRIPTION if options.augment else 0,
        patch=patch,
    )


def _multipliers(side: int) -> tuple[int, ...]:
    """Return the multipliers of levels down to LOWEST_SIDE for images whose shorter side is `side`."""
    levels = max(2, (side // LOWEST_SIDE).bit_length())
    narrow = max(1, levels - 3)
    return (1,) * narrow + (2,) * (levels - narrow)
