"""Reading a run folder: its experiment and its events.

runs/<name>/experiment.json            all settings needed to run it again, including versions
            data.json                  what was read: counts, shape, unit and notes
            skipped.txt                the files that were left out, each with its reason, if there are any
            knobs.json                 range, unit, scale and meaning of each knob of its model
            start.json, output.log     settings and output of a run that the studio started
            events.jsonl               append-only, one event per line; survives a kill at any byte
            checkpoints/               written by training/checkpoint.py
            samples/                   one file per Sampled event
            figures/  film/            written by report/, as is report.html
            generator.safetensors …    the final weights
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from equipoise.errors import NewerFormatError, RunError, resume_command
from equipoise.runs.migration import describe_newer_format, migrate_event, migrate_experiment

EXPERIMENT_FILE = "experiment.json"
EVENTS_FILE = "events.jsonl"
CHECKPOINTS_FOLDER = "checkpoints"
SAMPLES_FOLDER = "samples"
FIGURES_FOLDER = "figures"
DATA_FILE = "data.json"
SKIPPED_FILE = "skipped.txt"
OUTPUT_FILE = "output.log"
START_FILE = "start.json"
TAIL_BYTES = 1 << 14
"""What is read at once of the end of a log: longer than most lines."""

EventLine = Mapping[str, Any]
"""One line of events.jsonl as JSON values: `event`, `step`, `images` and the fields of that event."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder, opened for reading. Files of earlier formats are migrated in memory."""

    folder: Path

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.resolve().name

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / CHECKPOINTS_FOLDER

    def experiment(self) -> dict[str, object]:
        """Read experiment.json in the current format.

        Raises RunError if it cannot be read, NewerFormatError if a newer version has written it.
        """
        path = self.folder / EXPERIMENT_FILE
        try:
            values = json.loads(path.read_text())
        except FileNotFoundError as error:
            raise RunError(_not_a_run(self.folder)) from error
        except NotADirectoryError as error:
            raise RunError(f"{self.folder} is not a run: it is a file; give the run folder") from error
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{path} cannot be read: {error}; restore the original file") from error
        if not isinstance(values, dict):
            raise RunError(f"{path} is not a table of settings; restore the original file")
        if problem := describe_newer_format(values, str(path)):
            raise NewerFormatError(problem)
        return migrate_experiment(values)

    def lines(self, event: str | None = None) -> list[EventLine]:
        """Read the valid events in order, all of them or those of one kind.

        Lines superseded by a later `resumed` or `started` line, and an incomplete last line, are excluded.
        Raises RunError for a damaged line that is not the last.
        """
        valid: list[EventLine] = []
        for line in self._all_lines():
            if line["event"] == "started":
                valid = []
            elif line["event"] == "resumed":
                valid = [old for old in valid if old["step"] <= line["step"] and old["event"] != "finished"]
            valid.append(line)
        return [line for line in valid if event in (None, line["event"])]

    def last_line(self) -> EventLine | None:
        """Read the last event in the file, without the others before it; None if there is none.

        Raises RunError if that line is damaged.
        """
        path = self.folder / EVENTS_FILE
        try:
            with path.open("rb") as file:
                text = _last_complete_line(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror or error}; restore the original file") from error
        return None if text is None else _parse_event(text, f"{path}, the last line,")

    def check_types(self) -> None:
        """Raise RunError for the first log line with a field of a wrong type, for readers that rely on the types.

        Reports show what can be shown of any line.
        """
        from equipoise.runs.event_types import describe_problem  # imports pydantic

        for line in self.lines():
            if problem := describe_problem(line):
                raise RunError(
                    f"{self.folder / EVENTS_FILE}, event '{line['event']}' of step {line['step']}: {problem}; restore "
                    "that line, or delete it"
                )

    def _repr_html_(self) -> str:
        from equipoise.runs.notebook import run_html  # imports this module

        return run_html(self)

    def _all_lines(self) -> Iterator[EventLine]:
        path = self.folder / EVENTS_FILE
        try:
            texts = path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror or error}; restore the original file") from error
        for number, text in enumerate(texts, 1):
            if number == len(texts):
                return  # Text after the last line break is an incomplete event, or empty.
            yield _parse_event(text, f"{path}, line {number},")


def _parse_event(text: bytes, place: str) -> EventLine:
    """Return the event of a line in the current format. Raises RunError, which names the place, if it is damaged."""
    try:
        line = json.loads(text)
        if not isinstance(line["event"], str) or not isinstance(line["step"], int):
            raise TypeError("an event has a name and a number of steps")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{place} is not an event; delete that line") from error
    return migrate_event(line)


def _last_complete_line(file: BinaryIO) -> bytes | None:
    """Read the last line that ends with a line break, from the end of a file; None if there is none."""
    position, tail = file.seek(0, os.SEEK_END), b""
    while position and tail.count(b"\n") < 2:
        size = min(TAIL_BYTES, position)
        position = file.seek(position - size)
        tail = file.read(size) + tail
    *complete, _ = tail.split(b"\n")
    return complete[-1] if complete else None


def find_runs(folder: Path) -> list[Run]:
    """List the runs directly inside a folder, sorted by name; of a run folder, this run alone.

    Folders inside that cannot be read are left out. Raises RunError if there is no such folder, or it cannot be read.
    """
    if _is_run(folder):
        return [Run(folder)]
    try:
        inner = sorted(path for path in folder.iterdir() if _is_run(path))
    except FileNotFoundError as error:
        raise RunError(f"there is no folder {folder}; give a folder of runs, such as: equipoise runs runs") from error
    except NotADirectoryError as error:
        raise RunError(f"{folder} is a file; give a folder of runs, such as: equipoise runs runs") from error
    except PermissionError as error:
        raise RunError(f"no permission to read {folder}; make it readable, or give another folder of runs") from error
    except OSError as error:
        raise RunError(f"{folder} cannot be read: {error.strerror or error}; give another folder of runs") from error
    return [Run(path) for path in inner]


def _is_run(folder: Path) -> bool:
    try:
        return (folder / EXPERIMENT_FILE).is_file()
    except OSError:
        return False


def _not_a_run(folder: Path) -> str:
    """Format why a folder is not a run, and what to do."""
    if not folder.exists():
        return f"{folder} is not a run: there is no such folder; list the runs with: equipoise runs"
    for inner_folder in (folder, folder.parent):
        if inner_folder.name == CHECKPOINTS_FOLDER and (inner_folder.parent / EXPERIMENT_FILE).exists():
            return f"{folder} belongs to a run, and is none; give that run: {inner_folder.parent}"
    try:
        inner = find_runs(folder)
    except RunError:
        inner = []
    remedy = f"give one of the runs in it, such as {inner[0].folder}" if inner else "list the runs with: equipoise runs"
    return f"{folder} is not a run: it has no {EXPERIMENT_FILE}; {remedy}"


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Summary of a run in one row.

    `state`: unfinished, finished (with reason and verdict), interrupted, damaged, or newer: of a format that this
    version does not read.
    """

    name: str
    model: str | None = None
    data: str | None = None
    step: int = 0
    steps: int | None = None
    state: str = ""


def summarize_run(run: Run) -> RunSummary:
    """Summarise a run; a damaged one is reported in `state` instead of raising."""
    try:
        experiment, lines = run.experiment(), run.lines()
        run.check_types()
    except NewerFormatError as error:
        return RunSummary(run.name, state=f"newer: {error}")
    except RunError as error:
        return RunSummary(run.name, state=f"damaged: {error}")
    model, data = (_plug_name(experiment.get(key)) for key in ("model", "data"))
    last = lines[-1] if lines else {}
    is_finished = last.get("event") == "finished"
    verdict = "health unknown" if last.get("verdict") == "unknown" else last.get("verdict")
    state = f"finished ({last.get('reason')}, {verdict})" if is_finished else "unfinished"
    if last.get("reason") == "interrupted":
        state = f"interrupted; {resume_command(run.folder)}"
    steps = experiment.get("steps")
    return RunSummary(run.name, model, data, last.get("step", 0), steps if isinstance(steps, int) else None, state)


def _plug_name(value: object) -> str | None:
    name = value.get("name") if isinstance(value, Mapping) else value
    return name if isinstance(name, str) else None
