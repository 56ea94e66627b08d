"""The symptom plateau: no more improvement of a metric, or a moderate loss of quality that lasts."""

from equipoise.diagnosis.code_changes import DECAY_BOTH_LRS, KEEP_BEST
from equipoise.diagnosis.criteria.metric_quality import current_quality_loss, has_best, has_improved, measurements_of
from equipoise.diagnosis.history import MetricRecord, SignalHistory
from equipoise.diagnosis.symptom import HINT, MILD, Detection, Symptom

PLATEAU_SHARE = 0.4
"""Minimum share of the run, and of its measurements, since the best value."""
PLATEAU_MEASUREMENTS = 8
"""Smallest number of measurements for a plateau."""
DECLINED, DECLINE_SHARE = 1.25, 0.2
"""Ratio to the best of all measurements of the last fifth of the run: the same as of a smaller loss of a collapse."""
DEVIATIONS = 3.0
"""Standard errors by which a loss exceeds the noise of the metric: chance reaches them in 1 of 700 cases."""


def detect_plateau(history: SignalHistory) -> Detection | None:
    """Detect a metric that had improved, and has not for a large part of the run, or is moderately worse since then."""
    for name, metric in history.metrics.items():
        if has_best(name, metric) and (decline := _decline(history, name, metric)):
            return decline
        late = sum(1 for measurement in metric.values if measurement.step > metric.best.step)
        waited = (history.step - metric.best.step) / max(1, history.step)
        if metric.count >= PLATEAU_MEASUREMENTS and waited >= PLATEAU_SHARE and late >= PLATEAU_SHARE * metric.count:
            if not has_best(name, metric) or not has_improved(name, metric):
                continue
            return Detection(MILD, 0.6, {f"{name}_best": metric.best.value, "share_of_run_since": waited})
    return None


def _decline(history: SignalHistory, name: str, metric: MetricRecord) -> Detection | None:
    """Detect that all measurements of the last fifth of the run are clearly worse than the best."""
    loss = current_quality_loss(measurements_of(name, metric), DECLINED)
    length = history.step / max(history.progress, 1e-9)
    if loss is None or len(loss.tail) < 2 or loss.duration < DECLINE_SHARE * length - 1e-6:
        return None
    if loss.deviations(len(loss.tail)) < DEVIATIONS:
        return None
    evidence = {name: metric.values[-1].value, f"{name}_best": metric.best.value}
    return Detection(HINT, 0.8, evidence, since=loss.tail[0].step)


PLATEAU = Symptom(
    id="plateau",
    order=120,
    detect=detect_plateau,
    reads=("metrics",),
    excludes=("collapse", "broken_metric"),
    meaning="the metric has not improved for a large part of the run, or is moderately worse since then",
    test="at least 40 % of the run, and of its measurements (eight or more), have passed since the best value of a "
    "metric (severity 0.2); or all measurements of the last fifth of the run are at least 1.25 times as bad as the "
    "best, and by three standard errors, without a collapse (0.4)",
    source="shares of a run: convention, not calibrated; noise: as of a collapse",
    advice="stop, and use the best checkpoint; or let the learning rates fall (annealed) for the last few per cent",
    loop_advice=(KEEP_BEST, DECAY_BOTH_LRS),
)
