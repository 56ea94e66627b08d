"""Knobs: the hyperparameters that can be changed during training. Each is declared once, with its range.

One declaration gives clamping, validation, the axis of a plot, the table of the docs and, for controllers that learn,
the space of actions. A model extends :class:`Knobs` with additional fields and names those that have an effect in it.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from equipoise.errors import SettingError, UnknownNameError

Scale = Literal["linear", "log", "log_complement", "integer"]
"""Scale of a knob. log_complement: logarithmic in 1 - value, for decay rates close to 1."""


@dataclass(frozen=True, slots=True)
class KnobRange:
    """Range of a knob.

    `can_be_off`: 0 is allowed in addition to [low, high], because a logarithmic scale has no 0. `max_change`: largest
    change by a controller in one decision, None for no limit.
    """

    low: float
    high: float
    unit: str
    scale: Scale
    help: str
    can_be_off: bool = False
    max_change: float | None = None

    def contains(self, value: float) -> bool:
        """Return whether a value is valid; values of integer knobs must be whole numbers."""
        if not math.isfinite(value) or (self.scale == "integer" and value != round(value)):
            return False
        return self.low <= value <= self.high or (self.can_be_off and value == 0)

    def clamp(self, value: float) -> float:
        """Return the nearest valid value; values below `low` become 0 if the knob can be off.

        Raises SettingError for NaN.
        """
        if math.isnan(value):
            raise SettingError("the controller returned a knob value that is not a number")
        if self.can_be_off and value < self.low:
            return 0.0
        value = min(max(value, self.low), self.high)
        return round(value) if self.scale == "integer" else float(value)

    def __str__(self) -> str:
        bounds = f"{self.low:g} to {self.high:g}"
        return f"0 (off) or {bounds}" if self.can_be_off else bounds


def knob(
    default: float,
    low: float,
    high: float,
    unit: str,
    scale: Scale,
    help: str,
    *,
    can_be_off: bool = False,
    max_change: float | None = None,
) -> Any:
    """Declare a knob: a dataclass field with a default and a :class:`KnobRange`."""
    range = KnobRange(low, high, unit, scale, help, can_be_off, max_change)
    if not range.contains(default):
        raise ValueError(f"the default {default} is outside its range: {range}")
    return dataclasses.field(default=default, metadata={"range": range})


@dataclass(frozen=True, slots=True)
class Knobs:
    """Knobs of every model with two networks. Immutable; :meth:`with_values` returns a changed copy."""

    lr_g: float = knob(2e-4, 1e-6, 1e-2, "", "log", "learning rate of the generator")
    lr_d: float = knob(2e-4, 1e-6, 1e-2, "", "log", "learning rate of the discriminator")
    beta1: float = knob(
        0.5, 0, 0.95, "", "linear", "Adam's decay rate of the mean gradient, both networks", max_change=0.1
    )
    beta2: float = knob(
        0.999, 0.5, 0.9999, "", "log_complement", "Adam's decay rate of the squared gradient, both networks"
    )
    discriminator_steps: int = knob(1, 1, 10, "updates", "integer", "discriminator updates per step")
    generator_steps: int = knob(1, 1, 10, "updates", "integer", "generator updates per step")
    ema_half_life: float = knob(
        1e4, 1, 1e7, "images", "log", "half-life of the generator's running average; off: no average", can_be_off=True
    )

    @classmethod
    def ranges(cls) -> dict[str, KnobRange]:
        """Return the range of every knob, in the order of declaration."""
        return {field.name: field.metadata["range"] for field in dataclasses.fields(cls)}

    def values(self) -> dict[str, float]:
        """Return the value of every knob, in the order of declaration."""
        return {name: getattr(self, name) for name in self.ranges()}

    def with_values(self, values: Mapping[str, float]) -> Self:
        """Return the knobs with some of them changed.

        Raises UnknownNameError for a name that is not a knob, SettingError for a value outside its range.
        """
        ranges = self.ranges()
        for name, value in values.items():
            if name not in ranges:
                raise UnknownNameError("knob", name, ranges)
            if not ranges[name].contains(value):
                raise SettingError(f"{name} = {value:g} is outside its range: {ranges[name]}")
        converted: dict[str, Any] = {
            name: int(value) if ranges[name].scale == "integer" else float(value) for name, value in values.items()
        }
        return dataclasses.replace(self, **converted)

    def step_towards(self, target: "Knobs") -> Self:
        """Return the knobs after one change towards `target`, limited by ranges and by `max_change`."""
        values = {}
        for name, range in self.ranges().items():
            current, value = getattr(self, name), getattr(target, name)
            if range.max_change is not None:
                value = min(max(value, current - range.max_change), current + range.max_change)
            values[name] = range.clamp(value)
        return self.with_values(values)

    def differences(self, other: "Knobs") -> dict[str, tuple[float, float]]:
        """Return (value, value in `other`) of each knob that differs, by name."""
        values, other_values = self.values(), other.values()
        return {name: (value, other_values[name]) for name, value in values.items() if value != other_values[name]}


@dataclass(frozen=True, slots=True)
class AdversarialKnobs(Knobs):
    """Knobs of a GAN that maps noise to samples, with a discriminator that returns one logit per sample."""

    real_label_low: float = knob(
        1, 0, 1.2, "", "linear", "lowest label of a real sample; labels are uniformly distributed"
    )
    real_label_high: float = knob(1, 0, 1.2, "", "linear", "highest label of a real sample")
    fake_label_low: float = knob(
        0, 0, 0.5, "", "linear", "lowest label of a fake sample; labels are uniformly distributed"
    )
    fake_label_high: float = knob(0, 0, 0.5, "", "linear", "highest label of a fake sample")
    instance_noise: float = knob(0, 0, 2, "std", "linear", "Gaussian noise on all inputs of the discriminator")
    augment_p: float = knob(0, 0, 0.8, "probability", "linear", "probability of each differentiable augmentation")
    r1_gamma: float = knob(
        0, 1e-4, 1e3, "", "log", "gradient penalty at real samples, gamma / 2 |dD/dx|^2", can_be_off=True
    )
    r2_gamma: float = knob(
        0, 1e-4, 1e3, "", "log", "gradient penalty at fake samples, gamma / 2 |dD/dx|^2", can_be_off=True
    )
    gp_weight: float = knob(
        0, 1e-4, 1e2, "", "log", "penalty on (|dD/dx| - 1)^2 between real and fake samples", can_be_off=True
    )
    lecam_weight: float = knob(
        0, 1e-6, 1e1, "", "log", "LeCam penalty on logits far from their running means", can_be_off=True
    )
    feature_matching_weight: float = knob(
        0, 1e-6, 1e1, "", "log", "distance of mean discriminator features in the generator loss", can_be_off=True
    )


def check_turnable(names: Iterable[str], turnable: Iterable[str], model: str) -> None:
    """Raise SettingError for the first of `names` that is not `turnable`: that has no effect in the model."""
    turnable = sorted(turnable)
    hint = f"knobs that have an effect: {', '.join(turnable)}" if turnable else "name the optimizers of the networks"
    for name in names:
        if name not in turnable:
            raise SettingError(f"{name} has no effect in {model}; {hint}")
