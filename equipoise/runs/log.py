"""Writing the events of a run to events.jsonl."""

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from equipoise.core.events import Event, Resumed, Sampled, Saved, Stepped
from equipoise.errors import RunError, resume_command, unwritable
from equipoise.runs.artifacts import write_samples
from equipoise.runs.folders import BUSY, hold
from equipoise.runs.run import EVENTS_FILE, SAMPLES_FOLDER, EventLine, Run

FIELDS_IN_FILES = ("samples", "columns", "texts", "shows")
"""Fields of Sampled that are written to a separate file, or only if they are not empty."""


class Log:
    """A run folder, opened for writing events. Use as a context manager; one process at a time holds it.

    Raises RunError if another process holds it, or the log cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.run = Run(folder)
        with contextlib.ExitStack() as stack:
            path = folder / EVENTS_FILE
            try:
                stack.enter_context(hold(path, BUSY, owner=folder))
                self._file: TextIO = stack.enter_context(path.open("a+", encoding="utf-8"))
                _remove_partial_line(path, self._file)
            except OSError as error:
                raise RunError(unwritable(folder, error, then=resume_command(folder))) from error
            self._resources = stack.pop_all()

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def record(self, event: Event) -> None:
        """Append an event; samples are written to a separate file first. Stepped events are not recorded."""
        if isinstance(event, Stepped):
            return
        if isinstance(event, Resumed):
            self._restore_saved(event)
        line: dict[str, object] = {"event": type(event).__name__.lower(), **_to_json(event)}
        if isinstance(event, Sampled):
            line["samples"] = write_samples(self.run.folder / SAMPLES_FOLDER, event)
            line |= {"shows": list(event.shows)} if event.shows else {}
        self._append(line)
        if isinstance(event, Saved):
            os.fsync(self._file.fileno())

    def _append(self, line: EventLine) -> None:
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()

    def _restore_saved(self, event: Resumed) -> None:
        """Add the `saved` line of a checkpoint if the process was killed before it could write the line."""
        if any(line["step"] == event.step for line in self.run.lines("saved")):
            return
        lines = [line for line in self.run.lines("evaluated") if line["step"] <= event.step]
        evaluated = [line for line in lines if math.isfinite(float(line["value"]))]
        sign = 1 if not evaluated or evaluated[0]["better"] == "lower" else -1
        best = min(evaluated, key=lambda line: sign * line["value"], default=None)
        is_best = best is not None and best["step"] == event.step
        saved = Saved(event.step, event.images, f"step-{event.step:08d}", is_best)
        self._append({"event": "saved", **_to_json(saved)})


def _remove_partial_line(path: Path, file: TextIO) -> None:
    """Truncate the log after its last line break: the last line is incomplete if the process was killed."""
    content = path.read_bytes()
    complete = content.rfind(b"\n") + 1
    if complete != len(content):
        file.truncate(complete)


def _to_json(event: Event) -> dict[str, object]:
    """Convert an event to JSON values. Nested None values are omitted; non-finite numbers become strings."""
    values = {
        field.name: _to_json_value(getattr(event, field.name))
        for field in dataclasses.fields(event)
        if field.name not in FIELDS_IN_FILES
    }
    if values.get("held") == {}:  # only readings while a person holds a knob have it
        del values["held"]
    if "before" in values:
        values["from"], values["to"] = values.pop("before"), values.pop("after")
    return values


def _to_json_value(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: _to_json_value(item) for name, item in pairs if item is not None}
    if isinstance(value, Mapping):
        return {name: _to_json_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value
