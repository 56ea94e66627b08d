"""Symptoms of training dynamics: divergence, oscillation, and a discriminator that suddenly forgets."""

import itertools
import statistics
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from equipoise.diagnosis.adjustments import HALVE_LEARNING_RATES, INCREASE_R1, NO_MOMENTUM
from equipoise.diagnosis.code_changes import (
    ADD_R1,
    AVERAGE_WEIGHTS,
    CHECK_GRADIENTS,
    CLIP_GRADIENTS,
    FULL_PRECISION,
    HALVE_BOTH_LRS,
    LESS_MOMENTUM,
    STOP_AT_NAN,
)
from equipoise.diagnosis.history import SignalHistory
from equipoise.diagnosis.symptom import HINT, Detection, Repair, SeverityScale, Symptom

CYCLE = SeverityScale(0.45, 0.6, 0.9)
"""Autocorrelation at one period. For noise, 64 readings stay below 2 / sqrt(64) = 0.25 (Bartlett 1946), and the highest
over many lags rarely exceeds 0.4."""
CYCLE_READINGS = 64
SWING = 0.1
"""Minimum standard deviation of a cycle: absolute for a rank, relative to its mean for a loss."""
LARGE_SWING = 0.25
"""Standard deviation relative to the mean from which a cycle of losses alone is a problem: a sine of this size doubles
the loss from its lowest to its highest value. Smaller cycles are those of the data or of a schedule."""
EXPLOSION = 1e4
"""A loss this many times larger than usual has left every scale that a learning rate is chosen for, and soon that of
float16, whose largest number is 65,504."""
MIN_USUAL = 0.1
"""Smallest usual size: a loss near 0 may rise to any multiple, for instance to 100, the clip of torch.nn.BCELoss."""
READINGS_BEFORE = 4
"""Number of readings before a drop whose median is the rank before it."""
STEADY = 0.15
"""Maximum difference between these readings: if the rank oscillates, a low value is not a sudden drop."""
DROP = 0.2
"""Minimum drop of the rank: ten standard errors of a mean over 50 steps of a rank of 64 against 64 logits."""
STEPS_PER_READING = 25
"""Minimum number of steps that a reading averages: ranks of single steps are too noisy."""
REMAINING = SeverityScale(0.6, 0.45, 0.1)
"""Share of the rank that remains. A healthy discriminator loses a few hundredths from reading to reading; after
their weights were reset, discriminators had 9 % and 36 % left (seeds 100 and 101 of benchmarks/rescue.py)."""


def detect_divergence(history: SignalHistory) -> Detection | None:
    """Detect a loss or gradient that is not finite; in a log, also a loss that explodes."""
    count = int(history.recent[-1].values["non_finite"])
    return Detection(1.0, 1.0, {"non_finite": count}) if count else _exploded(history)


def _exploded(history: SignalHistory) -> Detection | None:
    """Detect a loss that is EXPLOSION times its usual size at three readings in a row, in logs of other programs.

    Its usual size is the median so far, or that of the beginning of the log if it is smaller. Live runs have ranks or
    gradients, and end at the first value that is not finite.
    """
    if any(history.last(name, 1) for name in ("rank_train_fake", "gradient_norm_g", "gradient_norm_d")):
        return None
    for name in ("loss_d", "loss_g"):
        latest = history.last(name, 3)
        if not latest or min(map(abs, latest)) < EXPLOSION * MIN_USUAL:
            continue
        values = [abs(value) for value in history.values(name)]
        if len(values) < 20:
            continue
        usual = max(min(statistics.median(values), statistics.median(values[:5])), MIN_USUAL)
        if min(map(abs, latest)) >= EXPLOSION * usual:
            points = [point for point in (*history.recent, *history.spans) if name in point.values]
            first = min(point.step for point in points if abs(point.values[name]) >= EXPLOSION * usual)
            return Detection(1.0, 0.9, {name: latest[-1], "usual": usual}, since=first)
    return None


def detect_oscillation(history: SignalHistory) -> Detection | None:
    """Detect ranks or losses that cycle: high autocorrelation at some lag, and equally negative at half of it.

    Uses the last 64 readings, if all of them are in the second half of the run so far, because training may oscillate
    at the beginning.
    """
    detections = _slow_cycles(history)
    for name in ("rank_train_fake", "loss_g", "loss_d"):
        values = np.array(history.last(name, CYCLE_READINGS))
        if len(values) < CYCLE_READINGS:
            continue
        steps = [point.step for point in history.recent if name in point.values][-CYCLE_READINGS:]
        if steps[0] < history.step / 2 or _is_uneven(steps):
            continue
        swing = float(values.std()) / (1.0 if name.startswith("rank") else max(abs(float(values.mean())), 1e-12))
        if swing < SWING:
            continue
        lag, strength = strongest_cycle(values)
        severity = CYCLE.severity(strength)
        if severity is not None:
            evidence = {
                "autocorrelation": strength,
                "period": lag * (steps[-1] - steps[0]) / 63,
                f"swing_{name}": swing,
            }
            is_small = swing < LARGE_SWING and not history.last("rank_train_fake", 1)
            detections.append(Detection(min(severity, HINT if is_small else 0.9), 0.7, evidence))
    return max(detections, key=lambda detection: detection.severity, default=None)


def _slow_cycles(history: SignalHistory) -> list[Detection]:
    """Detect cycles of losses that are longer than 32 readings, over the spans of a long log; hints."""
    result = []
    for name in () if history.last("rank_train_fake", 1) or history.width == 1 else ("loss_g", "loss_d"):
        points = [point for point in history.spans if name in point.values][-CYCLE_READINGS:]
        if len(points) < CYCLE_READINGS or points[0].step < history.step / 2:
            continue
        swing, lag, strength = _cycle_of_spans(tuple(point.values[name] for point in points))
        severity = CYCLE.severity(strength)
        if severity is not None:
            period = lag * (points[-1].step - points[0].step) / (CYCLE_READINGS - 1)
            evidence = {"autocorrelation": strength, "period": period, f"swing_{name}": swing}
            # slow swings of means may be those of a schedule
            result.append(Detection(min(severity, HINT), 0.6, evidence))
    return result


@lru_cache(maxsize=16)
def _cycle_of_spans(values: tuple[float, ...]) -> tuple[float, int, float]:
    """Return swing, lag and strength of the strongest cycle of spans, which change only every few readings."""
    swing = float(np.std(values)) / max(abs(statistics.fmean(values)), 1e-12)
    return swing, *(strongest_cycle(values) if swing >= SWING else (0, 0.0))


def strongest_cycle(values: npt.ArrayLike) -> tuple[int, float]:
    """Return the lag of the strongest cycle and its strength max over lags of min(r(lag), −r(lag / 2)).

    r is the autocorrelation of the values after subtraction of their least-squares line. Lags are even, from 6 values
    to half of the series.
    """
    series = np.asarray(values, np.float64)
    count = len(series)
    time = np.arange(count) - (count - 1) / 2
    residual = series - series.mean()
    residual -= (residual @ time) / (time @ time) * time
    total = float(residual @ residual)
    if total <= 1e-24 * max(1.0, float(series @ series)):
        return 0, 0.0
    r = np.correlate(residual, residual, "full")[count - 1 :] / total * count / np.arange(count, 0, -1)
    lags = np.arange(6, count // 2 + 1, 2)
    strength = np.minimum(r[lags], -r[lags // 2])
    return int(lags[strength.argmax()]), float(strength.max())


def _is_uneven(steps: Sequence[int]) -> bool:
    gaps = [later - earlier for earlier, later in itertools.pairwise(steps)]
    return max(gaps) > 2 * max(1, min(gaps))


def detect_forgetting(history: SignalHistory) -> Detection | None:
    """Detect a discriminator that lost most of its ability to tell reals from fakes between two readings.

    Learning does not cause this. The cause is a step that destroyed or replaced its weights or its optimizer state.
    (Gradual forgetting appears as mode dropping: Thanh-Tung and Tran 2018.)
    """
    points = [point for point in history.recent if "rank_train_fake" in point.values][-READINGS_BEFORE - 1 :]
    gaps = [later.step - earlier.step for earlier, later in itertools.pairwise(points)]
    if len(points) <= READINGS_BEFORE or min(gaps) < STEPS_PER_READING or max(gaps) > min(gaps):
        return None
    *before, now = (point.values["rank_train_fake"] for point in points)
    level = statistics.median(before)
    if max(before) - min(before) > STEADY or level - now < DROP:
        return None
    severity = REMAINING.severity(max(now, 0.0) / level)
    if severity is None:
        return None
    return Detection(severity, 0.7, {"rank_train_fake": now, "rank_before": level}, since=points[-2].step)


DIVERGENCE = Symptom(
    id="divergence",
    order=10,
    detect=detect_divergence,
    reads=("non_finite", "loss_d", "loss_g", "rank_train_fake", "gradient_norm_g", "gradient_norm_d"),
    meaning="a loss or a gradient is not a finite number, or has left every scale; the training cannot recover",
    test="`non_finite` > 0 (severity 1); in a log without ranks and gradients also a loss of 10,000 times its usual "
    "size at three readings in a row, after at least 20",
    source="definition; 65,504 is the largest number of float16",
    advice="return to an earlier checkpoint, halve lr_g and lr_d, and turn on r1_gamma or gp_weight if it is off",
    loop_advice=(STOP_AT_NAN, HALVE_BOTH_LRS, CLIP_GRADIENTS, FULL_PRECISION),
    repair=Repair(
        (
            HALVE_LEARNING_RATES,
            (*HALVE_LEARNING_RATES, INCREASE_R1),
            (*HALVE_LEARNING_RATES, *HALVE_LEARNING_RATES, NO_MOMENTUM),
            (*HALVE_LEARNING_RATES, *HALVE_LEARNING_RATES, INCREASE_R1),
        ),
        is_sudden=True,
    ),
)

FORGETTING = Symptom(
    id="discriminator_forgetting",
    order=90,
    detect=detect_forgetting,
    reads=("rank_train_fake",),
    meaning="from one reading to the next the discriminator lost most of its ability to tell reals from fakes",
    test="`rank_train_fake` at one reading relative to the median of the four before it, which differ by at most 0.15; "
    "the drop is at least 0.2, and each reading averages at least 25 steps",
    scales={"rank_train_fake / median before": REMAINING},
    source="healthy and reset discriminators of benchmarks/rescue.py, seeds 100 and 101",
    advice="return to the checkpoint before the drop; if it happens again, reduce both learning rates",
    loop_advice=(CHECK_GRADIENTS, HALVE_BOTH_LRS),
    repair=Repair((), is_sudden=True),
)

OSCILLATION = Symptom(
    id="oscillation",
    order=110,
    detect=detect_oscillation,
    reads=("rank_train_fake", "loss_g", "loss_d"),
    meaning="the players cycle instead of converging",
    test="max over lags of min(r(lag), −r(lag / 2)), r the autocorrelation of `rank_train_fake`, `loss_g` or `loss_d` "
    "over the last 64 readings, once these are in the second half of the run so far; standard deviation at least 0.1 "
    "(of a loss: relative to its mean); in a long log also over 64 means of readings (severity at most 0.4)",
    scales={"autocorrelation": CYCLE},
    source="noise stays below 2 / √64 = 0.25 (Bartlett 1946); cycles of GANs: Mescheder 2018",
    advice="increase r1_gamma or gp_weight, reduce beta1 to 0 and both learning rates; use a longer ema_half_life",
    loop_advice=(LESS_MOMENTUM, HALVE_BOTH_LRS, ADD_R1, AVERAGE_WEIGHTS),
    repair=Repair(
        (
            (*HALVE_LEARNING_RATES, NO_MOMENTUM),
            (INCREASE_R1, *HALVE_LEARNING_RATES),
            (*HALVE_LEARNING_RATES, *HALVE_LEARNING_RATES),
        ),
        rolls_back=False,
    ),
)
