"""Changes of knobs for repair: single adjustments, rungs of several adjustments, and ladders shared by symptoms.

The order within a ladder follows the evidence: augmentation and gradient penalties (Karras 2020, ADA; Zhao 2020;
Mescheder 2018), then the ratio of the learning rates, then label and instance noise, then steps per player.
"""

import math
from dataclasses import dataclass
from typing import Literal

from equipoise.core.knobs import Knobs


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A change of one knob. `kind` says how the new value follows from the current one:

    - "multiply": value · amount; `start` if the knob is off (0)
    - "set": amount, unless the value is more than SCALE times larger or smaller than amount
    - "at_least", "at_most": max(value, amount), min(value, amount)
    - "increase": value + amount, but not above `limit`

    `is_required`: whether the other changes of its rung are useless, or harmful, in a model without this knob.
    """

    knob: str
    kind: Literal["multiply", "set", "at_least", "at_most", "increase"]
    amount: float
    start: float = 0.0
    limit: float = math.inf
    is_required: bool = False


Rung = tuple[Adjustment, ...]
SCALE = 50.0
"""A knob that differs from its new value by more than this factor belongs to a model of another scale, and is not
changed."""

INCREASE_AUGMENTATION = Adjustment("augment_p", "increase", 0.2, limit=0.6)
INCREASE_R1 = Adjustment("r1_gamma", "multiply", 4.0, start=1.0)
QUARTER_LR_D = Adjustment("lr_d", "multiply", 0.25)
HALVE_LEARNING_RATES = (Adjustment("lr_g", "multiply", 0.5), Adjustment("lr_d", "multiply", 0.5))
NO_MOMENTUM = Adjustment("beta1", "at_most", 0.0)
INSTANCE_NOISE = Adjustment("instance_noise", "at_least", 0.1)
SOFT_LABELS = (
    Adjustment("real_label_low", "at_most", 0.8),
    Adjustment("fake_label_high", "at_least", 0.2),
)
"""Labels drawn from [0.8, 1] and [0, 0.2]. Salimans 2016, section 3.4, smooths the labels of reals only."""

STABLE_SETTINGS: Rung = (
    Adjustment("r1_gamma", "multiply", 1.0, start=1.0, is_required=True),
    NO_MOMENTUM,
    Adjustment("lr_g", "set", 2e-3),
    Adjustment("lr_d", "set", 2e-3),
    Adjustment("discriminator_steps", "at_most", 1.0),
    Adjustment("ema_half_life", "at_most", 2000.0),
)
"""R1 without momentum (Mescheder 2018, section 6: gamma 10, Adam with beta1 = 0) allows a learning rate at which the
generator learns before the discriminator has won. These are the settings of the default recipe, which learns the digits
data set in a time in which the textbook's DCGAN does not (benchmarks/digits.md). Faster changes need a shorter running
average. Selected on seed 100 of benchmarks/rescue.py."""

RESTORE_DIVERSITY: tuple[Rung, ...] = (
    STABLE_SETTINGS,
    (INCREASE_AUGMENTATION, INCREASE_R1),
    (INSTANCE_NOISE, *HALVE_LEARNING_RATES),
    (NO_MOMENTUM, INCREASE_R1, *HALVE_LEARNING_RATES),
)
"""Ladder for symptoms of lost sample quality or diversity."""


def adjust_knobs(rung: Rung, knobs: Knobs, turnable: frozenset[str]) -> dict[str, float]:
    """Return the knobs that a rung changes and their new values, clamped to their ranges.

    Knobs that are not in `turnable`, the knobs with an effect in this model, are skipped; the whole rung if one of them
    is required.
    """
    values = knobs.values()
    if any(adjustment.is_required and adjustment.knob not in turnable for adjustment in rung):
        return {}
    for adjustment in rung:
        if adjustment.knob in turnable and adjustment.knob in values:
            new = adjusted_value(adjustment, values[adjustment.knob])
            values[adjustment.knob] = knobs.ranges()[adjustment.knob].clamp(new)
    return {name: value for name, value in values.items() if value != getattr(knobs, name)}


def adjusted_value(adjustment: Adjustment, value: float) -> float:
    """Return the new value of a knob, which may be outside its range."""
    amount = adjustment.amount
    match adjustment.kind:
        case "multiply":
            return value * amount if value else adjustment.start
        case "set":
            return amount if value and 1 / SCALE <= value / amount <= SCALE else value
        case "increase":
            return max(value, min(value + amount, adjustment.limit))
        case "at_least":
            return max(value, amount)
        case "at_most":
            return min(value, amount)
