"""What may be changed about each symptom, rung by rung, in the order of the evidence."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from equipoise.core.knobs import Knobs


@dataclass(frozen=True, slots=True)
class Move:
    """One knob on a rung: `times` its value, `start` if that is off; or `at`, `at_least` or `at_most` a value.

    `lift` adds to a knob, up to `most`.
    """

    knob: str
    kind: Literal["times", "at", "at_least", "at_most", "lift"]
    amount: float
    start: float = 0.0
    most: float = math.inf


Rung = tuple[Move, ...]
SCALE = 50.0
"""A knob so many times above or below what it would be set `at` belongs to a game of another scale, and is left."""

AUGMENT = Move("augment_p", "lift", 0.2, most=0.6)
PENALIZE = Move("r1_gamma", "times", 4.0, start=1.0)
CALM_D = Move("lr_d", "times", 0.25)
SLOW = (Move("lr_g", "times", 0.5), Move("lr_d", "times", 0.5))
NO_MOMENTUM = Move("beta1", "at_most", 0.0)
NOISE = Move("instance_noise", "at_least", 0.1)
LABELS = (
    Move("real_label_low", "at_most", 0.8),
    Move("fake_label_high", "at_least", 0.2),
)
"""Drawn from [0.8, 1] and [0, 0.2] (Salimans 2016, section 3.4, smooths the reals' alone)."""

REGIME = (
    Move("r1_gamma", "times", 1.0, start=1.0),
    NO_MOMENTUM,
    Move("lr_g", "at", 2e-3),
    Move("lr_d", "at", 2e-3),
    Move("discriminator_steps", "at_most", 1.0),
    Move("ema_half_life", "at_most", 2000.0),
)
"""R1 and no momentum (Mescheder 2018, section 6: gamma 10, Adam without momentum), with which a rate can be borne that
has the generator learn before the discriminator has won: the default recipe's, whose digits pass where the textbook's
game does not in the same time (benchmarks/digits.md). What changes fast is averaged over fewer images. Chosen on seed
100 of benchmarks/rescue.py."""

STRONG_D: tuple[Rung, ...] = (
    REGIME,
    (AUGMENT, PENALIZE),
    (CALM_D, NOISE),
    LABELS,
    (Move("generator_steps", "at_least", 2),),
)
NARROW_G: tuple[Rung, ...] = (REGIME, (AUGMENT, PENALIZE), (NOISE, *SLOW), (NO_MOMENTUM, PENALIZE, *SLOW))

LADDERS: Mapping[str, tuple[Rung, ...]] = {
    "divergence": (SLOW, (*SLOW, PENALIZE), (*SLOW, *SLOW, NO_MOMENTUM), (*SLOW, *SLOW, PENALIZE)),
    "discriminator_overpowering": STRONG_D,
    "vanishing_generator_gradient": STRONG_D[1:],
    "discriminator_overfitting": ((AUGMENT,), (AUGMENT, PENALIZE), (CALM_D,), (NOISE,)),
    "memorisation": ((AUGMENT,), (AUGMENT, PENALIZE), (CALM_D,)),
    "collapse": NARROW_G,
    "mode_collapse": NARROW_G,
    "mode_dropping": NARROW_G,
    "discriminator_forgetting": (),
    "oscillation": ((*SLOW, NO_MOMENTUM), (PENALIZE, *SLOW), (*SLOW, *SLOW)),
    "dead_discriminator": (
        (Move("r1_gamma", "times", 0.1), Move("instance_noise", "times", 0.5), Move("augment_p", "times", 0.5)),
        (Move("lr_d", "times", 2.0),),
        (Move("discriminator_steps", "at_least", 2),),
    ),
}
"""Symptoms that are mended, and how. An empty ladder: rolling back is all, for no knob was to blame. Plateau and
equilibrium are none: there is nothing to win by turning a knob."""
BESIDE_RUNG_0 = frozenset({"discriminator_overpowering", "collapse", "mode_collapse"})
"""Where the regime is put on top at once when knobs are pulled back to their published values."""
ROLLED_BACK = frozenset(LADDERS) - {"discriminator_overfitting", "memorisation", "oscillation"}
"""What has spoilt the weights. The others get worse slowly, and the weights as they are may still be saved."""


def moved(rung: Rung, now: Knobs, turnable: frozenset[str]) -> dict[str, float]:
    """Knob -> new value of the moves that act for this GAN and change something."""
    values = now.values()
    for move in rung:
        if move.knob in turnable and move.knob in values:
            values[move.knob] = now.ranges()[move.knob].clamp(_value(move, values[move.knob]))
    return {name: value for name, value in values.items() if value != getattr(now, name)}


def _value(move: Move, now: float) -> float:
    match move.kind:
        case "times":
            return now * move.amount if now else move.start
        case "at":
            return move.amount if now and 1 / SCALE <= now / move.amount <= SCALE else now
        case "lift":
            return max(now, min(now + move.amount, move.most))
        case "at_least":
            return max(now, move.amount)
        case "at_most":
            return min(now, move.amount)
