"""What a person notes on a run: tags, a note, whether it is archived, and the step that was chosen.

RUN/annotations.json   {"tags": [...], "note": "...", "archived": false}
RUN/chosen.json        {"step": N, "note": "...", "time": seconds since 1970}

Both are written atomically. `experiment.json` and the log are never changed, so the run stays what it was.
"""

import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from equipoise.errors import RunError, SettingError, unwritable

ANNOTATIONS_FILE = "annotations.json"
CHOSEN_FILE = "chosen.json"
MAX_TAGS, MAX_TAG_LENGTH, MAX_NOTE_LENGTH = 20, 40, 4000
"""Largest number of tags of a run, characters of a tag, and characters of a note."""
MAX_FILE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Annotations:
    """Annotations of a run. `tags`: distinct short words without commas. `archived`: left out of lists by default.

    Raises SettingError for tags or a note that are too long, or that hold control characters.
    """

    tags: tuple[str, ...] = ()
    note: str = ""
    archived: bool = False

    def __post_init__(self) -> None:
        if len(self.tags) > MAX_TAGS:
            raise SettingError(f"there are {len(self.tags)} tags; a run can have {MAX_TAGS}")
        if len(set(self.tags)) != len(self.tags):
            raise SettingError("a tag occurs twice; give each once")
        for tag in self.tags:
            _check_tag(tag)
        check_note(self.note)

    def to_json(self) -> dict[str, object]:
        """Return the values of annotations.json."""
        return {"tags": list(self.tags), "note": self.note, "archived": self.archived}


@dataclass(frozen=True, slots=True)
class ChosenStep:
    """The step of a run that a person chose. `time`: of the choice, in seconds since 1970."""

    step: int
    note: str = ""
    time: float = 0.0


def read_annotations(run: Path) -> Annotations:
    """Read the annotations of a run folder; those of a run without the file are empty. Raises RunError if damaged."""
    path = run / ANNOTATIONS_FILE
    values = _read(path)
    if values is None:
        return Annotations()
    tags, note, archived = (values.get(name, default) for name, default in Annotations().to_json().items())
    try:
        if not (isinstance(tags, list) and isinstance(note, str) and isinstance(archived, bool)):
            raise TypeError
        return Annotations(tuple(map(_text, tags)), note, archived)
    except (TypeError, SettingError) as error:
        raise RunError(_damaged(path, f"{error or 'a value of another type'}")) from error


def change_annotations(
    run: Path, *, tags: Iterable[str] | None = None, note: str | None = None, archived: bool | None = None
) -> Annotations:
    """Change those annotations of a run folder that are not None, and return all of them.

    Spaces around tags and notes are removed. Raises SettingError for invalid ones, RunError if the file is damaged or
    cannot be written.
    """
    old = read_annotations(run)
    new = Annotations(
        old.tags if tags is None else tuple(tag.strip() for tag in tags),
        old.note if note is None else note.strip(),
        old.archived if archived is None else archived,
    )
    _write(run / ANNOTATIONS_FILE, new.to_json())
    return new


def read_chosen(run: Path) -> ChosenStep | None:
    """Read the chosen step of a run folder; None if none was chosen. Raises RunError if the file is damaged."""
    path = run / CHOSEN_FILE
    values = _read(path)
    if values is None:
        return None
    step, note, chosen_at = values.get("step"), values.get("note", ""), values.get("time", 0.0)
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        raise RunError(_damaged(path, "it has no number of steps"))
    if not isinstance(note, str) or not isinstance(chosen_at, int | float) or not math.isfinite(chosen_at):
        raise RunError(_damaged(path, "a value of another type"))
    return ChosenStep(step, note, float(chosen_at))


def choose_step(run: Path, step: int, note: str = "") -> ChosenStep:
    """Write the chosen step of a run folder. Its checkpoint is kept from then on, if the run still writes some.

    Raises SettingError for a note that is too long, RunError if the file cannot be written. Whether the step has
    weights is up to the caller.
    """
    check_note(note)
    chosen = ChosenStep(step, note.strip(), round(time.time(), 3))
    _write(run / CHOSEN_FILE, {"step": chosen.step, "note": chosen.note, "time": chosen.time})
    return chosen


def clear_chosen(run: Path) -> None:
    """Remove the choice of a run folder, if there is one."""
    try:
        (run / CHOSEN_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise RunError(unwritable(run, error)) from error


def step_to_keep(run: Path) -> int | None:
    """Return the step whose checkpoint must be kept because it was chosen; None without one, or if it is damaged."""
    try:
        chosen = read_chosen(run)
    except RunError:
        return None
    return None if chosen is None else chosen.step


def check_note(note: str) -> None:
    """Raise SettingError for a note that is too long, or that holds control characters other than line breaks."""
    if len(note) > MAX_NOTE_LENGTH:
        raise SettingError(f"the note has {len(note):,} characters; shorten it to {MAX_NOTE_LENGTH:,}")
    if any(not (mark.isprintable() or mark in "\n\t") for mark in note):
        raise SettingError("the note holds control characters; remove them")


def _check_tag(tag: str) -> None:
    if not tag or tag != tag.strip() or not tag.isprintable() or "," in tag:
        raise SettingError(f"'{tag!s}' is not a tag; use printable characters without commas, such as: good")
    if len(tag) > MAX_TAG_LENGTH:
        raise SettingError(f"the tag '{tag[:MAX_TAG_LENGTH]}…' has {len(tag)} characters; use at most {MAX_TAG_LENGTH}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _read(path: Path) -> Mapping[str, object] | None:
    """Read a table of JSON; None if there is no file. Raises RunError for anything else."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError("it is too large")
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(_damaged(path, " ".join(str(error).split()))) from error
    if not isinstance(values, dict):
        raise RunError(_damaged(path, "it is not a table of values"))
    return values


def _damaged(path: Path, problem: str) -> str:
    return f"{path} cannot be read: {problem}; restore or delete the file"


def _write(path: Path, values: Mapping[str, object]) -> None:
    from equipoise.runs.artifacts import encode_json, write_text  # imports numpy

    try:
        write_text(path, encode_json(values, path.name))
    except OSError as error:
        raise RunError(unwritable(path.parent, error)) from error
