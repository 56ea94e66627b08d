"""The course of a run: every symptom that was found from its first reading to its last, read forwards."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from equipoise.core.observations import SERIOUS, Finding, Verdict
from equipoise.diagnosis.advice import ADVICE
from equipoise.diagnosis.history import History
from equipoise.diagnosis.symptoms import diagnose
from equipoise.diagnosis.trace import Reading


@dataclass(frozen=True, slots=True)
class Episode:
    """A symptom over a run. `finding`: as it was at its worst, its `since` the first step at which it was found.

    `until`: the last step at which it was found, None if that is the last of the log. `times`: how often it came.
    """

    finding: Finding
    until: int | None
    times: int = 1


@dataclass(frozen=True, slots=True)
class Course:
    """What happened: `episodes` in order of time; the log went up to `step`, and how it stood there."""

    episodes: tuple[Episode, ...]
    readings: int
    step: int
    verdict: Verdict


def course(readings: Iterable[Reading]) -> Course:
    """Diagnose readings one after the other and gather what was found."""
    history, step, count = History(), 0, 0
    verdict: Verdict = "healthy"
    gathered: dict[str, Episode] = {}
    now: frozenset[str] = frozenset()
    for reading in readings:
        health, history = diagnose(history, *reading)
        step, count, before, verdict = reading.step, count + 1, now, health.verdict
        now = frozenset(finding.symptom for finding in health.findings)
        for finding in health.findings:
            gathered[finding.symptom] = _joined(gathered.get(finding.symptom), finding, step, finding.symptom in before)
    order = sorted(gathered.values(), key=lambda each: (each.finding.since, -each.finding.severity))
    ended = tuple(dataclasses.replace(each, until=None if each.until == step else each.until) for each in order)
    return Course(ended, count, step, "diverged" if "divergence" in gathered else verdict)


def _joined(earlier: Episode | None, finding: Finding, step: int, goes_on: bool) -> Episode:
    """An episode with one more finding in it."""
    if earlier is None:
        return Episode(finding, step)
    worst = finding if finding.severity > earlier.finding.severity else earlier.finding
    worst = dataclasses.replace(worst, since=earlier.finding.since)
    return Episode(worst, step, earlier.times + (0 if goes_on else 1))


def told(episode: Episode, unit: str = "step") -> dict[str, object]:
    """An episode as JSON has it."""
    finding = episode.finding
    advice = ADVICE[finding.symptom]
    return {
        "symptom": finding.symptom,
        "severity": round(finding.severity, 3),
        "since": finding.since,
        "until": episode.until,
        "times": episode.times,
        "unit": unit,
        "confidence": round(finding.confidence, 3),
        "evidence": {name: _plain(value) for name, value in finding.evidence.items()},
        "meaning": advice.meaning,
        "advice": advice.change,
        "in_a_loop_of_your_own": advice.own,
    }


def lines(episode: Episode, unit: str = "step") -> list[str]:
    """An episode in words: what and when, by what evidence, how sure, what to change."""
    finding, advice = episode.finding, ADVICE[episode.finding.symptom]
    until = "to the end" if episode.until is None else f"to {episode.until:,}"
    when = f"from {unit} {finding.since:,} {until}" + (f", {episode.times:,} times" if episode.times > 1 else "")
    weight = "serious" if finding.severity >= SERIOUS else "to know" if finding.severity > 0 else "no ailment"
    evidence = ", ".join(f"{name} {_short(value)}" for name, value in finding.evidence.items())
    return [
        f"{finding.symptom}  {when}  ({weight}, severity {finding.severity:.2f}, sure {finding.confidence:.0%})",
        f"  {advice.meaning}",
        f"  evidence: {evidence}",
        f"  to change: {advice.change}",
        f"  in a loop of your own: {advice.own}",
    ]


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else repr(value)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def summary(result: Course, form: str, unit: str = "step", notes: Mapping[str, str] | None = None) -> str:
    """The whole course in words."""
    plural = "" if result.step == 1 else "s"
    head = (
        f"{form}: {result.readings:,} readings up to {result.step:,} {unit}{plural}; at the end it was {result.verdict}"
    )
    body = [line for episode in result.episodes for line in ("", *lines(episode, unit))]
    if not body:
        body = ["", "nothing was found"]
    return "\n".join([head, *(f"{name}: {text}" for name, text in (notes or {}).items()), *body])
