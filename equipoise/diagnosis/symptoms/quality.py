"""The symptom plateau: no more improvement of a metric."""

from equipoise.diagnosis.code_changes import DECAY_BOTH_LRS, KEEP_BEST
from equipoise.diagnosis.criteria.metric_quality import has_best, has_improved
from equipoise.diagnosis.history import SignalHistory
from equipoise.diagnosis.symptom import MILD, Detection, Symptom

PLATEAU = 0.4
"""Minimum share of the run, and of its measurements, since the best value."""
PLATEAU_MEASUREMENTS = 8
"""Smallest number of measurements for a plateau."""


def detect_plateau(history: SignalHistory) -> Detection | None:
    """Detect a metric that had improved, and has not for a large part of the run."""
    for name, metric in history.metrics.items():
        late = sum(1 for measurement in metric.values if measurement.step > metric.best.step)
        waited = (history.step - metric.best.step) / max(1, history.step)
        if metric.count >= PLATEAU_MEASUREMENTS and waited >= PLATEAU and late >= PLATEAU * metric.count:
            if not has_best(name, metric) or not has_improved(name, metric):
                continue
            return Detection(MILD, 0.6, {f"{name}_best": metric.best.value, "share_of_run_since": waited})
    return None


PLATEAU_SYMPTOM = Symptom(
    id="plateau",
    order=120,
    detect=detect_plateau,
    reads=("metrics",),
    excludes=("collapse", "broken_metric"),
    meaning="the metric has not improved for a large part of the run",
    test="at least 40 % of the run, and of its measurements (eight or more), have passed since the best value of a "
    "metric (severity 0.2)",
    source="convention, not calibrated",
    advice="stop, and use the best checkpoint; or let the learning rates fall (annealed) for the last few per cent",
    loop_advice=(KEEP_BEST, DECAY_BOTH_LRS),
)
