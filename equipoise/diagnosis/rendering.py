"""Diagnoses as dictionaries for JSON and as text for the terminal."""

import math
from collections.abc import Mapping

from equipoise.core.observations import SERIOUS, Finding
from equipoise.diagnosis.diagnose import RunDiagnosis, SymptomEpisode
from equipoise.diagnosis.symptoms import SYMPTOMS


def episode_to_dict(episode: SymptomEpisode, unit: str = "step") -> dict[str, object]:
    """Return an episode as a dictionary for JSON. `unit`: unit of the steps of the log, such as "epoch"."""
    finding = episode.finding
    symptom = SYMPTOMS[finding.symptom]
    return {
        "symptom": finding.symptom,
        "severity": round(finding.severity, 3),
        "since": finding.since,
        "until": episode.until,
        "times": episode.count,
        "unit": unit,
        "confidence": round(finding.confidence, 3),
        "evidence": {name: _json_number(value) for name, value in finding.evidence.items()},
        "meaning": symptom.meaning,
        "advice": symptom.advice,
        "loop_advice": [{"action": change.action, "code": change.code} for change in symptom.loop_advice],
    }


def format_episode(episode: SymptomEpisode, unit: str = "step") -> list[str]:
    """Format an episode as lines of text: what and when, the evidence, the confidence, and the advice."""
    finding, symptom = episode.finding, SYMPTOMS[episode.finding.symptom]
    until = "to the end" if episode.until is None else f"to {episode.until:,}"
    times = f", {episode.count:,} times" if episode.count > 1 else ""
    evidence = ", ".join(f"{name} = {_format_number(value)}" for name, value in finding.evidence.items())
    changes = [f"    {change.action}" for change in symptom.loop_advice]
    return [
        f"{finding.symptom}  from {unit} {finding.since:,} {until}{times}  ({_format_severity(finding)}, "
        f"confidence {finding.confidence:.0%})",
        f"  {symptom.meaning}",
        f"  evidence: {evidence}",
        f"  what to change: {symptom.advice}",
        "  in a custom training loop:",
        *changes,
    ]


def format_diagnosis(
    diagnosis: RunDiagnosis, log_format: str, unit: str = "step", notes: Mapping[str, str] | None = None
) -> str:
    """Format the diagnosis of a run as text: a head line, `notes` on the log (name: text), and all episodes."""
    head = f"{log_format}: {diagnosis.readings:,} readings up to {unit} {diagnosis.step:,}"
    body = [line for episode in diagnosis.episodes for line in ("", *format_episode(episode, unit))]
    lines = [f"{name}: {text}" for name, text in (notes or {}).items()]
    missing = f" ({diagnosis.missing})" if diagnosis.missing else ""
    body = body or ["", "no symptoms detected"]
    return "\n".join([f"{head}; final verdict: {diagnosis.verdict}{missing}", *lines, *body])


def _format_severity(finding: Finding) -> str:
    if finding.severity == 0:
        return "for information, not a problem"
    return f"{'serious' if finding.severity >= SERIOUS else 'mild'}, severity {finding.severity:.2f}"


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else repr(value)


def _format_number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
