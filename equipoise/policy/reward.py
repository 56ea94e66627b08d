"""Reward of a decision as in the brief: improvement of the pixel FID, balance of the losses, diversity.

    r = w_1 (FID_before - FID_now) / max(FID_before, FID_now) - w_2 d / (1 + d) + w_3 min(1, diversity)
    d = |L_G - L_D|
    w_1 = 0.4 + 0.4 p,  w_2 = 0.4 - 0.3 p,  w_3 = 0.2 - 0.1 p        p: progress, 0 to 1

The brief specifies the three parts and that the weights depend on progress; formulas and numbers were chosen for this
package. Each part has a magnitude of at most 1, and the weights sum to 1; a distance below 0 counts as 0. The reward
has known weaknesses: a discriminator that does not learn balances the losses, the FID of few samples prefers less
variety, and relative improvements do not add up: the distances 4, 2, 1, 4 give w_1 / 4 in total, constant ones 0. The
reward exists for compatibility with the brief and is never a default.
"""

import math
from typing import NamedTuple

from equipoise.core.observations import Signals
from equipoise.policy.features import distance


class RewardWeights(NamedTuple):
    """Weights of the three parts of the reward, which sum to 1."""

    improvement: float
    balance: float
    diversity: float


def reward_weights(progress: float) -> RewardWeights:
    """Return the weights at a progress in [0, 1]: balance and diversity count more early, improvement later."""
    return RewardWeights(0.4 + 0.4 * progress, 0.4 - 0.3 * progress, 0.2 - 0.1 * progress)


def reward(before: float | None, signals: Signals, progress: float) -> float:
    """Compute r in [-0.9, 0.9]. `before`: the distance at the previous decision, None if unknown.

    A part that is unknown or not finite counts as 0, because a NaN would make all later learning fail.
    """
    weights, now = reward_weights(progress), distance(signals)
    improvement = balance = 0.0
    if before is not None and now is not None and max(before, now) > 0:
        improvement = (max(before, 0.0) - max(now, 0.0)) / max(before, now)
    loss_g, loss_d = _finite(signals.loss_g), _finite(signals.loss_d)
    if loss_g is not None and loss_d is not None:
        gap = abs(loss_g - loss_d)
        balance = -gap / (1 + gap)
    diversity = min(1.0, _finite(signals.diversity) or 0.0)
    return weights.improvement * improvement + weights.balance * balance + weights.diversity * diversity


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
