"""Special values of GAN losses: at chance, at the clip of a logarithm; and levels of losses over a history.

At chance means: the discriminator gives every sample the same output. No better output exists for fakes with the
distribution of the reals, so the loss of a discriminator that has learned anything is lower, and a lasting loss far
above it is that of a discriminator that is wrong more often than right.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from equipoise.diagnosis.history import LEVEL_SHARE, MIN_LEVEL_SPANS, SignalHistory, SignalPoint

LN2 = math.log(2)


class ChanceLosses(NamedTuple):
    """The losses of both players at chance, for one loss function and one way to add its two halves."""

    loss: str
    loss_d: float
    loss_g: float


CHANCE_LOSSES = (
    ChanceLosses("binary cross-entropy, sum of both halves", 2 * LN2, LN2),
    ChanceLosses("binary cross-entropy, mean of both halves", LN2, LN2),
    ChanceLosses("minimax, sum of both halves", 2 * LN2, -LN2),
    ChanceLosses("minimax, mean of both halves", LN2, -LN2),
    ChanceLosses("least squares, sum of both halves", 0.5, 0.25),
    ChanceLosses("least squares, mean of both halves", 0.25, 0.25),
    ChanceLosses("least squares with factors 1/2", 0.25, 0.125),
    ChanceLosses("hinge, sum of both halves", 2.0, 0.0),
    ChanceLosses("hinge, mean of both halves", 1.0, 0.0),
)
"""Goodfellow 2014; Mao 2017 (labels 0 and 1); Lim and Ye 2017. Relativistic losses have the values of the first two.
The cross-entropy at D = 1/2 is ln 2 for any label, so that smoothed labels do not change it. A Wasserstein loss has no
such value: a constant may be added to its critic."""

CLIPS: dict[float, float] = {
    **{-math.log(10.0**-power): 10.0**-power for power in range(5, 17)},
    23 * LN2: 2.0**-23,
    24 * LN2: 2.0**-24,
    -math.log(1e-20): 1e-20,
    100.0: math.exp(-100),
    126 * LN2: 2.0**-126,
    149 * LN2: 2.0**-149,
}
"""Largest value of −log of a clipped probability -> the smallest probability. 10^-7 is the epsilon of Keras (16.118);
1 − 10^-7 in float32 is 1 − 2^-23 (15.942); pix2pix-tensorflow adds 10^-12 (27.631), others 10^-8 (18.421) or 10^-6
(13.816); torch.nn.BCELoss clamps the logarithm at −100; 2^-24 is half the distance from 1 to the previous float32
(16.636), 2^-126 and 2^-149 are the smallest normal and subnormal float32 (87.34 and 103.28)."""
CLIP_TOLERANCE = 2e-4
"""Relative difference up to which a value counts as a clip: logs print four digits or more of such values."""


def clip_probability(value: float) -> float | None:
    """Return the clipped probability whose −log is `value`, or twice `value`; None if there is none.

    Half of a clip is the mean of two halves of which one is at the clip and the other is 0.
    """
    for factor in (1.0, 2.0):
        for clip, probability in CLIPS.items():
            if abs(factor * value - clip) <= CLIP_TOLERANCE * clip:
                return probability
    return None


def loss_name_g(history: SignalHistory) -> str:
    """Return the signal with the generator's adversarial loss: without other terms, if the log has it."""
    return "adversarial_g" if is_present(history, "adversarial_g") else "loss_g"


def loss_name_d(history: SignalHistory) -> str:
    """Return the signal with the discriminator's adversarial loss: without penalties, if it is known."""
    return "adversarial_d" if is_present(history, "adversarial_d") else "loss_d"


def is_present(history: SignalHistory, name: str) -> bool:
    """Return whether one of the recent readings has a signal."""
    return bool(history.last(name, 1))


def latest_values(
    history: SignalHistory, name: str, share: float = LEVEL_SHARE, least: int = MIN_LEVEL_SPANS
) -> list[float]:
    """Return the values of a signal over the last `share` of the run so far, at least `least`; [] if it has fewer."""
    if not is_present(history, name):
        return []
    values = history.values(name)
    return values[-max(least, round(share * len(values))) :] if len(values) >= least else []


def level(history: SignalHistory, name: str) -> float | None:
    """Return the median of a signal over the last tenth of the run so far, at least ten values; None with fewer."""
    values = latest_values(history, name)
    return statistics.median(values) if values else None


def stretch_start(
    points: Sequence[SignalPoint], holds: Callable[[SignalPoint], bool], least: int = MIN_LEVEL_SPANS
) -> int | None:
    """Return the step since which `holds` is true of the points, apart from single exceptions; None if it is not now.

    The stretch has at least `least` points and ends at the last one; it starts at 0 if all points belong to it.
    """
    start, failures = len(points), 0
    for index in range(len(points) - 1, -1, -1):
        failures = 0 if holds(points[index]) else failures + 1
        if failures > 1 or (failures and index == len(points) - 1):
            break
        start = index if not failures else start
    if len(points) - start < least:
        return None
    return points[start].step if start else 0


def is_late(history: SignalHistory, name: str) -> bool:
    """Return whether enough of the run has passed for a finding about its beginning to be serious.

    A tenth of the known length, or 100 readings of a signal; a quarter where readings have ranks: this package reads
    the first hundred steps one by one.
    """
    if is_present(history, "rank_train_fake"):
        return history.progress >= 0.25
    readings = sum(point.count for point in (*history.spans, *history.filling) if name in point.values)
    return history.progress >= 0.1 or readings >= 100


def decimals(values: Sequence[float]) -> int:
    """Return the number of decimals with which values were printed, at most 8."""
    for count in range(8):
        scaled = [value * 10**count for value in values]
        if all(abs(value - round(value)) <= 1e-6 for value in scaled):
            return count
    return 8


def ideal_loss_d(history: SignalHistory) -> float | None:
    """Return the loss of a discriminator at chance, if it is known or follows from the losses; None otherwise.

    Of several possible values it is the largest. Negative losses of the discriminator have no such value (Wasserstein).
    """
    known = history.last("ideal_d", 1)
    if known:
        return known[0] if known[0] > 0 else None
    losses_d = history.values(loss_name_d(history))
    losses_g = history.values(loss_name_g(history))
    if not losses_d or min(losses_d) < 0:
        return None
    is_hinge = bool(losses_g) and min(losses_g) < 0
    return 2.0 if is_hinge or not losses_g else 2 * LN2
