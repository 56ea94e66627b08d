"""Diagnoses as text for a terminal: a head per game, the findings by importance, and the changes with their code."""

import textwrap
from collections.abc import Iterator, Sequence

from equipoise.core.observations import SERIOUS
from equipoise.core.printing import format_names, printable
from equipoise.diagnosis.episodes import SymptomEpisode
from equipoise.diagnosis.rendering.summary import (
    RUN_FORM,
    LogDiagnosis,
    by_importance,
    describe_best,
    describe_cause,
    describe_evidence,
    describe_period,
    describe_reading,
    describe_severity,
    describe_verdict,
    recommended_changes,
    worst_verdict,
)
from equipoise.diagnosis.symptom import CodeChange
from equipoise.diagnosis.symptoms import SYMPTOMS

MAX_NAMES = 12
"""Largest number of columns that a line names; the others are counted."""
NARROWEST, WIDEST = 50, 110
"""Widths between which lines are wrapped."""


def format_diagnoses(diagnoses: Sequence[LogDiagnosis], width: int | None = None) -> str:
    """Format the diagnoses of the games of one log. `width`: columns of the terminal; None: lines are not wrapped.

    Nothing in the result but line breaks controls a terminal. Lines of code are not wrapped.
    """
    changes = unique_changes(diagnoses)
    parts = ["\n".join(_wrap(line, width) for line in _game(entry, changes)) for entry in diagnoses]
    if changes:
        parts.append("\n".join(_changes(changes, width)))
    if len(diagnoses) > 1:
        parts.append(f"final verdict of {len(diagnoses)} games: {worst_verdict(diagnoses)}")
    return "\n\n".join(parts)


def unique_changes(diagnoses: Sequence[LogDiagnosis]) -> list[CodeChange]:
    """Return the changes of a training loop for all findings, each code once, the most important finding first."""
    by_code: dict[str, CodeChange] = {}
    for entry in diagnoses:
        for episode in by_importance(entry.diagnosis.episodes):
            for change in shown_changes(entry, episode):
                by_code.setdefault(change.code, change)
    return list(by_code.values())


def change_numbers(entry: LogDiagnosis, episode: SymptomEpisode, changes: Sequence[CodeChange]) -> list[int]:
    """Return the numbers of the changes for an episode in the list of all changes, from 1."""
    codes = [change.code for change in changes]
    return [codes.index(change.code) + 1 for change in shown_changes(entry, episode)]


def shown_changes(entry: LogDiagnosis, episode: SymptomEpisode) -> tuple[CodeChange, ...]:
    """Return all changes for a serious finding that lasts, the first one for others.

    None for information, for what has recovered, and for a run, whose settings are knobs.
    """
    changes, severity = recommended_changes(entry, episode), episode.finding.severity
    if severity == 0 or episode.recovered or entry.form == RUN_FORM:
        return ()
    return changes if severity >= SERIOUS and episode.until is None else changes[:1]


def _game(entry: LogDiagnosis, changes: Sequence[CodeChange]) -> list[str]:
    """Return the lines of one game."""
    verdict, reason = entry.diagnosis.verdict, describe_verdict(entry)
    label = f"game {entry.game}: " if entry.game else ""
    head = f"{label}{describe_reading(entry)}; final verdict: {verdict}{f' ({reason})' if reason else ''}"
    episodes = by_importance(entry.diagnosis.episodes)
    body = [line for episode in episodes for line in ("", *_episode(entry, episode, changes))]
    return [head, *_facts(entry), *(body or ["", "no symptoms detected"])]


def _facts(entry: LogDiagnosis) -> Iterator[str]:
    """Yield what was read: columns, notes, and the best values."""
    for kind, names in entry.columns.items():
        if names:
            yield f"{kind}: {format_names([with_sources(entry, name) for name in names], MAX_NAMES)}"
    yield from (f"note: {note}" for note in (*entry.notes, *([entry.order] if entry.order else [])))
    yield from describe_best(entry)


def with_sources(entry: LogDiagnosis, name: str) -> str:
    """Return a signal with the columns of the log that it comes from: "loss_d = D_real + D_fake"."""
    columns = entry.sources.get(name, ())
    return f"{name} = {' + '.join(columns)}" if columns and tuple(columns) != (name,) else name


def _episode(entry: LogDiagnosis, episode: SymptomEpisode, changes: Sequence[CodeChange]) -> list[str]:
    """Return the lines of an episode: what and when, and the evidence; if it lasts, the likely cause and the advice."""
    finding, symptom = episode.finding, SYMPTOMS[episode.finding.symptom]
    numbers = change_numbers(entry, episode, changes)
    cause = describe_cause(entry, episode)
    lines = [
        f"{finding.symptom}  {describe_period(episode, entry.unit)}  ({describe_severity(finding)})",
        f"  {symptom.meaning}",
        f"  evidence: {describe_evidence(finding)}",
        *([f"  likely cause: {cause}"] if cause else []),
        *([f"  what to change: {' '.join(f'[{number}]' for number in numbers)}"] if numbers else []),
        f"  {'what to change' if entry.form == RUN_FORM else 'with Equipoise'}: {symptom.advice}",
    ]
    return lines[:3] if episode.recovered else lines


def _changes(changes: Sequence[CodeChange], width: int | None) -> Iterator[str]:
    """Yield the lines of all changes, numbered, with their code."""
    order = "g, and d, which returns logits; for each finding, what costs least comes first"
    yield _wrap(f"what to change in a PyTorch training loop ({order}):", width)
    for number, change in enumerate(changes, start=1):
        yield _wrap(f"  [{number}] {change.action}", width)
        yield from (f"      {printable(line)}".rstrip() for line in change.code.splitlines())


def _wrap(line: str, width: int | None) -> str:
    """Escape and wrap a line at words; the continuation is indented by two more columns."""
    line = printable(line)
    if width is None:
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    width = min(max(width, NARROWEST), WIDEST)
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
