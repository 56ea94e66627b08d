"""Actions of a policy. A head is one output, a position in [-1, 1] that sets one knob, or several knobs together.

- `octaves`: knob × 2^(weight · reach · position). At position 0 the knob has exactly the value of the base controller.
- `offset`: knob + weight · reach · position, likewise.
- `between`: the head has its own value, `low` at -1, `initial` at 0, `high` at 1, linear in between. The knob is this
  value converted by `unit`: unchanged, the square root of a variance, or 0.8 × a strength. (The brief's `noise_var` is
  the square of `instance_noise`, its `augmentation_strength` is `augment_p` / 0.8.)

A head moves by at most `step` per decision towards the position that its policy requests.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from equipoise.core.knobs import AdversarialKnobs, Knobs
from equipoise.errors import SettingError

HeadKind = Literal["octaves", "offset", "between"]
Unit = Literal["plain", "variance", "strength"]

MAX_AUGMENT_P = 0.8


@dataclass(frozen=True)
class Head:
    """One output of a policy. `knobs`: knob -> weight. `reach`: in octaves, or in the unit of the knob.

    `step`: maximum move per decision. `low`, `initial`, `high`: of `between` only. `one`: change only the knob with the
    largest weight among those that have an effect.
    """

    name: str
    kind: HeadKind
    knobs: Mapping[str, float]
    reach: float = 1.0
    step: float = 2.0
    low: float = 0.0
    initial: float = 0.0
    high: float = 0.0
    unit: Unit = "plain"
    one: bool = False

    def active_knobs(self, acting: Collection[str]) -> list[str]:
        """Return the knobs that this head changes. `acting`: the knobs that have an effect in the model."""
        result = sorted((knob for knob in self.knobs if knob in acting), key=lambda knob: -self.knobs[knob])
        return result[:1] if self.one else result

    def value(self, position: float, knob: str, base: float) -> float:
        """Return the value of a knob with this head at `position`; `base`: its value without the head."""
        match self.kind:
            case "octaves":
                return base * math.exp2(self.knobs[knob] * self.reach * position)
            case "offset":
                return base + self.knobs[knob] * self.reach * position
            case "between":
                span = self.high - self.initial if position > 0 else self.initial - self.low
                return _convert(self.unit, self.initial + span * position)


def _convert(unit: Unit, value: float) -> float:
    match unit:
        case "plain":
            return value
        case "variance":
            return math.sqrt(max(0.0, value))
        case "strength":
            return MAX_AUGMENT_P * value


def head_knobs(heads: Iterable[Head]) -> frozenset[str]:
    """Return the names of all knobs that heads change."""
    return frozenset(knob for head in heads for knob in head.knobs)


def restrict_heads(heads: Sequence[Head], knobs: Sequence[str] | None, owner: str) -> tuple[Head, ...]:
    """Return the heads restricted to these knobs; None for no restriction.

    A head without knobs remains, so that the network keeps its size. Raises SettingError for a knob that no head
    changes.
    """
    if knobs is None:
        return tuple(heads)
    available = head_knobs(heads)
    for name in knobs:
        if name not in available:
            raise SettingError(f"{owner} does not change '{name}'; it changes {', '.join(sorted(available))}")
    return tuple(
        replace(head, knobs={knob: weight for knob, weight in head.knobs.items() if knob in knobs}) for head in heads
    )


def check_heads(heads: Sequence[Head], owner: str) -> None:
    """Raise SettingError for an unknown knob, or a knob that a head could set outside its range."""
    ranges = AdversarialKnobs.ranges()
    for head in heads:
        for knob in head.knobs:
            if knob not in ranges:
                raise SettingError(f"{owner} changes '{knob}', which is not a knob; train it again with train-policy")
            ends = [head.value(position, knob, 0.0) for position in (-1, 0, 1)] if head.kind == "between" else []
            outside = [end for end in ends if not ranges[knob].contains(end) and end != 0]
            if outside:
                raise SettingError(f"{owner} would set {knob} to {outside[0]:g}, outside its range: {ranges[knob]}")


def move_heads(heads: Sequence[Head], positions: Sequence[float], action: Iterable[float]) -> list[float]:
    """Return the positions after a decision: from `positions` towards `action`, both (k,) in [-1, 1]."""
    return [
        min(1.0, max(-1.0, position + min(head.step, max(-head.step, float(target) - position))))
        for head, position, target in zip(heads, positions, action, strict=True)
    ]


def apply_heads(
    heads: Sequence[Head], positions: Sequence[float], knobs: Knobs, acting: Collection[str]
) -> dict[str, float]:
    """Return knob -> value, not clamped, of the knobs of the heads that are in `acting`. `knobs`: values without the
    heads."""
    values = {knob: value for knob, value in knobs.values().items() if knob in acting and knob in head_knobs(heads)}
    for head, position in zip(heads, positions, strict=True):
        values |= {knob: head.value(position, knob, values[knob]) for knob in head.active_knobs(acting)}
    return values
