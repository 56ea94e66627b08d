"""The symptom collapse: a lasting loss of sample quality, by a metric.

Measurements are the unit of evidence, not steps: rows of a log without a new measurement show nothing new.

A loss is real if it is far outside the noise of the metric in this run. It lasts if a second measurement confirms it;
where measurements are so rare that this would take a tenth of the run, or none follows, one that is much worse
suffices, or a smaller one while the losses show that the discriminator has won. A lasting loss that is clearly smaller
than `large` is a plateau. From losses alone nothing follows about the quality.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from equipoise.diagnosis.adjustments import RESTORE_DIVERSITY
from equipoise.diagnosis.code_changes import ADD_R1, AUGMENT, KEEP_BEST, QUARTER_LR_OF_D, SPECTRAL_NORM
from equipoise.diagnosis.criteria.discriminator_win import loss_jump, win_evidence, won_share
from equipoise.diagnosis.criteria.metric_quality import (
    MetricCost,
    QualityLoss,
    current_quality_loss,
    is_broken,
    measurements_of,
)
from equipoise.diagnosis.history import SignalHistory
from equipoise.diagnosis.symptom import Detection, Repair, SeverityScale, Symptom


@dataclass(frozen=True, slots=True)
class CollapseCriteria:
    """Thresholds of a collapse, from arguments; benchmarks/field_logs.md says which were revised on runs.

    Ratios value / best, where 1 is as good as the best: below `small` a loss is of no practical importance; `large` is
    the usual one-line rule; `huge` needs no second look. `deviations`: standard errors by which a loss must exceed the
    noise; 3 are exceeded by chance once in 740 measurements. `confirmed`: share of the run that a loss beyond `large`
    must last, unless the run ends, so that an alarm costs less than a tenth of the run and one that recovers at once is
    none. `lasting`: the same for a loss that is smaller, by less than two standard errors. `rare`: planned number of
    measurements in a run up to which a single one suffices: the second one of a loss comes one and a half intervals
    after its onset on average, a tenth of the run. `frequent`: number from which even a `huge` loss must be confirmed,
    because that takes at most 7 % of the run; between the two a single one must be `huge`.
    """

    small: float = 1.25
    large: float = 1.5
    huge: float = 2.0
    deviations: float = 3.0
    confirmed: float = 0.03
    lasting: float = 0.2
    rare: float = 15.0
    frequent: float = 22.0


COLLAPSE_CRITERIA = CollapseCriteria()
WARM_UP = 0.1
"""Share of the run in which the first measurements may fluctuate before the metric has improved."""
RECOVERED = 1.15
"""Ratio below which a single measurement shows that a run has recovered; two below `small` do, too."""
WORST = 3.0
"""Ratio value / best at which the severity is 1; collapsed runs of the field logs end at 2.8 to 5."""
COLLAPSE_RATIO = SeverityScale(COLLAPSE_CRITERIA.small, COLLAPSE_CRITERIA.large, WORST)
"""Ratio value / best of a metric; 1 is as good as the best so far."""
MIN_SEVERITY = 0.6


def detect_collapse(history: SignalHistory, criteria: CollapseCriteria = COLLAPSE_CRITERIA) -> Detection | None:
    """Detect a lasting loss of quality. The finding persists until the quality has recovered."""
    detections = [detection for name in history.metrics if (detection := _by_metric(history, name, criteria))]
    return max(detections, key=lambda detection: detection.severity, default=None)


def _by_metric(history: SignalHistory, name: str, criteria: CollapseCriteria) -> Detection | None:
    """Detect a collapse by one metric, together with the losses."""
    metric = history.metrics[name]
    measurements = measurements_of(name, metric)
    if metric.repeats and not metric.is_carried and measurements:
        measurements = (*measurements, MetricCost(history.step, measurements[-1].cost))
    if len(measurements) < 2 or is_broken(name, metric):
        return None
    loss = current_quality_loss(measurements, criteria.small)
    since = history.since.get("collapse")
    if since is None:
        if loss is None or not _is_collapse(history, measurements, loss, criteria):
            return None
        since = loss.tail[0].step
    elif _has_recovered(measurements, criteria):
        return None
    ratio = math.exp(measurements[-1].cost - min(cost for _, cost in measurements))
    twice = loss.ratio(2) if loss else ratio
    severity = max(MIN_SEVERITY, COLLAPSE_RATIO.severity(min(ratio, twice, WORST)) or 0.0)
    confidence = 0.7 if loss is None else 0.9 if len(loss.tail) > 1 and twice >= criteria.large else 0.8
    evidence = {name: metric.values[-1].value, f"{name}_at_best": metric.best.value}
    losses = win_evidence(history, won_share(history), loss_jump(history))
    return Detection(severity, confidence, {**evidence, **losses}, since)


def _is_collapse(
    history: SignalHistory, measurements: Sequence[MetricCost], loss: QualityLoss, criteria: CollapseCriteria
) -> bool:
    """Return whether a loss of quality is real and lasts."""
    count, length = len(loss.tail), history.step / max(history.progress, 1e-9)
    if loss.deviations(min(count, 10)) < criteria.deviations:
        return False
    gap = (measurements[-1].step - measurements[0].step) / (len(measurements) - 1)
    if count >= 2 and _is_lasting(history, loss, length, criteria):
        return True
    is_last, ratio = history.step + gap > length, loss.ratio(1)
    if gap * criteria.frequent < length:
        return is_last and ratio >= criteria.huge
    if _is_warming_up(measurements, loss) and measurements[-1].step < WARM_UP * length:
        return ratio >= criteria.huge
    is_rare = is_last or gap * criteria.rare >= length
    return ratio >= (criteria.large if is_rare else criteria.huge) or bool(won_share(history) or loss_jump(history))


def _is_lasting(history: SignalHistory, loss: QualityLoss, length: float, criteria: CollapseCriteria) -> bool:
    """Return whether a loss of two or more measurements lasts: for long enough, or until the end of the run."""
    share = loss.duration / length + 1e-6
    if loss.ratio(2) >= criteria.large and (share >= criteria.confirmed or history.step >= length - 1e-6):
        return True
    return share >= criteria.lasting and loss.may_be(criteria.large)


def _is_warming_up(measurements: Sequence[MetricCost], loss: QualityLoss) -> bool:
    """Return whether the best measurement is not yet better than the first by more than noise."""
    return measurements[0].cost - loss.baseline.best.cost < 2 * math.sqrt(2) * loss.baseline.noise


def _has_recovered(measurements: Sequence[MetricCost], criteria: CollapseCriteria) -> bool:
    """Return whether the quality is back: one measurement close to the best, or two without a loss."""
    best = min(cost for _, cost in measurements)
    last, *before = (measurement.cost - best for measurement in reversed(measurements[-2:]))
    return last < math.log(RECOVERED) or max(last, *before) < math.log(criteria.small)


COLLAPSE = Symptom(
    id="collapse",
    order=40,
    detect=detect_collapse,
    reads=("metrics", "loss_d", "loss_g"),
    meaning="the sample quality has dropped and not recovered",
    test="a metric worse than its best by at least three standard errors (noise from the turns of its logarithm; the "
    "best corrected for being the best of several), **and** one of: two measurements in a row, over at least 3 % of "
    "the run or at its end, 1.5 times as bad as the best; all measurements of a fifth of the run at least 1.25 times, "
    "and their mean 1.5 times within two standard errors; a single measurement 1.5 times as bad, with at most 15 "
    "measurements in the run (1.25 times while the discriminator has won by its losses), or twice, with at most 22, in "
    "the first tenth of the run before the metric has improved, or if no other one follows (severity at least 0.6)",
    scales={"metric / best": COLLAPSE_RATIO},
    source="sampling error of FID (Chong and Forsyth 2020; Karras 2022, appendix F); tested on 25 published logs "
    "and on logs derived from them (benchmarks/field_logs.md)",
    advice="return to the best checkpoint and change the settings before you resume: increase augment_p, multiply "
    "r1_gamma by two to four, reduce lr_d; without a change, the quality will not exceed that of the best checkpoint",
    loop_advice=(KEEP_BEST, QUARTER_LR_OF_D, ADD_R1, AUGMENT, SPECTRAL_NORM),
    repair=Repair(RESTORE_DIVERSITY, combines_first_rung=True),
)
