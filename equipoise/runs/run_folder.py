"""The run folder: the only reader and writer of its format.

runs/<name>/experiment.json            all that is needed to run it again, versions included
            events.jsonl               append-only; one event a line; survives a kill at any byte
            checkpoints/               written by training/checkpoint.py
            samples/                   one file a Sampled event
            figures/  film/            made by report/, and report.html
            generator.safetensors …    the final weights
"""

import contextlib
import dataclasses
import io
import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from equipoise.errors import RunError, unwritable
from equipoise.core.events import Event, Resumed, Sampled, Saved, Stepped
from equipoise.runs.locks import held, hold

EXPERIMENT = "experiment.json"
EVENTS = "events.jsonl"
CHECKPOINTS = "checkpoints"
SAMPLES = "samples"
FIGURES = "figures"
PARTIAL = ".partial"

BUSY = "wait until it has ended, or stop it"

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder, for reading."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie."""
        return self.folder / CHECKPOINTS

    def experiment(self) -> dict[str, Any]:
        """What was run, as JSON has it. Raises RunError if it cannot be read."""
        try:
            values = json.loads((self.folder / EXPERIMENT).read_text())
        except FileNotFoundError as error:
            raise RunError(f"{self.folder} is not a run: it has no {EXPERIMENT}") from error
        except (OSError, ValueError) as error:
            raise RunError(f"{self.folder / EXPERIMENT} cannot be read: {error}; put it back as it was") from error
        if not isinstance(values, dict):
            raise RunError(f"{self.folder / EXPERIMENT} is not a table of settings; put it back as it was")
        return values

    def lines(self) -> list[Line]:
        """The events that count, in order: not what a later Resumed or Started line supersedes, nor a line cut short.

        Raises RunError for a damaged line that is not the last.
        """
        kept: list[Line] = []
        for line in self._all_lines():
            if line["event"] == "started":
                kept = []
            elif line["event"] == "resumed":
                kept = [it for it in kept if it["step"] <= line["step"] and it["event"] != "finished"]
            kept.append(line)
        return kept

    def named(self, event: str) -> list[Line]:
        """The events of one kind that count."""
        return [line for line in self.lines() if line["event"] == event]

    def _all_lines(self) -> Iterator[Line]:
        path = self.folder / EVENTS
        try:
            texts = path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        for number, text in enumerate(texts, 1):
            if number == len(texts):
                return  # What follows the last line break was cut short, or is nothing.
            try:
                line = json.loads(text)
                if not isinstance(line["event"], str) or not isinstance(line["step"], int):
                    raise TypeError("an event has a name and a number of steps")
            except (ValueError, KeyError, TypeError) as error:
                raise RunError(f"{path}, line {number}, is not an event; delete that line") from error
            yield line


class Log:
    """A run folder, for writing: takes events one by one. Use as a context manager.

    One process at a time holds it. Raises RunError if another one does, or the log cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.run = Run(folder)
        self._file: TextIO = _open_for_append(folder / EVENTS)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def record(self, event: Event) -> None:
        """Append an event; samples go into a file of their own first. Steps are not kept."""
        if isinstance(event, Stepped):
            return
        if isinstance(event, Resumed):
            self._restore_saved(event)
        line = {"event": type(event).__name__.lower(), **_plain(event)}
        if isinstance(event, Sampled):
            line["samples"] = write_samples(self.run.folder / SAMPLES, event)
            line |= {"shows": list(event.shows)} if event.shows else {}
        self._append(line)
        if isinstance(event, Saved):
            os.fsync(self._file.fileno())

    def _append(self, line: Line) -> None:
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()

    def _restore_saved(self, event: Resumed) -> None:
        """A kill between a checkpoint and its line in the log leaves the line out: it is put in before going on."""
        saved = [line for line in self.run.named("saved") if line["step"] == event.step]
        lines = [line for line in self.run.named("evaluated") if line["step"] <= event.step]
        evaluated = [line for line in lines if math.isfinite(float(line["value"]))]
        if not saved:
            sign = 1 if not evaluated or evaluated[0]["better"] == "lower" else -1
            best = min(evaluated, key=lambda line: sign * line["value"], default=None)
            name = f"step-{event.step:08d}"
            was_best = best is not None and best["step"] == event.step
            self._append({"event": "saved", **_plain(Saved(event.step, event.images, name, was_best))})


def create(folder: Path, experiment: Mapping[str, Any]) -> None:
    """Make a run folder. Raises RunError if there is something there already, or it cannot be written."""
    refuse_occupied(folder)
    try:
        with held(folder / EVENTS, BUSY):
            if (folder / EXPERIMENT).exists():  # another process has come between
                refuse_occupied(folder)
            write_text(folder / EXPERIMENT, json.dumps(experiment, indent=2) + "\n")
    except OSError as error:
        with contextlib.suppress(OSError):
            (folder / EVENTS).unlink(missing_ok=True)
            folder.rmdir()
        raise RunError(unwritable(folder, error)) from error


def refuse_occupied(folder: Path) -> None:
    """Raise RunError if there is something in a folder already, or it may not be looked at.

    What a kill left half-written is nothing.
    """
    try:
        if not folder.exists() or (folder.is_dir() and all(map(_is_partial, folder.iterdir()))):
            return
        is_run = (folder / EXPERIMENT).exists()
    except OSError as error:
        raise RunError(unwritable(folder, error)) from error
    hint = f"resume it with: equipoise resume {folder}; or" if is_run else "it is not empty;"
    raise RunError(f"{folder} exists already; {hint} choose another folder with --out")


def _is_partial(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(PARTIAL)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}{PARTIAL}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def find(folder: Path) -> list[Run]:
    """All runs below a folder, sorted by name."""
    return [Run(path.parent) for path in sorted(folder.glob(f"*/{EXPERIMENT}"))]


def outline(run: Run) -> dict[str, Any]:
    """How a run stands, in one row; a damaged one says so instead of failing."""
    row: dict[str, Any] = {"name": run.name, "model": None, "data": None, "step": 0, "steps": None, "state": ""}
    try:
        experiment, lines = run.experiment(), run.lines()
    except RunError as error:
        return row | {"state": f"damaged: {error}"}
    for key in ("model", "data"):
        choice = experiment.get(key)
        row[key] = choice.get("name") if isinstance(choice, dict) else choice
    last = lines[-1] if lines else {}
    state = f"finished ({last['reason']}, {last['verdict']})" if last.get("event") == "finished" else "unfinished"
    if last.get("reason") == "interrupted":
        state = f"interrupted; equipoise resume {run.folder}"
    return row | {"step": last.get("step", 0), "steps": experiment.get("steps"), "state": state}


def free_name(folder: Path, stem: str) -> Path:
    """`folder`/`stem`-1, or the next number that is free."""
    taken = {path.name for path in folder.glob(f"{stem}-*")} if folder.exists() else set()
    return folder / next(f"{stem}-{n}" for n in range(1, len(taken) + 2) if f"{stem}-{n}" not in taken)


@contextlib.contextmanager
def claimed(folder: Path, stem: str) -> Iterator[Path]:
    """An empty folder of the next free name, which no other process takes; gone again if nothing was put into it.

    Raises RunError if it cannot be made.
    """
    is_new = not folder.exists()
    for number in itertools.count(1):
        path = folder / f"{stem}-{number}"
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError:
            continue
        except OSError as error:
            raise RunError(unwritable(path, error)) from error
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.rmdir()
            if is_new:
                folder.rmdir()


def write_samples(folder: Path, event: Sampled) -> str:
    """Write samples as lines of text, a grid of images (N, C, H, W), or numbers (N, ...); the path within the run."""
    folder.mkdir(exist_ok=True)
    if event.texts is not None:
        path = folder / f"step-{event.step:08d}.txt"
        write_bytes(path, lines(event.texts))
        return f"{folder.name}/{path.name}"
    is_image = event.samples.ndim == 4
    path = folder / f"step-{event.step:08d}.{'png' if is_image else 'npy'}"
    write_bytes(path, png(grid(event.samples, event.columns)) if is_image else npy(event.samples))
    return f"{folder.name}/{path.name}"


def png(image: Image.Image) -> bytes:
    """An image as the bytes of a PNG file."""
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()


def lines(texts: Sequence[str]) -> bytes:
    """Texts as the bytes of a file in UTF-8, each on a line of its own whatever is in it."""
    return "".join(" ".join(text.splitlines()) + "\n" for text in texts).encode()


def npy(array: npt.NDArray[np.float32]) -> bytes:
    """Numbers as the bytes of a .npy file."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def grid(samples: npt.NDArray[np.float32], columns: int | None = None, gap: int = 2) -> Image.Image:
    """Images (N, C, H, W) in [-1, 1], C from 1 to 4, side by side; about square unless `columns` says otherwise."""
    count, channels, height, width = samples.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    pixels = ((np.nan_to_num(samples).clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
    shown = {1: 1, 2: 3, 3: 3, 4: 4}[channels]
    if channels == 2:
        pixels = np.concatenate([pixels, np.zeros_like(pixels[:, :1])], axis=1)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, shown), 128, np.uint8)
    for index, image in enumerate(pixels):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return Image.fromarray(sheet[:, :, 0] if shown == 1 else sheet)


def _plain(event: Event) -> dict[str, Any]:
    """An event as JSON has it: nothing that is None, and no number that JSON cannot write."""
    values = {
        field.name: _simple(getattr(event, field.name))
        for field in dataclasses.fields(event)
        if field.name not in ("samples", "columns", "texts", "shows")
    }
    if "before" in values:
        values["from"], values["to"] = values.pop("before"), values.pop("after")
    return values


def _simple(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: _simple(item) for name, item in pairs if item is not None}
    if isinstance(value, Mapping):
        return {name: _simple(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_simple(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def _open_for_append(path: Path) -> TextIO:
    """Open the log; a last line that a kill cut short is cut off."""
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(path.open("a+", encoding="utf-8"))
            hold(file, path.parent, BUSY)
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole != len(content):
                file.truncate(whole)
            stack.pop_all()
            return file
    except OSError as error:
        raise RunError(unwritable(path.parent, error)) from error
