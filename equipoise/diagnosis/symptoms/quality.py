"""Symptoms of sample quality over time: collapse (a lasting loss of quality) and plateau (no more improvement).

Both use only the readings so far. A metric far from its best value is sufficient evidence of a collapse. Metrics are
measured rarely, so weaker evidence suffices while the losses show that the discriminator has won: a small loss of
quality is then the beginning of a large one. Without a metric, nothing is known about the quality.
"""

import math

from equipoise.diagnosis.adjustments import RESTORE_DIVERSITY
from equipoise.diagnosis.code_changes import (
    ADD_R1,
    AUGMENT,
    DECAY_BOTH_LRS,
    KEEP_BEST,
    QUARTER_LR_OF_D,
    SPECTRAL_NORM,
)
from equipoise.diagnosis.discriminator_win import loss_jump, win_evidence, won_share
from equipoise.diagnosis.history import COLLAPSE_CRITERIA, CollapseCriteria, MetricRecord, SignalHistory
from equipoise.diagnosis.symptom import MILD, Detection, Repair, SeverityScale, Symptom

WORST = 3.0
"""Ratio value / best at which the severity is 1; collapsed runs of the field logs end at 2.8 to 5."""
COLLAPSE_RATIO = SeverityScale(COLLAPSE_CRITERIA.ratio_twice, COLLAPSE_CRITERIA.ratio, WORST)
"""Ratio value / best of a metric; 1 is as good as the best so far."""
LEAST_SEVERITY = 0.6
LEAST_SCORE = 0.05
"""Values of a metric where higher is better are raised to at least this before ratios are computed."""
NOISE_FACTOR = 5
"""A kernel distance to 1,000 digits has a standard error of about 0.003 near 0. The default recipe's first value is
0.03; with a twentieth of it as the floor, a good run with 0.0031, 0.0040 and 0.0039 was called a collapse."""
LASTING = 0.05
"""All values in this last share of the run so far must be worse, because frequent measurements show the noise of a
metric."""
PLATEAU = 0.4
"""Minimum share of the run, and of its measurements, since the best value."""
PLATEAU_MEASUREMENTS = 8
"""Smallest number of measurements for a plateau."""


def detect_collapse(history: SignalHistory, criteria: CollapseCriteria = COLLAPSE_CRITERIA) -> Detection | None:
    """Detect a lasting loss of quality. The finding persists until the quality has recovered."""
    won, jump = won_share(history), loss_jump(history)
    by_metric = [_by_metric(history, name, won, jump, criteria) for name in history.metrics]
    detections = [detection for detection in by_metric if detection]
    return max(detections, key=lambda detection: detection.severity, default=None)


def detect_plateau(history: SignalHistory) -> Detection | None:
    """Detect a metric that has not improved for a large part of the run."""
    for name, metric in history.metrics.items():
        late = sum(1 for measurement in metric.values if measurement.step > metric.best.step)
        waited = (history.step - metric.best.step) / max(1, history.step)
        if metric.count >= PLATEAU_MEASUREMENTS and waited >= PLATEAU and late >= PLATEAU * metric.count:
            return Detection(MILD, 0.6, {f"{name}_best": metric.best.value, "share_of_run_since": waited})
    return None


def _by_metric(
    history: SignalHistory, name: str, won: float, jump: float, criteria: CollapseCriteria
) -> Detection | None:
    """Detect a collapse by one metric, together with the losses."""
    metric = history.metrics[name]
    ratios = [quality_ratio(name, metric, measurement.value) for measurement in metric.values]
    late = sum(1 for measurement in metric.values if measurement.step > (1 - LASTING) * history.step)
    worse = min(ratios[-max(1, late) :])
    twice = min(ratios[-max(2, late) :])
    alone = worse >= criteria.ratio or twice >= criteria.ratio_twice
    with_losses = worse >= criteria.ratio_won if won or jump else False
    won_long = worse >= criteria.ratio_won_long and won >= criteria.won_share
    lasting = worse >= criteria.ratio_won and "collapse" in history.since
    if not (alone or with_losses or won_long or lasting):
        return None
    scale = SeverityScale(criteria.ratio_twice, criteria.ratio, WORST)
    severity = max(LEAST_SEVERITY, scale.severity(min(worse, WORST)) or 0.0)
    confidence = 0.9 if twice >= criteria.ratio else 0.8 if alone else 0.7
    evidence = {name: metric.values[-1].value, f"{name}_at_best": metric.best.value}
    return Detection(severity, confidence, {**evidence, **win_evidence(history, won, jump)})


def quality_ratio(name: str, metric: MetricRecord, value: float) -> float:
    """Return how many times worse a value is than the best so far: 1 if equally good, infinity if not finite.

    value / best, or best / value where higher is better. Kernel distances are unbiased, so their best values scatter
    around 0; the best counts as at least a fifth of the first value. Metrics where higher is better (most are shares)
    count as at least 0.05.
    """
    best = metric.best.value
    if not math.isfinite(value):
        return math.inf
    if metric.better == "higher":
        return max(best, LEAST_SCORE) / max(value, LEAST_SCORE)
    floor = max(best, abs(metric.first.value) / NOISE_FACTOR) if name.startswith(("kd_", "kid")) else best
    return value / floor if floor > 0 else 1.0


COLLAPSE = Symptom(
    id="collapse",
    order=40,
    detect=detect_collapse,
    reads=("metrics", "loss_d", "loss_g"),
    meaning="the sample quality has dropped and not recovered",
    test="a metric at least 1.5 times as bad as its best, or 1.25 times at two measurements in a row; 1.15 times while "
    "the discriminator has won by its losses, 1.05 times once it has won for half of the run (severity at least 0.6)",
    scales={"metric / best": COLLAPSE_RATIO},
    source="25 published logs, one run left out at a time (benchmarks/field_logs.md)",
    advice="return to the best checkpoint and change the settings before you resume: increase augment_p, multiply "
    "r1_gamma by two to four, reduce lr_d; without a change, the quality will not exceed that of the best checkpoint",
    loop_advice=(KEEP_BEST, AUGMENT, ADD_R1, QUARTER_LR_OF_D, SPECTRAL_NORM),
    repair=Repair(RESTORE_DIVERSITY, combines_first_rung=True),
)

PLATEAU_SYMPTOM = Symptom(
    id="plateau",
    order=120,
    detect=detect_plateau,
    reads=("metrics",),
    meaning="the metric has not improved for a large part of the run",
    test="at least 40 % of the run, and of its measurements (eight or more), have passed since the best value of a "
    "metric (severity 0.2)",
    source="convention, not calibrated",
    advice="stop, and use the best checkpoint; or let the learning rates fall (annealed) for the last few per cent",
    loop_advice=(KEEP_BEST, DECAY_BOTH_LRS),
)
