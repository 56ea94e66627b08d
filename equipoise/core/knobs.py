"""Knobs: the numbers that may be turned while a run goes on. Each is declared once, with its range.

One declaration gives clamping, validation, the axis of a plot, the table of the docs and, for controllers that
learn, the space of actions. A GAN extends :class:`Knobs` with fields of its own and names those that act for it.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from equipoise.errors import SettingError, UnknownNameError

Scale = Literal["linear", "log", "log_complement", "integer"]
"""log_complement: even steps of log(1 - value), for decays close to 1."""


@dataclass(frozen=True, slots=True)
class Range:
    """Where a knob may stand.

    `off` says that 0 is allowed although the (logarithmic) scale starts above it. `move` is the furthest that a
    controller may turn the knob in one decision, None for no limit.
    """

    low: float
    high: float
    unit: str
    scale: Scale
    help: str
    off: bool = False
    move: float | None = None

    def contains(self, value: float) -> bool:
        """Whether a knob may stand at `value`; an integer knob only on whole numbers."""
        if not math.isfinite(value) or (self.scale == "integer" and value != round(value)):
            return False
        return self.low <= value <= self.high or (self.off and value == 0)

    def clamp(self, value: float) -> float:
        """The nearest allowed value. Below the bottom of a scale that can be off lies "off", which is 0."""
        if math.isnan(value):
            raise SettingError("a controller asked for a knob value that is not a number")
        if self.off and value < self.low:
            return 0.0
        value = min(max(value, self.low), self.high)
        return round(value) if self.scale == "integer" else float(value)

    def __str__(self) -> str:
        bounds = f"{self.low:g} to {self.high:g}"
        return f"0 (off) or {bounds}" if self.off else bounds


def knob(
    default: float,
    low: float,
    high: float,
    unit: str,
    scale: Scale,
    help: str,
    *,
    off: bool = False,
    move: float | None = None,
) -> Any:
    """Declare a knob: a dataclass field with a default and a :class:`Range`."""
    range = Range(low, high, unit, scale, help, off, move)
    if not range.contains(default):
        raise ValueError(f"the default {default} lies outside {range}")
    return dataclasses.field(default=default, metadata={"range": range})


@dataclass(frozen=True, slots=True)
class Knobs:
    """The knobs of every game of two players. Frozen: turning makes a new value."""

    lr_g: float = knob(2e-4, 1e-6, 1e-2, "", "log", "learning rate of the generator")
    lr_d: float = knob(2e-4, 1e-6, 1e-2, "", "log", "learning rate of the discriminator")
    beta1: float = knob(0.5, 0, 0.95, "", "linear", "Adam's decay of the mean gradient, both players", move=0.1)
    beta2: float = knob(0.999, 0.5, 0.9999, "", "log_complement", "Adam's decay of the squared gradient, both players")
    discriminator_steps: int = knob(1, 1, 10, "updates", "integer", "discriminator updates in one step")
    generator_steps: int = knob(1, 1, 10, "updates", "integer", "generator updates in one step")
    ema_half_life: float = knob(
        1e4, 1, 1e7, "images", "log", "half-life of the generator's running average; off is no average", off=True
    )

    @classmethod
    def ranges(cls) -> dict[str, Range]:
        """Every knob's range, in the order of declaration."""
        return {field.name: field.metadata["range"] for field in dataclasses.fields(cls)}

    def values(self) -> dict[str, float]:
        """Every knob's value, in the order of declaration."""
        return {name: getattr(self, name) for name in self.ranges()}

    def with_values(self, values: Mapping[str, float]) -> Self:
        """The same knobs, but for `values`, each checked.

        Raises UnknownNameError for a name that is no knob, SettingError for a value outside its range.
        """
        ranges = self.ranges()
        for name, value in values.items():
            if name not in ranges:
                raise UnknownNameError("knob", name, ranges)
            if not ranges[name].contains(value):
                raise SettingError(f"{name} = {value:g} is outside its range: {ranges[name]}")
        whole: dict[str, Any] = {
            name: int(value) if ranges[name].scale == "integer" else float(value) for name, value in values.items()
        }
        return dataclasses.replace(self, **whole)

    def clamped(self, target: "Knobs") -> Self:
        """The step from here towards `target` that every range and every limit on moves allows."""
        values = {}
        for name, range in self.ranges().items():
            here, there = getattr(self, name), getattr(target, name)
            if range.move is not None:
                there = min(max(there, here - range.move), here + range.move)
            values[name] = range.clamp(there)
        return self.with_values(values)

    def differences(self, later: "Knobs") -> dict[str, tuple[float, float]]:
        """Name -> (here, later) of the knobs that stand elsewhere in `later`."""
        mine, theirs = self.values(), later.values()
        return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}


@dataclass(frozen=True, slots=True)
class AdversarialKnobs(Knobs):
    """The knobs of a GAN that maps noise to samples and judges them by one logit."""

    real_label_low: float = knob(1, 0, 1.2, "", "linear", "lowest label of a real sample; drawn per sample")
    real_label_high: float = knob(1, 0, 1.2, "", "linear", "highest label of a real sample")
    fake_label_low: float = knob(0, 0, 0.5, "", "linear", "lowest label of a fake sample; drawn per sample")
    fake_label_high: float = knob(0, 0, 0.5, "", "linear", "highest label of a fake sample")
    instance_noise: float = knob(0, 0, 2, "std", "linear", "Gaussian noise on all that the discriminator sees")
    augment_p: float = knob(0, 0, 0.8, "probability", "linear", "chance of each differentiable augmentation")
    r1_gamma: float = knob(0, 1e-4, 1e2, "", "log", "gradient penalty at reals, gamma / 2 |dD/dx|^2", off=True)
    r2_gamma: float = knob(0, 1e-4, 1e2, "", "log", "gradient penalty at fakes, gamma / 2 |dD/dx|^2", off=True)
    gp_weight: float = knob(0, 1e-4, 1e2, "", "log", "penalty on (|dD/dx| - 1)^2 between reals and fakes", off=True)
    lecam_weight: float = knob(
        0, 1e-6, 1e1, "", "log", "LeCam penalty on logits far from their running means", off=True
    )
    feature_matching_weight: float = knob(
        0, 1e-6, 1e1, "", "log", "distance of mean discriminator features in the generator's loss", off=True
    )


def check_turnable(names: Iterable[str], turnable: Iterable[str], model: str) -> None:
    """Raise SettingError for the first of `names` that does not act for this GAN."""
    turnable = sorted(turnable)
    those = f"those that do: {', '.join(turnable)}" if turnable else "none does without optimizers or rules that say so"
    for name in names:
        if name not in turnable:
            raise SettingError(f"{name} does not act for {model}; {those}")
