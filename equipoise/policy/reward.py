"""What a decision has earned, by the brief's recipe: better pixel FID, losses in balance, samples that differ.

    r = w_1 (FID_before - FID_now) / max(FID_before, FID_now) - w_2 d / (1 + d) + w_3 min(1, diversity)
    d = |L_G - L_D|
    w_1 = 0.4 + 0.4 p,  w_2 = 0.4 - 0.3 p,  w_3 = 0.2 - 0.1 p        p: progress, 0 to 1

The brief names the three parts and says that weights move with progress; forms and numbers are ours. Each part lies
within a unit, and the weights sum to 1; an unbiased distance below 0 counts as 0. Known to be gameable: a discriminator
that stands still balances the losses (control.md 2.9), FID of few samples prefers less variety, and shares of what was
there before do not add up: a distance that goes 4, 2, 1, 4 earns w_1 / 4, and one that stands still nothing. It is here
for parity, never a default.
"""

import math
from typing import NamedTuple

from equipoise.core.observations import Signals
from equipoise.policy.features import distance


class Weights(NamedTuple):
    """How much each part counts."""

    improvement: float
    balance: float
    diversity: float


def weights(progress: float) -> Weights:
    """Early on balance and variety count more, later improvement."""
    return Weights(0.4 + 0.4 * progress, 0.4 - 0.3 * progress, 0.2 - 0.1 * progress)


def reward(before: float | None, signals: Signals, progress: float) -> float:
    """r in [-0.9, 0.9]: `before` is the distance at the decision before, None if it was not known yet.

    A part that is not known, or not finite, counts as 0: one NaN would spoil all that is learned from it.
    """
    counts, now = weights(progress), distance(signals)
    improvement = balance = 0.0
    if before is not None and now is not None and max(before, now) > 0:
        improvement = (max(before, 0.0) - max(now, 0.0)) / max(before, now)
    loss_g, loss_d = _finite(signals.loss_g), _finite(signals.loss_d)
    if loss_g is not None and loss_d is not None:
        apart = abs(loss_g - loss_d)
        balance = -apart / (1 + apart)
    diversity = min(1.0, _finite(signals.diversity) or 0.0)
    return counts.improvement * improvement + counts.balance * balance + counts.diversity * diversity


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
