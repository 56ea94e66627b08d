"""Readers of training logs of other programs: one file per form, with one public class in `__all__`.

A reader is a class with the attributes and the method of `LogReader`; it is found automatically, also through the entry
points `equipoise.readers` of installed packages. Nothing in a log is executed or unpickled.
"""

import importlib
import math
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

from equipoise.core.catalog import installed_plugs
from equipoise.core.observations import Signals
from equipoise.core.printing import format_count, format_names, printable
from equipoise.diagnosis.logs.interpretation import interpret
from equipoise.diagnosis.logs.log_columns import LogColumns, ReadOptions
from equipoise.diagnosis.logs.log_file import LogFile
from equipoise.diagnosis.logs.log_search import LogCandidate, search_folder
from equipoise.diagnosis.logs.merging import add_log
from equipoise.diagnosis.logs.training_log import TrainingLog
from equipoise.diagnosis.parsing.log_pattern import read_with_pattern
from equipoise.errors import DataError, SettingError

STANDARD_INPUT = "-"
MAX_PREVIEW = 8 * 2**20
"""Largest file that is read as a whole to choose among the logs of a folder; of others, the head is."""
SHOWN_LINES, SHOWN_WIDTH = 3, 80
"""Number of lines of an unknown form that an error shows, and of characters of each."""
SIGNAL_NAMES = frozenset(field.name for field in fields(Signals))
ROW_DOUBLINGS = 8
"""Doublings of the rows that count as much as one more signal, when a log is chosen in a folder."""


class LogReader(Protocol):
    """Interface of readers, each for the logs of one form.

    `name`: the program or form, for messages and docs. `contents`: description of the log, for the docs. `order`:
    readers are tried in ascending order, general ones last. `folder_files`: patterns of file names by which logs are
    recognised in a folder.
    """

    name: str
    contents: str
    order: int
    folder_files: tuple[str, ...]

    def read(self, files: Sequence[LogFile]) -> LogColumns | TrainingLog | None:
        """Read one file, or the shards of one log; None if they are in another format.

        Raises DataError if the format matches but the content is not usable.
        """


class _Preview(NamedTuple):
    """A candidate of a folder and what its beginning contains: `series` are (game, signal or metric)."""

    candidate: LogCandidate
    series: frozenset[tuple[str, str]]
    rows: float

    @property
    def score(self) -> float:
        """Number of signals and metrics, with the number of rows on a scale of ROW_DOUBLINGS."""
        return len(self.series) + math.log2(1 + self.rows) / ROW_DOUBLINGS

    def is_next_to(self, other: "_Preview") -> bool:
        """Whether both are in one folder, or event files in folders next to each other or in each other."""
        here, there = self.candidate.paths[0].parent, other.candidate.paths[0].parent
        are_events = all("tfevents" in preview.candidate.paths[0].name for preview in (self, other))
        return here == there or (are_events and (here.parent in (there, there.parent) or here == there.parent))

    @property
    def is_metrics(self) -> bool:
        """Whether it has metrics alone."""
        return not any(name in SIGNAL_NAMES for _, name in self.series)

    def name(self, folder: Path) -> str:
        """Return the path of its first file within a folder."""
        return str(self.candidate.paths[0].relative_to(folder))


@cache
def log_readers() -> tuple[LogReader, ...]:
    """Return all readers, in the order in which they are tried."""
    return tuple(sorted((*_own_readers(), *_installed_readers()), key=lambda reader: reader.order))


def _own_readers() -> Iterator[LogReader]:
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        (public,) = module.__all__
        yield getattr(module, public)()


def _installed_readers() -> Iterator[LogReader]:
    """Yield the readers of installed packages. Raises SettingError if one cannot be imported."""
    for name, (entry_point, *_) in installed_plugs("readers").items():
        try:
            yield entry_point.load()()
        except ImportError as error:
            message = f"the log reader '{name}' of {entry_point.value} cannot be imported: {error}"
            raise SettingError(message) from error


def format_readers() -> str:
    """Return the names of all readable forms as one phrase."""
    *names, last = (reader.name for reader in log_readers())
    return f"{', '.join(names)} and {last}"


def read_log(path: Path) -> TrainingLog:
    """Read the first game of a log: see :func:`read_games`."""
    return read_games(path)[0]


def read_games(path: Path, options: ReadOptions | None = None) -> tuple[TrainingLog, ...]:
    """Read a log: a file, optionally .gz, a folder that contains one, or "-" for standard input. One per game.

    Raises DataError if the path does not exist, the form is unknown, or the log contains no usable numbers.
    """
    options = options or ReadOptions()
    if path.is_dir():
        return _read_folder(path, options)
    with closing(_open_log(path)) as file:
        return _interpret(_read_files([file], options), file.path, options)


def _open_log(path: Path) -> LogFile:
    """Open a file, standard input, or a pipe, which can be read only once."""
    if str(path) == STANDARD_INPUT:
        return LogFile.from_stream("standard input", sys.stdin.buffer)
    if path.is_fifo():
        with path.open("rb") as stream:
            return LogFile.from_stream(str(path), stream)
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is a device, not a file; use the path of a run folder or of a log")
    return LogFile(path)


def _read_files(files: Sequence[LogFile], options: ReadOptions) -> LogColumns | TrainingLog:
    """Read files with the first reader that knows their form, or with the user's pattern. Errors name the path."""
    path = files[0].path
    try:
        log: LogColumns | TrainingLog | None
        if options.pattern is not None:
            log = read_with_pattern(files[0], options.pattern)
        else:
            log = next((log for reader in log_readers() if (log := reader.read(files)) is not None), None)
    except DataError as error:
        message = str(error)
        raise DataError(message if message.startswith(str(path)) else f"{path}: {message}") from error
    if log is None:
        raise DataError(_describe_unknown(files[0]))
    if isinstance(log, LogColumns):
        problems = (problem for file in files for problem in file.problems)
        log = replace(log, notes=(*log.notes, *problems))
    return log


def _describe_unknown(file: LogFile) -> str:
    """Return an error with the first lines of a log of an unknown form, and the flag that would read it."""
    lines = [printable(line.strip()) for line in file.head.split("\n") if line.strip()]
    if not lines:
        return f"{file.path} is empty; use a log with losses or metrics"
    shown = " | ".join(line if len(line) <= SHOWN_WIDTH else f"{line[:SHOWN_WIDTH]}…" for line in lines[:SHOWN_LINES])
    return (
        f"{file.path} is not a log in a known form; its lines are: {shown}. Say what a line contains with --pattern "
        r"'step (?P<step>\d+) .*D (?P<loss_d>\S+) .*G (?P<loss_g>\S+)', a regular expression with named groups; known "
        f"forms are {format_readers()}"
    )


def _interpret(log: LogColumns | TrainingLog, path: Path, options: ReadOptions) -> tuple[TrainingLog, ...]:
    """Return the games of a log. Raises DataError, with the path, if it holds nothing to diagnose."""
    try:
        games = interpret(log, options) if isinstance(log, LogColumns) else (log,)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if not any(len(game.steps) for game in games):
        raise DataError(
            f"{path} ({games[0].log_format}) contains no losses, probabilities or metrics to diagnose; use another log"
        )
    return games


def _read_folder(path: Path, options: ReadOptions) -> tuple[TrainingLog, ...]:
    """Read the log of a folder with the most signals and rows, with the metrics that other files of the run hold.

    The notes name the other logs. Raises DataError if there is none.
    """
    patterns = [pattern for reader in log_readers() for pattern in reader.folder_files]
    search = search_folder(path, patterns)
    previews = [preview for candidate in search.candidates if (preview := _preview(candidate, options)).series]
    if not previews:
        tried = f"; {format_names([candidate.paths[0].name for candidate in search.candidates])} hold none"
        looked = format_count(search.files) + ("" if search.is_complete else " (the search ended there)")
        raise DataError(
            f"{path} is neither a run folder nor a folder with a log: {looked} looked at"
            f"{tried if search.candidates else ''}; use the path of the log itself"
        )
    best, *others = sorted(previews, key=lambda preview: -preview.score)
    log = _read_files([LogFile(file) for file in best.candidate.paths], options)
    if isinstance(log, LogColumns):
        log, others = _add_parts(log, best, others, options)
        names = [other.name(path) for other in others]
        rest = f"; other logs there: {format_names(names, most=8)}" if names else ""
        log = replace(log, notes=(f"The log is {printable(best.name(path))}{rest}.", *log.notes))
    return _interpret(log, path, options)


def _preview(candidate: LogCandidate, options: ReadOptions) -> _Preview:
    """Read the beginning of a candidate, or all of a small one; without series if it is no log."""
    files = []
    for path in candidate.paths[:SHOWN_LINES]:
        file = LogFile(path)
        try:
            files.append(file if path.stat().st_size <= MAX_PREVIEW else LogFile(path, file.head_bytes))
        except (OSError, DataError):
            return _Preview(candidate, frozenset(), 0)
    try:
        games = _interpret(_read_files(files, options), candidate.paths[0], options)
    except DataError:
        return _Preview(candidate, frozenset(), 0)
    series = frozenset((game.game, name) for game in games for name in (*game.signals, *game.metrics))
    rows = sum(len(game.steps) for game in games) * max(1.0, candidate.size / MAX_PREVIEW)
    return _Preview(candidate, series, rows)


def _add_parts(
    log: LogColumns, best: _Preview, others: Sequence[_Preview], options: ReadOptions
) -> tuple[LogColumns, list[_Preview]]:
    """Add the other parts of the run of the best log, and return the logs that are left.

    Files next to each other are parts of one run if no two of them have the same signal or metric.
    """
    near = [other for other in others if other.is_next_to(best)]
    left = [other for other in others if not other.is_next_to(best)]
    series = [name for preview in (best, *near) for name in preview.series]
    is_clear = options == ReadOptions() and len(series) == len(set(series))
    for other in near:
        if other.is_metrics and other.series <= best.series:  # as the metrics of StyleGAN next to its statistics
            continue
        files = [LogFile(path) for path in other.candidate.paths]
        part = _read_files(files, options) if is_clear else None
        merged = add_log(log, part, files[0].path.name) if isinstance(part, LogColumns) else None
        if merged is None:
            left.append(other)
        else:
            log = merged
    return log, left
