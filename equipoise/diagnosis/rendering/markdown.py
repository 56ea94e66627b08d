"""Diagnoses as Markdown, ready to paste into an issue or a page.

Everything that a log contains is escaped: it is shown as text, and mentions nobody.
"""

import re
from collections.abc import Iterator, Sequence

from equipoise.core.printing import format_count, format_more, printable
from equipoise.diagnosis.episodes import SymptomEpisode
from equipoise.diagnosis.rendering.summary import (
    RUN_FORM,
    LogDiagnosis,
    by_importance,
    describe_best,
    describe_cause,
    describe_evidence,
    describe_period,
    describe_severity,
    describe_verdict,
    worst_verdict,
)
from equipoise.diagnosis.rendering.terminal_text import MAX_NAMES, change_numbers, unique_changes, with_sources
from equipoise.diagnosis.symptom import CodeChange
from equipoise.diagnosis.symptoms import SYMPTOMS

PUNCTUATION = re.compile(r"[\\`*\[\]<>|~$&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""What formats text within a line; "_" does not within a word."""
LINKED = re.compile(r"[@#](?=\w)|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""Where text becomes a mention, the number of an issue, or an address."""


def format_diagnoses_as_markdown(diagnoses: Sequence[LogDiagnosis]) -> str:
    """Format the diagnoses of the games of one log as a section in Markdown."""
    changes = unique_changes(diagnoses)
    path = diagnoses[0].log
    lines = [f"### Diagnosis of {'standard input' if path == '-' else code_span(path)}: {worst_verdict(diagnoses)}", ""]
    for entry in diagnoses:
        lines += [*_game(entry, changes), ""]
    if changes:
        order = "`g` is the generator; `d` returns logits. For each finding, what costs least comes first."
        lines += ["#### What to change in a PyTorch training loop", "", order, ""]
        for number, change in enumerate(changes, start=1):
            code = (f"   {line}".rstrip() for line in change.code.splitlines())
            lines += [f"{number}. {escape(change.action)}:", "", "   ```python", *code, "   ```", ""]
    return "\n".join(lines).rstrip()


def _game(entry: LogDiagnosis, changes: Sequence[CodeChange]) -> Iterator[str]:
    """Yield the lines of one game: facts, a table of findings, and each finding."""
    result, reason = entry.diagnosis, describe_verdict(entry)
    if entry.game:
        yield from (f"#### Game {code_span(entry.game)}: {result.verdict}", "")
    if reason:
        yield from (f"**{result.verdict.capitalize()}:** {escape(reason)}.", "")
    yield f"- format: {escape(entry.form)}"
    yield f"- read: {format_count(result.readings, 'reading')} up to {entry.unit} {result.step:,}"
    for kind, names in entry.columns.items():
        if names:
            shown = ", ".join(code_span(with_sources(entry, name)) for name in names[:MAX_NAMES])
            yield f"- {kind}: {shown}{format_more(len(names) - MAX_NAMES)}"
    yield from (f"- {escape(text)}" for text in (*entry.notes, entry.order, *describe_best(entry)) if text)
    yield ""
    episodes = by_importance(result.episodes)
    if not episodes:
        yield "No symptoms detected."
        return
    yield from ("| finding | when | severity | evidence |", "| --- | --- | --- | --- |")
    for episode in episodes:
        finding = episode.finding
        cells = (describe_period(episode, entry.unit), describe_severity(finding), describe_evidence(finding))
        yield f"| `{finding.symptom}` | {' | '.join(escape(cell) for cell in cells)} |"
    yield ""
    for episode in episodes:
        if not episode.recovered:
            yield _describe(entry, episode, changes)


def _describe(entry: LogDiagnosis, episode: SymptomEpisode, changes: Sequence[CodeChange]) -> str:
    """Return a list item on a finding: its meaning, cause, and what to change."""
    symptom, cause = SYMPTOMS[episode.finding.symptom], describe_cause(entry, episode)
    numbers = [str(number) for number in change_numbers(entry, episode, changes)]
    parts = [
        f"`{symptom.id}`: {escape(symptom.meaning)}.",
        f"Likely cause: {escape(cause)}." if cause else "",
        f"What to change: {', '.join(numbers)} below." if numbers else "",
        f"{'What to change' if entry.form == RUN_FORM else 'With Equipoise'}: {escape(symptom.advice)}.",
    ]
    return f"- {' '.join(part for part in parts if part)}"


def escape(text: str) -> str:
    """Escape text of one line, so that Markdown shows it unchanged and it mentions and links to nothing."""
    escaped = PUNCTUATION.sub(r"\\\g<0>", printable(text))
    return LINKED.sub(r"\g<0><!-- -->", escaped)


def code_span(text: str) -> str:
    """Return text of one line as inline code, whatever backticks it contains; not for tables, where "|" ends a cell."""
    text = printable(text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence, space = "`" * (longest + 1), " " if longest or text != text.strip() else ""
    return f"{fence}{space}{text or ' '}{space}{fence}"
