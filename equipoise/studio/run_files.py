"""Files of a run folder that its page shows: what was read, what was left out, the end of its output, warnings."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from equipoise.core.printing import printable
from equipoise.runs.run import DATA_FILE, SKIPPED_FILE
from equipoise.runs.run_index import LiveRun

OUTPUT_FILE = "output.log"
"""Output of a run that the studio has started."""
MAX_SKIPPED, MAX_LINES, MAX_CHARACTERS = 50, 60, 400
TAIL_BYTES = 64 * 1024
FULL = 2**20
"""Free bytes of a disk below which it is called full."""


def data_record(folder: Path) -> Mapping[str, object]:
    """Return what data.json says; empty if there is none, or it cannot be read."""
    try:
        values = json.loads((folder / DATA_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, Mapping) else {}


def skipped_files(folder: Path) -> list[str]:
    """Return the first files that were left out, each with its reason."""
    try:
        with (folder / SKIPPED_FILE).open(encoding="utf-8", errors="replace") as file:
            lines = [line for line, _ in zip(file, range(MAX_SKIPPED), strict=False)]
    except OSError:
        return []
    return [_clean(line.rstrip("\n").replace("\t", ": ", 1)) for line in lines]


def log_tail(folder: Path) -> list[str]:
    """Return the last lines of the output of a run; of a line that was drawn again and again, its last state."""
    try:
        with (folder / OUTPUT_FILE).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = [line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n")]
    return [_clean(line) for line in lines if line.strip()][-MAX_LINES:]


def warnings_of(run: LiveRun, experiment: Mapping[str, object]) -> list[str]:
    """Return what a person should know of a run: damage, a full disk, notes of start and data, manual control."""
    started = next(iter(run.log.events("started")), {})
    data = data_record(run.run.folder)
    skipped = data.get("skipped")
    notes = [run.log.problem, _full_disk(run.run.folder), *_texts(started.get("notes")), *_texts(data.get("notes"))]
    if type(skipped) is int and skipped:
        notes.append(f"{skipped:,} files were left out; see {SKIPPED_FILE}")
    if any(not line.get("refused") and line.get("action") == "turn" for line in run.log.events("requested")):
        notes.append("a person has changed knobs of this run: do not compare it with runs without that")
    if not experiment:
        notes.append("its settings cannot be read")
    return [_clean(note) for note in dict.fromkeys(notes) if note]


def _full_disk(folder: Path) -> str:
    try:
        is_full = shutil.disk_usage(folder).free < FULL
    except OSError:
        return ""
    return "the disk of this run is full, so nothing more is saved in its folder; free some space" if is_full else ""


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _clean(text: str) -> str:
    return printable(text)[:MAX_CHARACTERS]
