"""Options and schedule of models that grow, ProGAN and StyleGAN (Karras et al. 2018; Karras et al. 2019).

The networks take and return images of the full size at every level. The level follows the share of training that is
done: it is written to both networks at the start of the discriminator's phase, and real samples lose the details that
are still fading in.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from torch import Tensor, nn

from equipoise.core.data import Batch, DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Loss, Model, Networks, Phase
from equipoise.errors import SettingError
from equipoise.models._adversarial_extensions import AdversarialMoment
from equipoise.models._adversarial_options import validate_counts
from equipoise.nn.growing import SMALLEST_SIDE, GrowthLevel, GrowthSchedule, equal_fades, fade_details, split_level

SMALLEST_IMAGE, LARGEST_IMAGE = 16, 1024
MAX_CHANNELS = 4
MEASURED_AT = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Shares of training at which steps are timed: their cost grows with the networks."""
WIDTH_SIDE = 32
"""Side of the maps that have `width` channels."""
LogitsOfReals = Callable[[Networks, Batch, AdversarialMoment], Tensor | None]
"""Function of networks, a batch and a moment that returns the logits of real samples."""


class GrowingOptions(Protocol):
    """Options of networks that grow.

    `levels`: sides of the images on which the networks are trained in turn, each twice the one before; the doublings up
    to the side of the data follow. A single one, that of the data, means no growth. `growth`: share of training after
    which the networks have grown; until then, each level is trained alone and then the next one fades in, for equally
    long. `fades`: start and end of each doubling as shares of training, instead of `growth`; "0.1,0.2,0.35,0.5" for two
    doublings. `width`: channels of maps of 32 x 32; they double whenever the side halves, up to `max_width`.
    `max_width`: largest number of channels. `deviation_group`: samples per group of the minibatch standard deviation,
    which must divide the batch size. `conditional`: use class labels; None to use them if the data has them. The
    generator embeds the label, beside the latent; the discriminator uses a projection (Miyato and Koyama 2018, equation
    3).
    """

    @property
    def latent_dim(self) -> int: ...
    @property
    def levels(self) -> tuple[int, ...]: ...
    @property
    def growth(self) -> float: ...
    @property
    def fades(self) -> tuple[float, ...]: ...
    @property
    def width(self) -> int: ...
    @property
    def max_width(self) -> int: ...
    @property
    def deviation_group(self) -> int: ...
    @property
    def conditional(self) -> bool | None: ...


def validate_growing_options(options: GrowingOptions) -> None:
    """Raise SettingError for an option outside its range."""
    validate_counts(width=options.width, max_width=options.max_width, deviation_group=options.deviation_group)
    levels = ",".join(map(str, options.levels))
    if not options.levels or any(side < SMALLEST_SIDE or side & (side - 1) for side in options.levels):
        raise SettingError(f"levels = {levels}: sides must be powers of two from {SMALLEST_SIDE} on; use levels=8,16")
    if any(after != 2 * before for before, after in itertools.pairwise(options.levels)):
        raise SettingError(f"levels = {levels}: each side must be twice the one before; use levels=8,16")
    if not 0 <= options.growth < 1:
        raise SettingError(
            f"growth = {options.growth:g}: it is a share of training, from 0 to below 1, after which the networks have "
            "grown; use growth=0.8 or less"
        )
    if sorted(options.fades) != list(options.fades) or any(not 0 <= share < 1 for share in options.fades):
        raise SettingError(f"fades = {_join(options.fades)}: shares of training must increase, from 0 to below 1")


def validate_growing_spec(name: str, options: GrowingOptions, spec: DataSpec) -> None:
    """Raise SettingError for data that are not square images of 16 to 1,024 pixels in powers of two."""
    if not spec.is_image:
        kind, alternative = ("sequences", "dcgan") if spec.is_sequence else ("points", "mlp")
        kind, alternative = (kind, alternative) if spec.vocabulary is None else ("sentences", "seqgan")
        raise SettingError(f"{name} generates images, not {kind}; use --model {alternative} for this data")
    channels, height, width = spec.shape
    nearest = min(max(2 ** round(math.log2(height * width) / 2), SMALLEST_IMAGE), LARGEST_IMAGE)
    if (height, width) != (nearest, nearest):
        raise SettingError(
            f"{name} generates square images of {SMALLEST_IMAGE}, 32, 64, ... {LARGEST_IMAGE} pixels a side, not "
            f"{width} x {height}; use --image-size {nearest}"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise SettingError(
            f"{name} generates images of 1 to {MAX_CHANNELS} channels, not {channels}; use --option data.channels=3"
        )
    if options.conditional and not spec.classes:
        raise SettingError("conditional = true, but the data has no labels; omit this option")
    growth_schedule(options, spec)


def channel_widths(options: GrowingOptions, spec: DataSpec) -> list[int]:
    """Return the channels of the maps of 4 x 4, 8 x 8, ... up to the side of the data.

    With a width and a largest width of 512, those of the papers (Karras 2018, table 2).
    """
    sides = [SMALLEST_SIDE << level for level in range(_level_of(spec.shape[1]) + 1)]
    return [max(1, min(options.width * WIDTH_SIDE // side, options.max_width)) for side in sides]


def growth_schedule(options: GrowingOptions, spec: DataSpec) -> GrowthSchedule:
    """Return the schedule for the side of the data. Raises SettingError for levels or fades that do not fit it."""
    side = spec.shape[1]
    if options.levels[-1] > side:
        raise SettingError(
            f"levels = {','.join(map(str, options.levels))}: the data has only {side} x {side} pixels; "
            f"use levels={min(options.levels[0], side)}"
        )
    first = _level_of(options.levels[0])
    count = _level_of(side) - first
    if not options.fades:
        return GrowthSchedule(first, equal_fades(count, options.growth))
    if len(options.fades) != 2 * count:
        raise SettingError(
            f"fades = {_join(options.fades)}: {count} doublings from {options.levels[0]} to {side} pixels need "
            f"{2 * count} numbers, a start and an end each"
        )
    return GrowthSchedule(first, tuple(zip(options.fades[::2], options.fades[1::2], strict=True)))


class GrowingNetwork(nn.Module):
    """Interface of a network that grows, for type annotations."""

    level: GrowthLevel


@dataclass(frozen=True, slots=True)
class Growth:
    """The growth of a generator and a discriminator. `highest`: level of the data."""

    schedule: GrowthSchedule
    highest: int

    def position(self, networks: Networks, moment: AdversarialMoment) -> int:
        """Return the position of the schedule, or that of the discriminator if it has grown further.

        It has in a run that is extended, or that starts from the weights of another one.
        """
        return max(_level(networks, "discriminator").read(), self.schedule.position(moment.progress))

    def prepare(self, networks: Networks, moment: AdversarialMoment) -> None:
        """Write the level of both networks."""
        _write(networks, self.position(networks, moment))

    def start(self, model: Model[AdversarialKnobs]) -> Model[AdversarialKnobs]:
        """Set both networks to the first level; return the model with real samples of the present level.

        Real samples lose the details that are fading in, in every phase and probe.
        """
        _write(model.networks, self.schedule.position(0.0))
        phases = [dataclasses.replace(phase, loss=self._faded_loss(phase)) for phase in model.phases]
        logits = None if model.logits is None else self._faded_logits(model.logits)
        measured_at = MEASURED_AT if self.schedule.fades else model.measured_at
        return dataclasses.replace(model, phases=tuple(phases), logits=logits, measured_at=measured_at)

    def _faded_loss(self, phase: Phase) -> Callable[[Networks, Batch, AdversarialMoment], Loss]:
        return lambda networks, batch, moment: phase.loss(
            networks, self._faded(batch, self.position(networks, moment)), moment
        )

    def _faded_logits(self, logits: LogitsOfReals) -> LogitsOfReals:
        return lambda networks, batch, moment: logits(
            networks, self._faded(batch, _level(networks, "discriminator").read()), moment
        )

    def _faded(self, batch: Batch, position: int) -> Batch:
        return dataclasses.replace(batch, real=fade_details(batch.real, split_level(position), self.highest))


def _level(networks: Networks, name: str) -> GrowthLevel:
    return cast(GrowingNetwork, networks[name]).level


def _write(networks: Networks, position: int) -> None:
    for name in ("generator", "discriminator"):
        _level(networks, name).write(position)


def _level_of(side: int) -> int:
    return (side // SMALLEST_SIDE).bit_length() - 1


def _join(numbers: tuple[float, ...]) -> str:
    return ",".join(f"{number:g}" for number in numbers)
