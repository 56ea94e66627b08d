"""Detection of all symptoms: at one reading of a live run, or at all readings of a run or a log.

    history = SignalHistory()
    for step, progress, signals in readings:
        health, history = diagnose(history, step, progress, signals)

A symptom whose signals are missing is not detected. Each reading is diagnosed only from the past, so a live run and its
log give the same findings. At a rollback a new history starts.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from equipoise.core.observations import SERIOUS, Finding, Health, SignalReading, Signals, Verdict
from equipoise.diagnosis.criteria.evidence import evidence_of_health
from equipoise.diagnosis.criteria.metric_quality import has_best
from equipoise.diagnosis.episodes import EpisodeRecorder, SymptomEpisode
from equipoise.diagnosis.exclusions import reconcile
from equipoise.diagnosis.history import MetricPoint, SignalHistory, append_reading
from equipoise.diagnosis.symptoms import SYMPTOMS


def diagnose(history: SignalHistory, step: int, progress: float, signals: Signals) -> tuple[Health, SignalHistory]:
    """Return the findings after one more reading, and the history extended by it.

    Without a serious finding the health says which evidence is missing to call the run healthy.

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
    is_serious = any(finding.severity >= SERIOUS for finding in remaining)
    return Health(remaining, "" if is_serious else evidence_of_health(history)), history


@dataclass(frozen=True, slots=True)
class RunDiagnosis:
    """Diagnosis of a whole run: episodes, number of readings, last step, and final verdict.

    The episode of the data comes first, the others in order of time. `missing`: what is missing for a verdict if it is
    unknown, and what to log. `best`: the best measurement of each metric that is not broken.
    """

    episodes: tuple[SymptomEpisode, ...]
    readings: int
    step: int
    verdict: Verdict
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
    loss_caveat: str = "",
) -> RunDiagnosis:
    """Diagnose readings in order, and combine the findings of each symptom into an episode.

    `reals`: statistics of the first reals of the run, if their range is unusual. `restarts`: steps after whose reading
    the run was rolled back: later readings form a new history, as in the live run. `loss_caveat`: why the level of the
    discriminator's loss says nothing; "" if it does. The verdict follows from the serious findings that are present at
    the end; without any, the run is healthy if there is evidence of it, else unknown.
    """
    history, step, count = SignalHistory(reals=reals or {}, loss_caveat=loss_caveat), 0, 0
    recorder, has_diverged = EpisodeRecorder(), False
    for reading in readings:
        health, history = diagnose(history, *reading)
        step, count = reading.step, count + 1
        recorder.add(health.findings, history)
        has_diverged = has_diverged or health.verdict == "diverged"
        if step in restarts:
            history, has_diverged = SignalHistory(reals=history.reals, loss_caveat=loss_caveat), False
            recorder.restart()
    episodes = recorder.episodes()
    best = {name: record.best for name, record in history.metrics.items() if has_best(name, record)}
    if has_diverged:
        return RunDiagnosis(episodes, count, step, "diverged", best=best)
    if any(episode.until is None and episode.finding.severity >= SERIOUS for episode in episodes):
        return RunDiagnosis(episodes, count, step, "unhealthy", best=best)
    missing = evidence_of_health(history)
    return RunDiagnosis(episodes, count, step, "unknown" if missing else "healthy", missing, best)
