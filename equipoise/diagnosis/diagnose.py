"""Detection of all symptoms: at one reading of a live run, or at all readings of a run or a log.

    history = SignalHistory()
    for step, progress, signals in readings:
        health, history = diagnose(history, step, progress, signals)

A symptom whose signals are missing is not detected. Each reading is diagnosed only from the past, so a live run and its
log give the same findings. At a rollback a new history starts.
"""

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from equipoise.core.observations import Finding, Health, SignalReading, Signals, Verdict
from equipoise.diagnosis.exclusions import reconcile
from equipoise.diagnosis.history import MetricPoint, SignalHistory, append_reading
from equipoise.diagnosis.symptoms import SYMPTOMS
from equipoise.diagnosis.symptoms.data import DATA_OUT_OF_RANGE

MIN_READINGS = 5
"""Smallest number of readings without a finding that are called healthy: trends need as many."""
RunVerdict = Verdict | Literal["unknown"]


def diagnose(history: SignalHistory, step: int, progress: float, signals: Signals) -> tuple[Health, SignalHistory]:
    """Return the findings after one more reading, and the history extended by it.

    `step` increases from reading to reading; `progress` is in [0, 1]. `since` of a finding is the step of the first of
    the consecutive readings that detected it, or an earlier step if the evidence shows one.
    """
    history = append_reading(history, step, progress, signals)
    findings = []
    for symptom in SYMPTOMS.values():
        if detection := symptom.detect(history):
            since = history.since.get(symptom.id, step) if detection.since is None else detection.since
            finding = Finding(symptom.id, detection.severity, detection.evidence, since, detection.confidence)
            findings.append(finding)
    remaining = reconcile(findings)
    history = dataclasses.replace(history, since={finding.symptom: finding.since for finding in remaining})
    return Health(remaining), history


@dataclass(frozen=True, slots=True)
class SymptomEpisode:
    """All findings of one symptom in a run.

    `finding`: the most severe finding, with the step of the first one as `since`. `until`: the step of the last
    reading that detected it, None if that is the last reading of the log. `count`: number of separate periods.
    """

    finding: Finding
    until: int | None
    count: int = 1


@dataclass(frozen=True, slots=True)
class RunDiagnosis:
    """Diagnosis of a whole run: episodes, number of readings, last step, and final verdict.

    The episode of the data comes first, the others in order of time. `missing`: what is missing for a verdict if it is
    unknown. `best`: step and value of the best measurement of each metric that has a finite value.
    """

    episodes: tuple[SymptomEpisode, ...]
    readings: int
    step: int
    verdict: RunVerdict
    missing: str = ""
    best: Mapping[str, MetricPoint] = field(default_factory=dict)


def sort_readings(readings: Iterable[SignalReading]) -> tuple[list[SignalReading], bool]:
    """Return readings in ascending order of steps, and whether they were in another order."""
    given = list(readings)
    result = sorted(given, key=lambda reading: reading.step)
    return result, [reading.step for reading in given] != [reading.step for reading in result]


def diagnose_run(
    readings: Iterable[SignalReading],
    reals: Mapping[str, float] | None = None,
    restarts: Collection[int] = (),
) -> RunDiagnosis:
    """Diagnose readings in order, and combine the findings of each symptom into an episode.

    `reals`: statistics of the first reals of the run, if their range is unusual. `restarts`: steps after whose reading
    the run was rolled back: later readings form a new history, as in the live run. Without a finding, the verdict of
    fewer than MIN_READINGS readings is unknown.
    """
    history, step, count = SignalHistory(reals=reals or {}), 0, 0
    verdict: Verdict = "healthy"
    episodes: dict[str, SymptomEpisode] = {}
    current: frozenset[str] = frozenset()
    has_diverged = False
    for reading in readings:
        health, history = diagnose(history, *reading)
        step, count, previous, verdict = reading.step, count + 1, current, health.verdict
        current = frozenset(finding.symptom for finding in health.findings)
        for finding in health.findings:
            is_continued = finding.symptom in previous
            episodes[finding.symptom] = _extend(episodes.get(finding.symptom), finding, step, is_continued)
        has_diverged = has_diverged or verdict == "diverged"
        if step in restarts:
            history, current, has_diverged = SignalHistory(reals=history.reals), frozenset(), False
    order = sorted(episodes.values(), key=_episode_order)
    best = {name: metric.best for name, metric in history.metrics.items() if math.isfinite(metric.best.value)}
    ended = tuple(
        dataclasses.replace(episode, until=None if episode.until == step else episode.until) for episode in order
    )
    if not episodes and count < MIN_READINGS:
        missing = (
            "there are no readings"
            if not count
            else f"there {'is' if count == 1 else 'are'} only {count} reading{'s' * (count != 1)}"
        )
        return RunDiagnosis((), count, step, "unknown", f"{missing}; at least {MIN_READINGS} are needed", best)
    final = "diverged" if has_diverged else verdict
    return RunDiagnosis(ended, count, step, final, best=best)


def _episode_order(episode: SymptomEpisode) -> tuple[bool, int, float]:
    """Return a sort key: what the data show comes first, because it may be the cause of all others; then by time."""
    return episode.finding.symptom != DATA_OUT_OF_RANGE.id, episode.finding.since, -episode.finding.severity


def _extend(episode: SymptomEpisode | None, finding: Finding, step: int, is_continued: bool) -> SymptomEpisode:
    """Add a finding to an episode."""
    if episode is None:
        return SymptomEpisode(finding, step)
    worst = finding if finding.severity > episode.finding.severity else episode.finding
    worst = dataclasses.replace(worst, since=episode.finding.since)
    return SymptomEpisode(worst, step, episode.count + (0 if is_continued else 1))
