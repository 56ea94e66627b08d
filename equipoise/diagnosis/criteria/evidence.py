"""Evidence of health: what a history must contain before a run without serious findings is called healthy.

Losses never suffice: the same losses go with good and with worthless samples, and those of Wasserstein and contrastive
games have no level at all. What suffices is a metric of quality that has improved and is still near its best, or
statistics of the samples themselves.
"""

import statistics

from equipoise.diagnosis.criteria.metric_quality import has_improved, is_broken, measurements_of, quality_reached
from equipoise.diagnosis.history import MetricRecord, SignalHistory

MIN_MEASUREMENTS = 5
"""Smallest number of measurements of a metric: the noise is estimated from at least three triples of successive ones,
and without the noise an improvement cannot be distinguished from chance."""
NEAR_BEST = 0.223
"""Cost, log 1.25, up to which the median of the last three measurements is near the best; while they improve, the last
one decides, because the others are those of earlier states."""
MIN_READINGS = 5
"""Smallest number of readings with sample statistics."""
DIVERSE = 0.5
"""Diversity of fakes relative to reals from which they count as diverse, as in the symptom mode_collapse."""
COVERED = 0.2
"""Coverage that single readings of 128 reals may reach by chance, as in the symptom mode_dropping."""
REMEDY = "log a held-out FID or KID at least ten times a run"


def evidence_of_health(history: SignalHistory) -> str:
    """Return "" if a history contains enough evidence of health, else what is missing and what to log, in a sentence.

    Without a full stop. Findings are not considered.
    """
    if _has_good_samples(history):
        return ""
    reasons = [_missing_in_metric(history, name, record) for name, record in history.metrics.items()]
    if "" in reasons:
        return ""
    if reasons:
        return reasons[0]
    if "diversity" in _names(history) or "coverage" in _names(history):
        return f"the samples are not shown to be diverse and near the reals; {REMEDY}"
    return f"{_what_is_known(history)}; {REMEDY}"


def _missing_in_metric(history: SignalHistory, name: str, record: MetricRecord) -> str:
    """Return why a metric is no evidence of health, and what to do; "" if it is."""
    measurements = measurements_of(name, record)
    if is_broken(name, record):
        return f"the values of {name} are impossible; correct its computation and log it again"
    if len(measurements) < MIN_MEASUREMENTS:
        count = len(measurements)
        times = "once" if count == 1 else f"{count} times"
        return (
            f"{name} was measured only {times}, and a trend needs {MIN_MEASUREMENTS}; log it at least ten times a run"
        )
    best = quality_reached(name, record)
    if best is None or not has_improved(name, record):
        begins = history.spans[0].step if history.spans else history.step
        remedy = "log it from the start of the run" if begins > 0.05 * history.step else "log it for longer"
        return f"{name} has not improved since its first value by more than its noise; {remedy}"
    recent = [measurement.cost for measurement in measurements[-3:]]
    now = recent[-1] if recent == sorted(recent, reverse=True) else statistics.median(recent)
    if now - best.level <= max(NEAR_BEST, 2 * best.noise):
        return ""
    return f"{name} is no longer near its best value; measure it again, or use the checkpoint at the best value"


def _has_good_samples(history: SignalHistory) -> bool:
    """Return whether recent samples are diverse and near the reals."""
    diversity, coverage = history.last("diversity", MIN_READINGS), history.last("coverage", MIN_READINGS)
    if min(len(diversity), len(coverage)) < MIN_READINGS:
        return False
    return statistics.median(diversity) >= DIVERSE and statistics.median(coverage) > COVERED


def _names(history: SignalHistory) -> set[str]:
    return {name for point in history.recent for name in point.values}


def _what_is_known(history: SignalHistory) -> str:
    """Return in words that losses, ranks or probabilities say nothing about the quality."""
    names = _names(history)
    if not names:
        return "there are no readings" if not history.recent else "there is no measure of quality"
    if len(history.recent) < MIN_READINGS:
        count = len(history.recent)
        return f"there {'is only 1 reading' if count == 1 else f'are only {count} readings'} and no measure of quality"
    if history.loss_caveat:
        return f"there is no measure of quality, and the losses cannot tell: {history.loss_caveat}"
    if "loss_d" in names and history.levels.lowest_d < 0:
        return "there is no measure of quality, and losses without a lower bound cannot tell"
    return "there is no measure of quality, and losses cannot tell"
