"""The symptom of a generator that is too strong for the discriminator: the reverse of strong_discriminator.py."""

import math
import statistics

from equipoise.diagnosis.code_changes import DOUBLE_LR_OF_D, HALVE_LR_OF_G, MORE_STEPS_OF_D
from equipoise.diagnosis.criteria.loss_values import (
    LN2,
    ideal_loss_d,
    latest_values,
    level,
    loss_name_d,
    loss_name_g,
    stretch_start,
)
from equipoise.diagnosis.history import SignalHistory
from equipoise.diagnosis.symptom import HINT, CodeChange, Detection, SeverityScale, Symptom
from equipoise.diagnosis.symptoms.weak_discriminator import DISCRIMINATES

ABOVE_IDEAL = SeverityScale(1.5, 2.0, 5.0)
"""The discriminator's loss relative to that at chance. A discriminator that calls everything real with probability p
has −log(p) − log(1 − p): 1.5 times the value at chance for p = 0.86, twice for p = 0.94, five times for p = 0.999."""
LOSS_OF_G = 0.2 * LN2
"""Largest loss of the generator, 0.14 nats: −log(p) for p = 0.87. For a hinge loss −D(G(z)) it is BEYOND_MARGIN."""
BEYOND_MARGIN = -1.0
LEAST_SQUARES = 0.5
SQUARES_OF_G = 0.05
"""(D(G(z)) − 1)² of a discriminator that calls fakes real: D(G(z)) ≥ 0.78."""
FELL_FROM = 0.2
"""A generator's least-squares loss is 0.25 at chance: a loss that was never this large may be small because of a weight
(5e-3 in ESRGAN)."""
WRONG = SeverityScale(0.4, 0.3, 0.1)
"""Accuracy of the discriminator over ten readings: with 64 reals and 64 fakes the standard error of their mean is
0.014, so that 0.4 is not chance."""
INVERTED = SeverityScale(0.1, 0.3, 0.8)
"""D(G(z)) − D(x), which is at most 0 for a discriminator that has learned anything."""
ACCEPTED = SeverityScale(0.87, 0.94, 0.999)
"""D(G(z)) where the log has no losses: the same p as of ABOVE_IDEAL."""
PRINTED_ZERO = 1e-4
"""Smallest loss of the generator that is not taken as rounded: logs print four decimals."""
LASTING = 20
"""Number of readings from which a finding can be serious; before, it is a hint, because many runs begin like this."""
EVIDENT = 0.9
"""Severity from which half as many readings suffice."""


def detect_overpowering_generator(history: SignalHistory) -> Detection | None:
    """Detect a discriminator that takes fakes for reals for a lasting time: it does worse than with a constant output.

    Not detected while ranks show that it distinguishes them.
    """
    rank = level(history, "rank_train_fake")
    if rank is not None and rank >= DISCRIMINATES:
        return None
    tests = (_by_losses, _by_accuracy, _by_probabilities)
    detections = [detection for test in tests if (detection := test(history))]
    if not detections:
        return None
    evidence = {name: value for detection in detections for name, value in detection.evidence.items()}
    strongest = max(detections, key=lambda detection: detection.severity)
    names = (loss_name_d(history), "accuracy_d", "probability_fake")
    count = max(
        sum(point.count for point in (*history.spans, *history.filling) if name in point.values) for name in names
    )
    is_lasting = count >= LASTING or (strongest.severity >= EVIDENT and 2 * count >= LASTING)
    severity = strongest.severity if is_lasting else min(HINT, strongest.severity)
    return Detection(severity, min(0.95, 0.7 + 0.1 * len(detections)), evidence, strongest.since)


def _by_losses(history: SignalHistory) -> Detection | None:
    """Detect a discriminator's loss far above its value at chance while the generator's is near its minimum."""
    name_d, name_g = loss_name_d(history), loss_name_g(history)
    loss_g = level(history, name_g)
    if loss_g is None or loss_g > LOSS_OF_G:
        return None
    loss_d, ideal = level(history, name_d), ideal_loss_d(history)
    if loss_d is None or ideal is None or history.loss_caveat:
        return None
    lowest_g = min(history.values(name_g))
    limit = LOSS_OF_G if lowest_g >= 0 else BEYOND_MARGIN
    if loss_g > limit:
        return None
    is_weighted = False
    if lowest_g >= 0 and not history.last("ideal_d", 1):
        ideal, is_weighted = _plausible_ideal(history, name_g, loss_d, loss_g)
    severity = ABOVE_IDEAL.severity(loss_d / ideal)
    if severity is None:
        return None
    if is_weighted:
        severity = min(severity, HINT)
    points = [point for point in (*history.spans, *history.filling) if name_d in point.values]
    since = stretch_start(points, lambda point: point.values[name_d] >= ABOVE_IDEAL.mild * ideal)
    return Detection(severity, 0.8, {name_d: loss_d, "at_chance": ideal, name_g: loss_g}, since)


def _plausible_ideal(history: SignalHistory, name_g: str, loss_d: float, loss_g: float) -> tuple[float, bool]:
    """Return the loss of the discriminator at chance, and whether the generator's may be small only by a weight.

    With binary cross-entropy, a generator's loss of −log(p) implies a discriminator's loss of at least −log(1 − p), or
    half of it if that is a mean of both halves; a smaller one is a least-squares loss.
    """
    implied = -math.log(-math.expm1(-max(loss_g, PRINTED_ZERO)))
    if loss_d >= implied:
        return 2 * LN2, False
    if loss_d >= implied / 2:
        return LN2, False
    if loss_g > SQUARES_OF_G:
        return math.inf, True
    highest = max(latest_values(history, name_g, share=1.0), default=0.0)
    return LEAST_SQUARES, highest < FELL_FROM


def _by_accuracy(history: SignalHistory) -> Detection | None:
    """Detect an accuracy well below one half."""
    accuracy = level(history, "accuracy_d")
    severity = None if accuracy is None else WRONG.severity(accuracy)
    return None if accuracy is None or severity is None else Detection(severity, 0.8, {"accuracy_d": accuracy})


def _by_probabilities(history: SignalHistory) -> Detection | None:
    """Detect D(G(z)) above D(x), or near 1 together with it."""
    real, fake = latest_values(history, "probability_real"), latest_values(history, "probability_fake")
    if not real or not fake:
        return None
    level_real, level_fake = statistics.median(real), statistics.median(fake)
    severities = [INVERTED.severity(level_fake - level_real)]
    if level(history, loss_name_d(history)) is None:
        severities.append(ACCEPTED.severity(level_fake))
    severity = max((value for value in severities if value is not None), default=None)
    if severity is None:
        return None
    return Detection(severity, 0.8, {"probability_real": level_real, "probability_fake": level_fake})


GENERATOR_OVERPOWERING = Symptom(
    id="generator_overpowering",
    order=25,
    detect=detect_overpowering_generator,
    reads=(
        *("loss_d", "adversarial_d", "ideal_d", "loss_g", "adversarial_g", "accuracy_d"),
        *("probability_real", "probability_fake", "rank_train_fake"),
    ),
    meaning="the discriminator takes fakes for reals and its loss is worse than that of a constant output, so it "
    "gives the generator no direction",
    test="medians over the last tenth of the run, at least ten readings: loss_d relative to its value at chance (2 ln "
    "2, ln 2, 0.5 or 2, as the losses suggest) while loss_g is at most 0.14 (a hinge loss: −1); or the accuracy of the "
    "discriminator well below one half; or D(G(z)) above D(x). At most 0.4 with fewer than 20 readings, unless it is "
    "extreme. Not from losses with other terms, nor while `rank_train_fake` ≥ 0.15",
    scales={
        "loss_d / value at chance": ABOVE_IDEAL,
        "accuracy of D": WRONG,
        "D(G(z)) − D(x)": INVERTED,
        "D(G(z)) without losses": ACCEPTED,
    },
    excludes=("discriminator_overpowering", "vanishing_generator_gradient", "equilibrium"),
    source="the loss at chance is the largest of a discriminator that is any better than a constant (Goodfellow 2014, "
    "theorem 1)",
    advice="multiply lr_d by two, reduce lr_g to a half, set discriminator_steps to 2; check that the labels of reals "
    "and fakes are not swapped",
    loop_advice=(
        CodeChange(
            "Check the labels and the order of the updates: reals 1, fakes 0, and fakes detached in the update of the "
            "discriminator",
            "bce = torch.nn.functional.binary_cross_entropy_with_logits\n"
            "logit_real, logit_fake = d(real), d(fake.detach())\n"
            "loss_real = bce(logit_real, torch.ones_like(logit_real))\n"
            "loss_fake = bce(logit_fake, torch.zeros_like(logit_fake))\n"
            "loss_d = loss_real + loss_fake",
        ),
        DOUBLE_LR_OF_D,
        HALVE_LR_OF_G,
        MORE_STEPS_OF_D,
    ),
)
