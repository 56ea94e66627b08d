"""Evidence in logs of other programs that the discriminator is always right: its accuracy, probabilities and logits.

Being right is not a problem by itself: the discriminator of DCGAN on CIFAR-10 is nearly always right while the FID
improves for 42,000 steps. It becomes one when it lasts for half of a run whose losses drift apart.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from equipoise.diagnosis.criteria.discriminator_win import was_measured_since
from equipoise.diagnosis.criteria.loss_values import (
    LN2,
    is_late,
    is_present,
    level,
    loss_name_d,
    loss_name_g,
    stretch_start,
)
from equipoise.diagnosis.history import SignalHistory
from equipoise.diagnosis.symptom import HINT, Detection

ACCURATE = 0.99
"""Accuracy of a discriminator that is always right: the same 99 of 100 as of ranks and probabilities."""
SATURATED_REAL, SATURATED_FAKE = 0.98, 0.02
"""D(x) and D(G(z)) of such a discriminator."""
LARGE_GAP = 10.0
"""E[D(x)] − E[D(G(z))] in logits, at which a log-odds discriminator is wrong once in 20,000 times and hinge losses have
been 0 for long; also of relativistic losses, which depend on this difference alone."""
GAP_GROWTH = 1.25
"""Least growth of the gap since the beginning of the log: logits of another scale may be far apart all the time."""
MIN_READINGS = 10
"""Smallest number of readings."""
LASTING_SHARE = 0.5
"""Share of the run from which the finding is serious, as for a win by the losses."""
FELL_TO, ROSE_BY = 0.2, 0.3
"""Losses that drift apart: the discriminator's is at most a fifth of its highest level, or the generator's at least
30 % above its lowest."""
ZERO_LOSS_D, LARGE_LOSS_G = 0.04 * LN2, 5.0
"""Losses of a won game without other numbers: 2 % of the discriminator's loss at chance, as of probabilities, and
D(G(z)) = e^-5. A weak sign: DCGAN on CIFAR-10 has such losses from its first epoch."""
UNRECOVERABLE_LOSS_D, UNRECOVERABLE_LOSS_G = 1e-3, 24 * LN2
"""Losses that need no long time to show a won game: D(G(z)) = e^-16.6 is below the last bit of a float32 next to 1, so
that the discriminator's own gradient is exactly 0, and nothing brings the generator back."""
UNRECOVERABLE_READINGS = 3
"""Readings with such losses that suffice, as an excerpt of ten lines has few."""
SEVERITY = 0.6


class _Sign(NamedTuple):
    """Signals that show a perfect discriminator while `holds` of their values is true."""

    names: tuple[str, ...]
    holds: Callable[[Mapping[str, float]], bool]


SIGNS = (
    _Sign(("accuracy_d",), lambda values: ACCURATE <= values["accuracy_d"] <= 1),
    _Sign(
        ("probability_real", "probability_fake"),
        lambda values: values["probability_real"] >= SATURATED_REAL and values["probability_fake"] <= SATURATED_FAKE,
    ),
    _Sign(("logit_real", "logit_fake"), lambda values: values["logit_real"] - values["logit_fake"] >= LARGE_GAP),
)


def detect_perfect_discriminator(history: SignalHistory) -> Detection | None:
    """Detect a discriminator that has been right for a lasting time; only in logs without ranks.

    The finding is serious once this has lasted for half of the run while the losses drifted apart, or if the losses are
    unrecoverable; otherwise, and if a metric was measured since then, it is a hint.
    """
    if history.last("rank_train_fake", 1):
        return None
    starts = [start for sign in SIGNS if (start := _since(history, sign)) is not None]
    by_losses = _won_losses_since(history)
    starts += [] if by_losses is None else [by_losses]
    unrecoverable = _unrecoverable_since(history)
    if not starts and unrecoverable is None:
        return None
    since = min((*starts, *([] if unrecoverable is None else [unrecoverable])))
    name_d, name_g = loss_name_d(history), loss_name_g(history)
    names = (*(name for sign in SIGNS for name in sign.names), name_d, name_g)
    evidence = {name: value for name in names if (value := level(history, name)) is not None}
    if unrecoverable is not None:
        evidence |= {name: history.last(name, 1)[0] for name in (name_d, name_g)}
    first = history.spans[0].step if history.spans else 0  # an excerpt of a log does not start at 0
    share = (history.step - max(first, since)) / max(1, history.step - first)
    is_serious = (
        share >= LASTING_SHARE
        and is_late(history, name_d if history.values(name_d) else next(iter(evidence)))
        and _drift_apart(history)
        and not was_measured_since(history, since)
    )
    is_serious = is_serious or (unrecoverable is not None and not was_measured_since(history, unrecoverable))
    severity = SEVERITY if is_serious else HINT
    return Detection(severity, 0.5 + 0.1 * max(1, len(starts)), {**evidence, "won_for": share}, since)


def _unrecoverable_since(history: SignalHistory) -> int | None:
    """Return the step since which the losses are those of a game that cannot go on; None if they are not."""
    name_d, name_g = loss_name_d(history), loss_name_g(history)
    now_d, now_g = history.last(name_d, 1), history.last(name_g, 1)
    if history.loss_caveat or not now_d or not now_g or not _is_unrecoverable(now_d[0], now_g[0]):
        return None
    points = [point for point in (*history.spans, *history.filling) if {name_d, name_g} <= point.values.keys()]
    if min(history.values(name_d)) < 0:
        return None
    return stretch_start(
        points,
        lambda point: _is_unrecoverable(point.values[name_d], point.values[name_g]),
        UNRECOVERABLE_READINGS,
    )


def _is_unrecoverable(loss_d: float, loss_g: float) -> bool:
    return loss_d < UNRECOVERABLE_LOSS_D and loss_g >= UNRECOVERABLE_LOSS_G


def _since(history: SignalHistory, sign: _Sign) -> int | None:
    """Return the step since which the signals show a perfect discriminator; None if they do not show it now."""
    if not all(is_present(history, name) for name in sign.names):
        return None
    points = [point for point in (*history.spans, *history.filling) if all(name in point.values for name in sign.names)]
    if sign.names[0].startswith("logit") and not _gap_grows(history):
        return None
    return stretch_start(points, lambda point: sign.holds(point.values), MIN_READINGS)


def _gap_grows(history: SignalHistory) -> bool:
    """Return whether the gap of the logits has grown, and the loss is one that a gap makes small."""
    reals, fakes = history.whole("logit_real"), history.whole("logit_fake")
    losses = history.values(loss_name_d(history))
    if losses and min(losses) < 0:
        return False  # a critic's logits have no scale
    gaps = [real - fake for (_, real), (_, fake) in zip(reals, fakes, strict=False)]
    early, late = gaps[:MIN_READINGS], gaps[-MIN_READINGS:]
    return len(gaps) >= MIN_READINGS and sorted(late)[len(late) // 2] >= GAP_GROWTH * max(
        0.0, sorted(early)[len(early) // 2]
    )


def _won_losses_since(history: SignalHistory) -> int | None:
    """Return the step since which the discriminator's loss is 0 and the generator's that of D(G(z)) = 0."""
    name_d, name_g = loss_name_d(history), loss_name_g(history)
    now_d, now_g = history.last(name_d, 2), history.last(name_g, 2)
    if history.loss_caveat or not now_d or not now_g or min(now_d) > ZERO_LOSS_D or max(now_g) < LARGE_LOSS_G:
        return None
    points = [
        point for point in (*history.spans, *history.filling) if name_d in point.values and name_g in point.values
    ]
    if not points or min(point.values[name_d] for point in points) < 0:
        return None
    start = stretch_start(
        points, lambda point: point.values[name_d] <= ZERO_LOSS_D and point.values[name_g] >= LARGE_LOSS_G, MIN_READINGS
    )
    return start if start is not None and _drift_apart(history) else None


def _drift_apart(history: SignalHistory) -> bool:
    """Return whether the losses have drifted apart; without losses nothing contradicts it."""
    name_d, name_g = loss_name_d(history), loss_name_g(history)
    now_d, now_g = level(history, name_d), level(history, name_g)
    if now_d is None and now_g is None:
        return True
    if now_d is not None and now_d <= FELL_TO * max(_medians_of_five(history.values(name_d))):
        return True
    lowest_g = 0.0 if now_g is None else min(_medians_of_five(history.values(name_g)))
    return now_g is not None and now_g - lowest_g >= ROSE_BY * abs(lowest_g) > 0


def _medians_of_five(values: Sequence[float]) -> list[float]:
    """Return the medians of successive values: single losses vary so much that some are 30 % above the lowest."""
    return [sorted(values[start : start + 5])[2] for start in range(len(values) - 4)]
