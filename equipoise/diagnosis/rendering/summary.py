"""Diagnoses as dictionaries for JSON, and the sentences that all forms of output share.

text = terminal_text.format_diagnoses(diagnoses, width=100)
page = markdown.format_diagnoses(diagnoses)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from equipoise.core.observations import SERIOUS, Finding
from equipoise.core.printing import format_count
from equipoise.diagnosis.diagnose import RunDiagnosis
from equipoise.diagnosis.episodes import SymptomEpisode
from equipoise.diagnosis.rendering.advice import LogFacts, recommend_changes
from equipoise.diagnosis.rendering.causes import RunExtent, likely_cause
from equipoise.diagnosis.symptom import CodeChange
from equipoise.diagnosis.symptoms import SYMPTOMS

VERDICTS = ("diverged", "unhealthy", "unknown", "healthy")
"""Verdicts from the worst to the best."""
RUN_FORM = "a run"
"""Form of the log of a run of this package, whose settings are knobs."""
MAX_DIGITS = 9
"""Largest number of digits of a value that is written without an exponent."""
SHARES = ("won_for", "constant_for", "share_of_run_since")
"""Numbers of the evidence that are shares of the run or of its readings."""
DIVERGENCE = "divergence"
FIRST_CAUSES = ("data_out_of_range", DIVERGENCE)
"""Symptoms that may be the cause of all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDiagnosis:
    """Diagnosis of one game of a log or of a run, and what was read.

    `log`: path, "-" for standard input. `form`: name of the format. `game`: label of the game, "" if there is only one.
    `columns`: kind ("signals", "metrics", "not used") -> names. `sources`: signal -> columns of the log that it comes
    from. `notes`: full sentences on what was dropped or reinterpreted; `order`: what was done about the order of
    rows. `first`: the first step; `length`: planned length of the run in `unit`s, 0 if unknown. `learning_rates`: the
    last ones, "lr_d", "lr_g", or "lr" of both.
    """

    log: str
    form: str
    diagnosis: RunDiagnosis
    unit: str = "step"
    game: str = ""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    order: str = ""
    first: int = 0
    length: int = 0
    learning_rates: Mapping[str, float] = field(default_factory=dict)


def worst_verdict(diagnoses: Sequence[LogDiagnosis]) -> str:
    """Return the worst verdict of several games."""
    return min((entry.diagnosis.verdict for entry in diagnoses), key=VERDICTS.index)


def diagnoses_to_dict(diagnoses: Sequence[LogDiagnosis]) -> dict[str, object]:
    """Return the diagnoses of the games of one log as a dictionary for JSON.

    One game: its own keys. Several: the worst verdict and the findings of all, and each game under `games`.
    """
    if len(diagnoses) == 1:
        return diagnosis_to_dict(diagnoses[0])
    games = [diagnosis_to_dict(entry) for entry in diagnoses]
    first, worst = diagnoses[0], worst_verdict(diagnoses)
    missing = next((e.diagnosis.missing for e in diagnoses if e.diagnosis.verdict == worst and e.diagnosis.missing), "")
    findings = [
        {"game": entry.game, **episode_to_dict(entry, episode)}
        for entry in diagnoses
        for episode in entry.diagnosis.episodes
    ]
    return {
        **{"log": first.log, "form": first.form, "readings": sum(entry.diagnosis.readings for entry in diagnoses)},
        **{"last": max(entry.diagnosis.step for entry in diagnoses), "unit": first.unit, "verdict": worst},
        **({"missing": missing} if missing else {}),
        **{"findings": findings, "games": games},
    }


def diagnosis_to_dict(entry: LogDiagnosis) -> dict[str, object]:
    """Return the diagnosis of one game as a dictionary for JSON."""
    result = entry.diagnosis
    best = {name: {"step": point.step, "value": _json_number(point.value)} for name, point in result.best.items()}
    return {
        **({"game": entry.game} if entry.game else {}),
        **{"log": entry.log, "form": entry.form, "readings": result.readings, "last": result.step, "unit": entry.unit},
        **{kind: ", ".join(names) for kind, names in entry.columns.items() if names},
        **({"sources": {name: list(columns) for name, columns in entry.sources.items()}} if entry.sources else {}),
        **({"order": entry.order} if entry.order else {}),
        **({"notes": list(entry.notes)} if entry.notes else {}),
        "verdict": result.verdict,
        **({"missing": result.missing} if result.missing else {}),
        **({"best": best} if best else {}),
        "findings": [episode_to_dict(entry, episode) for episode in result.episodes],
    }


def episode_to_dict(entry: LogDiagnosis, episode: SymptomEpisode) -> dict[str, object]:
    """Return an episode of a diagnosis as a dictionary for JSON."""
    finding = episode.finding
    symptom = SYMPTOMS[finding.symptom]
    return {
        "symptom": finding.symptom,
        "severity": round(finding.severity, 3),
        "since": finding.since,
        "until": episode.until,
        "detected": finding.since if episode.detected is None else episode.detected,
        "recovered": episode.recovered,
        "times": episode.count,
        "unit": entry.unit,
        "confidence": round(finding.confidence, 3),
        "evidence": {name: _json_number(value) for name, value in finding.evidence.items()},
        "meaning": symptom.meaning,
        "cause": describe_cause(entry, episode),
        "advice": symptom.advice,
        "loop_advice": [
            {"action": change.action, "code": change.code} for change in recommended_changes(entry, episode)
        ],
    }


def by_importance(episodes: Sequence[SymptomEpisode]) -> list[SymptomEpisode]:
    """Return episodes with the most important first: possible causes of all others, then those that last, severe first.

    Findings that are not problems come last.
    """
    return sorted(episodes, key=_importance)


def _importance(episode: SymptomEpisode) -> tuple[bool, int, bool, float, int]:
    finding = episode.finding
    first = FIRST_CAUSES.index(finding.symptom) if finding.symptom in FIRST_CAUSES else len(FIRST_CAUSES)
    return finding.severity == 0, first, episode.until is not None, -finding.severity, finding.since


def describe_verdict(entry: LogDiagnosis) -> str:
    """Return the reason of a verdict in a sentence without a full stop; "" if the findings say everything."""
    result = entry.diagnosis
    if result.missing:
        return result.missing
    serious = [episode for episode in by_importance(result.episodes) if episode.finding.severity >= SERIOUS]
    decisive = [
        episode for episode in serious if result.verdict == "diverged" and episode.finding.symptom == DIVERGENCE
    ]
    lasting = [episode for episode in serious if episode.until is None]
    episode = next(iter((*decisive, *lasting)), None)
    return f"{episode.finding.symptom} {describe_period(episode, entry.unit)}" if episode else ""


def describe_period(episode: SymptomEpisode, unit: str) -> str:
    """Return when an episode was: "from step 28 to the end", or "from step 300 to 500, recovered, 2 times"."""
    until = "to the end" if episode.until is None else f"to {episode.until:,}"
    recovered = ", recovered" if episode.recovered else ""
    times = f", {episode.count:,} times" if episode.count > 1 else ""
    return f"from {unit} {episode.finding.since:,} {until}{recovered}{times}"


def describe_severity(finding: Finding) -> str:
    """Return severity and confidence as a phrase."""
    if finding.severity == 0:
        return f"for information, not a problem, confidence {finding.confidence:.0%}"
    word = "serious" if finding.severity >= SERIOUS else "mild"
    return f"{word}, severity {finding.severity:.2f}, confidence {finding.confidence:.0%}"


def describe_evidence(finding: Finding) -> str:
    """Return the numbers from which a finding follows: "loss_g = 46.3, won_for = 45%"."""
    return ", ".join(
        f"{name} = {f'{value:.0%}' if name in SHARES else format_value(value)}"
        for name, value in finding.evidence.items()
    )


def describe_cause(entry: LogDiagnosis, episode: SymptomEpisode) -> str:
    """Return the likely cause of an episode in a sentence without a full stop; "" if nothing is known about it."""
    others = [
        (other.finding, other.until)
        for other in entry.diagnosis.episodes
        if other is not episode and not (other.recovered and other.count > 1)
    ]
    run = RunExtent(entry.first, max(entry.length, entry.diagnosis.step), entry.unit)
    return likely_cause(episode.finding, others, run, has_metric=bool(entry.diagnosis.best))


def describe_best(entry: LogDiagnosis) -> list[str]:
    """Return the best value of each metric: "best fid: 27.4 at step 40,000"."""
    return [
        f"best {name}: {format_value(point.value)} at {entry.unit} {point.step:,}"
        for name, point in entry.diagnosis.best.items()
    ]


def recommended_changes(entry: LogDiagnosis, episode: SymptomEpisode) -> tuple[CodeChange, ...]:
    """Return the changes of a training loop for an episode, with the numbers of the log."""
    facts = LogFacts(entry.unit, entry.diagnosis.best, entry.learning_rates, entry.first)
    return recommend_changes(episode.finding, facts)


def describe_reading(entry: LogDiagnosis) -> str:
    """Return the format, the number of readings and the last step."""
    result = entry.diagnosis
    return f"{entry.form}: {format_count(result.readings, 'reading')} up to {entry.unit} {result.step:,}"


def format_value(value: float) -> str:
    """Format a number with four digits; up to MAX_DIGITS digits without an exponent."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 10**MAX_DIGITS else f"{value:.4g}"


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else repr(value)
