"""The section of a report on the data: what was read, how it is scaled, and what was left out."""

from dataclasses import dataclass
from pathlib import Path

from equipoise.core.printing import printable
from equipoise.report.formatting import format_count, format_number, one_line
from equipoise.report.run_history import JsonObject, RunHistory, to_mapping, to_number
from equipoise.report.run_summary import plug_name
from equipoise.runs.run import SKIPPED_FILE

MAX_SKIPPED, MAX_NOTES, MAX_CLASSES = 100, 50, 40
"""Largest numbers of files, notes and classes on the page."""
MAX_BYTES = 2**20
"""Number of bytes of skipped.txt that are read."""


@dataclass(frozen=True)
class DataSection:
    """Facts with their names, notes, and (file, reason) of files that were left out, the first of `skipped_count`."""

    facts: list[tuple[str, str]]
    notes: list[str]
    skipped: list[tuple[str, str]]
    skipped_count: int


def data_section(history: RunHistory) -> DataSection | None:
    """Return what the run folder records on its data; None for runs of earlier versions, which record nothing."""
    record = history.data_record
    if not record:
        return None
    notes = record.get("notes")
    return DataSection(
        _facts(history, record),
        [one_line(note, 600) for note in notes[:MAX_NOTES]] if isinstance(notes, list) else [],
        _read_skipped(history.run.folder / SKIPPED_FILE),
        int(to_number(record.get("skipped"), 0)),
    )


def _facts(history: RunHistory, record: JsonObject) -> list[tuple[str, str]]:
    shape = record.get("shape")
    sides = " × ".join(one_line(side, 20) for side in shape[:4]) if isinstance(shape, list) else "unknown"
    facts = [
        ("Data set", plug_name(history.experiment, "data") or "unknown"),
        *((title, printable(str(value))) for title, value in _source(history.experiment)),
        ("Training samples", _count(record.get("train"))),
        ("Held-out samples", _count(record.get("held_out"))),
        ("Shape of a sample", sides),
        ("Files left out", format_count(to_number(record.get("skipped"), 0))),
    ]
    names = record.get("class_names")
    if count := to_number(record.get("classes"), 0):
        listed = [one_line(name, 40) for name in names[:MAX_CLASSES]] if isinstance(names, list) else []
        facts.append(("Classes", f"{format_count(count)}{': ' if listed else ''}{', '.join(listed)}"))
    unit = record.get("unit")
    if isinstance(unit, list) and len(unit) == 2:
        facts.append(("Values of −1 and 1", " and ".join(map(_bound, unit))))
    return facts


def _source(experiment: JsonObject) -> list[tuple[str, object]]:
    options = to_mapping(to_mapping(experiment.get("data")).get("options"))
    return [(title, options[key]) for title, key in (("Folder", "folder"), ("File", "file")) if options.get(key)]


def _bound(bound: object) -> str:
    numbers = bound if isinstance(bound, list) else [bound]
    texts = [format_number(to_number(number)) for number in numbers[:12]]
    return f"({', '.join(texts)})" if isinstance(bound, list) else texts[0]


def _count(value: object) -> str:
    return "unlimited" if value is None else format_count(to_number(value, 0))


def _read_skipped(path: Path) -> list[tuple[str, str]]:
    try:
        with path.open("rb") as file:
            lines = file.read(MAX_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    pairs = (line.partition("\t") for line in lines[:MAX_SKIPPED])
    return [(one_line(name, 300), one_line(reason, 300)) for name, _, reason in pairs]
