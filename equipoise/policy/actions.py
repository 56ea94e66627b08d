"""What a policy turns: heads, each a number in [-1, 1] that stands for one knob or for several that move together.

- `octaves`: knob × 2^(weight reach position). At 0 the knob stands exactly where the controller below has it.
- `offset`: knob + weight reach position, likewise.
- `between`: the head has a value of its own, `initial` at 0, `low` at -1 and `high` at 1, straight lines between; the
  knob is that value as `unit` says: itself, the root of a variance, or 0.8 of a strength (what DESIGN calls
  `instance_noise` and `augment_p` the brief calls `noise_var` and `augmentation_strength`).

A head moves towards where its policy wants it by at most `step` a decision.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from equipoise.core.knobs import AdversarialKnobs, Knobs
from equipoise.errors import SettingError

Kind = Literal["octaves", "offset", "between"]
Unit = Literal["plain", "variance", "strength"]

MOST_AUGMENTED = 0.8


@dataclass(frozen=True)
class Head:
    """`knobs`: knob -> weight. `reach`: octaves, or the knob's unit. `low`, `initial`, `high`: of `between` alone.

    `one`: of its knobs, turn that of the greatest weight that acts, and not the others.
    """

    name: str
    kind: Kind
    knobs: Mapping[str, float]
    reach: float = 1.0
    step: float = 2.0
    low: float = 0.0
    initial: float = 0.0
    high: float = 0.0
    unit: Unit = "plain"
    one: bool = False

    def turned(self, acting: Collection[str]) -> list[str]:
        """Its knobs that it turns where these act."""
        result = sorted((knob for knob in self.knobs if knob in acting), key=lambda knob: -self.knobs[knob])
        return result[:1] if self.one else result

    def value(self, position: float, knob: str, stands: float) -> float:
        """Where a knob of this head comes to stand, if it stands at `stands` below and the head at `position`."""
        match self.kind:
            case "octaves":
                return stands * math.exp2(self.knobs[knob] * self.reach * position)
            case "offset":
                return stands + self.knobs[knob] * self.reach * position
            case "between":
                span = self.high - self.initial if position > 0 else self.initial - self.low
                return _in_unit(self.unit, self.initial + span * position)


def _in_unit(unit: Unit, value: float) -> float:
    match unit:
        case "plain":
            return value
        case "variance":
            return math.sqrt(max(0.0, value))
        case "strength":
            return MOST_AUGMENTED * value


def knobs_of(heads: Iterable[Head]) -> frozenset[str]:
    """The names of all knobs that heads turn."""
    return frozenset(knob for head in heads for knob in head.knobs)


def confined(heads: Sequence[Head], knobs: Sequence[str] | None, owner: str) -> tuple[Head, ...]:
    """The same heads, turning these knobs alone; None for all of theirs.

    A head without a knob stays, so that the network keeps its size. Raises SettingError for a knob that none turns.
    """
    if knobs is None:
        return tuple(heads)
    known = knobs_of(heads)
    for name in knobs:
        if name not in known:
            raise SettingError(f"{owner} does not turn '{name}'; it turns {', '.join(sorted(known))}")
    chosen = [{knob: weight for knob, weight in head.knobs.items() if knob in knobs} for head in heads]
    return tuple(replace(head, knobs=mine) for head, mine in zip(heads, chosen, strict=True))


def check_heads(heads: Sequence[Head], owner: str) -> None:
    """Raise SettingError for a knob that there is not, or for one that would be sent out of its range."""
    ranges = AdversarialKnobs.ranges()
    for head in heads:
        for knob in head.knobs:
            if knob not in ranges:
                raise SettingError(f"{owner} turns '{knob}', a knob that there is not; make it anew with train-policy")
            ends = [head.value(position, knob, 0.0) for position in (-1, 0, 1)] if head.kind == "between" else []
            wrong = [end for end in ends if not ranges[knob].contains(end) and end != 0]
            if wrong:
                raise SettingError(f"{owner} would set {knob} to {wrong[0]:g}, outside its range: {ranges[knob]}")


def moved(heads: Sequence[Head], positions: Sequence[float], action: Iterable[float]) -> list[float]:
    """Where heads stand after a decision: on the way from `positions` to `action`, both (k,) in [-1, 1]."""
    return [
        min(1.0, max(-1.0, stood + min(head.step, max(-head.step, float(wanted) - stood))))
        for head, stood, wanted in zip(heads, positions, action, strict=True)
    ]


def placed(
    heads: Sequence[Head], positions: Sequence[float], knobs: Knobs, acting: Collection[str]
) -> dict[str, float]:
    """Knob -> value, not clamped, of the `acting` knobs that heads turn; `knobs`: where they stand below."""
    values = {knob: value for knob, value in knobs.values().items() if knob in acting and knob in knobs_of(heads)}
    for head, position in zip(heads, positions, strict=True):
        values |= {knob: head.value(position, knob, values[knob]) for knob in head.turned(acting)}
    return values
