"""Losses that do not move: pinned at a constant or at a clip; and, for never_learned, at chance from the start."""

import itertools
import statistics
from collections.abc import Sequence

from equipoise.diagnosis.code_changes import BCE_WITH_LOGITS, CHECK_UPDATES, GRADIENT_PENALTY, QUARTER_LR_OF_D
from equipoise.diagnosis.criteria.loss_values import (
    CHANCE_LOSSES,
    CLIP_TOLERANCE,
    clip_probability,
    decimals,
    is_late,
    latest_values,
    loss_name_d,
    loss_name_g,
)
from equipoise.diagnosis.history import SignalHistory, SignalPoint
from equipoise.diagnosis.symptom import HINT, Detection, Symptom

PINNED_LOSSES = ("adversarial_g", "loss_g", "loss_d", "loss_d_real", "loss_d_fake")
SAME = 1e-9
"""Relative difference up to which values are the same to the digit."""
PINNED_READINGS = 20
"""Smallest number of successive readings with the same value. The mean of a loss over a batch of 64 varies by some per
cent, so that even two readings with the same four digits are rare."""
CLIP_READINGS = 10
"""The same for the value of a clip, which no loss has by chance."""
PINNED_SHARE = 0.1
"""Smallest share of the readings so far that have this value at the end."""
MIN_DIGITS = 3
"""Smallest number of significant digits that must be the same, as far as the other losses show how many are printed."""
HELD_SHARE = 0.5
"""Share of equal neighbours before, from which a column is taken as one that repeats its last value."""
AT_CLIP_SHARE = 0.5
"""Share of values at a clip among the latest ones, from which a loss that still moves counts as pinned."""
SEVERITY_CONSTANT, SEVERITY_CLIP = 0.6, 0.8
"""At a clip the gradient is exactly zero; a constant may have other causes, such as a critic at rest."""

CHANCE_D = 0.02
"""Largest relative deviation of the discriminator's loss from its value at chance: logits of 0.3, D(x) of 0.43–0.57."""
CHANCE_G, CHANCE_G_HINGE = 0.05, 0.05
"""The same for the generator's loss, whose slope at chance is larger; absolute for hinge, where that value is 0."""
CHANCE_SHARE = 0.9
"""Share of all readings so far that must be this near. Healthy balanced losses vary by five per cent or more."""
LEARNED = 0.95
"""A mean of ten losses of the discriminator below this share of its value at chance: it had learned something."""


def detect_saturated_loss(history: SignalHistory) -> Detection | None:
    """Detect a loss that has the same value to the digit for a lasting time, or is at the clip of its logarithm."""
    detections = [detection for name in PINNED_LOSSES if (detection := _pinned(history, name))]
    return max(detections, key=lambda detection: detection.severity, default=None)


def detect_losses_at_chance(history: SignalHistory) -> Detection | None:
    """Detect two players whose losses have been at chance since the start: neither has learned anything.

    At the equilibrium the losses have the same values, but there the discriminator had learned something before.
    """
    name_d, name_g = loss_name_d(history), loss_name_g(history)
    latest = history.last(name_d, 3)
    if not any(abs(value - chance.loss_d) <= CHANCE_D * chance.loss_d for value in latest for chance in CHANCE_LOSSES):
        return None
    losses_d = history.values(name_d)
    losses_g = history.values(name_g)
    accuracy, ranks = latest_values(history, "accuracy_d"), latest_values(history, "rank_train_fake")
    if len(losses_d) < PINNED_READINGS or (losses_g and len(losses_g) < PINNED_READINGS):
        return None
    if (accuracy and abs(statistics.fmean(accuracy) - 0.5) > 0.1) or (ranks and abs(statistics.fmean(ranks)) > 0.1):
        return None
    for chance in CHANCE_LOSSES:
        limit_g = CHANCE_G * abs(chance.loss_g) or CHANCE_G_HINGE
        if (
            _is_near(losses_d, chance.loss_d, CHANCE_D * chance.loss_d)
            and min(_means_of_ten(losses_d)) >= LEARNED * chance.loss_d
            and (not losses_g or _is_near(losses_g, chance.loss_g, limit_g))
        ):
            evidence = {name_d: statistics.median(losses_d), "at_chance": chance.loss_d}
            evidence |= {name_g: statistics.median(losses_g)} if losses_g else {}
            return Detection(0.6 if is_late(history, name_d) else HINT, 0.8 if losses_g else 0.6, evidence, since=0)
    return None


def _is_near(values: Sequence[float], centre: float, distance: float) -> bool:
    return sum(abs(value - centre) <= distance for value in values) >= CHANCE_SHARE * len(values)


def _means_of_ten(values: Sequence[float]) -> list[float]:
    return [statistics.fmean(values[start : start + 10]) for start in range(0, len(values) - 9)]


def _points(history: SignalHistory, name: str) -> list[SignalPoint]:
    return [point for point in (*history.spans, *history.filling) if name in point.values]


def _pinned(history: SignalHistory, name: str) -> Detection | None:
    """Detect that one loss is pinned."""
    latest = history.last(name, 8)
    if len(latest) < 8 or (latest[-2] != latest[-1] and clip_probability(max(latest)) is None):
        return None
    points = _points(history, name)
    value, total = points[-1].values[name], sum(point.count for point in points)
    start = len(points)
    while start and abs(points[start - 1].values[name] - value) <= SAME * abs(value):
        start -= 1
    length = sum(point.count for point in points[start:])
    probability = clip_probability(value) if value > 0 else None
    least = PINNED_READINGS if probability is None else CLIP_READINGS
    if length < max(least, PINNED_SHARE * total) or value == 0:
        return _often_at_clip(history, name)
    if probability is None and (_digits(history, value) < MIN_DIGITS or _is_held(points[:start], name)):
        return None
    if start == 0 and _is_chance(name, value):
        return None  # the symptom never_learned
    severity = SEVERITY_CONSTANT if probability is None else SEVERITY_CLIP
    if probability is None and start == 0 and length < 2 * PINNED_READINGS:
        severity = HINT  # perhaps a column that changes once an epoch
    evidence = {name: value, "constant_for": length / total}
    evidence |= {} if probability is None else {"clipped_probability": probability}
    return Detection(severity, 0.8 if probability is None else 0.95, evidence, since=points[start].step if start else 0)


def _often_at_clip(history: SignalHistory, name: str) -> Detection | None:
    """Detect a loss that is at a clip at half of its latest readings, and never above it."""
    values = latest_values(history, name, least=PINNED_READINGS)
    if not values or (probability := clip_probability(max(values))) is None:
        return None
    share = sum(abs(value - max(values)) <= CLIP_TOLERANCE * max(values) for value in values) / len(values)
    if share < AT_CLIP_SHARE:
        return None
    return Detection(
        SEVERITY_CLIP, 0.9, {name: max(values), "share_at_clip": share, "clipped_probability": probability}
    )


def _digits(history: SignalHistory, value: float) -> int:
    """Return how many significant digits of a value the log prints, as far as its losses show."""
    values = [value for name in PINNED_LOSSES for value in history.last(name, PINNED_READINGS)]
    return len(str(round(abs(value) * 10 ** decimals(values))).lstrip("0"))


def _is_held(points: Sequence[SignalPoint], name: str) -> bool:
    """Return whether a column repeats its last value, such as a loss that is computed once an epoch."""
    values = [point.values[name] for point in points]
    equal = sum(later == earlier for earlier, later in itertools.pairwise(values))
    return equal >= HELD_SHARE * max(1, len(values) - 1) and len(values) > 1


def _is_chance(name: str, value: float) -> bool:
    """Return whether a value is that of a loss at chance."""
    player = "loss_d" if name == "loss_d" else "loss_g"
    chances = [getattr(chance, player) for chance in CHANCE_LOSSES]
    return any(abs(value - chance) <= CHANCE_D * abs(chance) for chance in chances)


SATURATED_LOSS = Symptom(
    id="saturated_loss",
    order=35,
    detect=detect_saturated_loss,
    reads=PINNED_LOSSES,
    meaning="a loss has the same value to the last digit for a long time: it is at the clip of its logarithm, where "
    "its gradient is zero, or nothing that it depends on changes any more",
    test="the last 20 or more readings of a loss, and at least a tenth of all, are the same to the digit, with at "
    "least three significant digits (severity 0.6), or 10 are the −log of a clipped probability, such as 16.118 = −ln "
    "10^-7 or 100 (0.8); or half of the latest readings are at such a clip and none is above it (0.8). Not for 0, "
    "nor for columns that repeat their last value",
    source="clips of Keras (10^-7), torch.nn.BCELoss (100), pix2pix-tensorflow (10^-12) and of float32; the mean of a "
    "loss over a batch varies from step to step",
    advice="use a loss of logits (non_saturating); then treat the cause, usually a discriminator that is too strong: "
    "increase augment_p or r1_gamma, reduce lr_d; a constant loss of a critic with clipped weights: gp_weight instead",
    loop_advice=(BCE_WITH_LOGITS, CHECK_UPDATES, GRADIENT_PENALTY, QUARTER_LR_OF_D),
)
