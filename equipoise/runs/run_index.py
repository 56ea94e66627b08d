"""All runs of a folder, by the names of their folders, read incrementally: hundreds of runs in a table, live."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from equipoise.errors import NewerFormatError, RunError, UnknownRunError, shell_path
from equipoise.runs.annotations import ANNOTATIONS_FILE
from equipoise.runs.finding_periods import FindingPeriods
from equipoise.runs.folders import is_held
from equipoise.runs.live_log import LiveLog
from equipoise.runs.reading_columns import ReadingColumns
from equipoise.runs.run import EVENTS_FILE, EXPERIMENT_FILE, Run, find_runs
from equipoise.runs.run_rows import RunRow, folder_size, make_row

MEMORY = 48 * 2**20
"""Bytes of the logs that are kept in memory; those that were not used for the longest time are read again."""
DISK_SECONDS = 30.0
"""Seconds for which the size of the folder of a run that changes is not measured again."""

LOOK_SECONDS = 1.0
"""Seconds between two looks at all runs for news."""
ACTIVE = ("running", "stopped")
"""States of runs that are looked at each time: a run that has no events yet counts as stopped."""


@dataclass(frozen=True)
class LiveRun:
    """A run with its log and what was read of it, as they were at the last call of :meth:`RunIndex.open`."""

    name: str
    run: Run
    log: LiveLog
    columns: ReadingColumns
    findings: FindingPeriods


class RunNews(NamedTuple):
    """State of a run at one moment: bytes of its log, last step, and state as in :class:`RunRow`."""

    size: int
    step: int
    state: str


@dataclass(frozen=True)
class _Cached:
    """A row, the files that it was read from, and when the size of the folder was measured."""

    key: tuple[object, ...]
    row: RunRow
    measured: float


class RunIndex:
    """The runs directly below a folder, or that folder alone if it is a run.

    The id of a run is the name of its folder. It is compared with the names in the folder, and never becomes part of a
    path, so that no other folder can be named. Methods may be called from several threads.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.RLock()
        self._open: dict[str, LiveRun] = {}
        self._rows: dict[str, _Cached] = {}
        self._news: dict[str, RunNews] = {}
        self._active: dict[str, Run] = {}
        self._looked = -LOOK_SECONDS

    def runs(self) -> dict[str, Run]:
        """Return all runs by id, sorted. Raises RunError if the folder cannot be read."""
        return {name: run for name, run in self._listed().items() if not self._leaves_root(run)}

    def names(self) -> list[str]:
        """List the ids of all runs, sorted. Raises RunError if the folder cannot be read."""
        return list(self.runs())

    def run(self, name: str) -> Run:
        """Return the run with an id.

        Raises UnknownRunError if there is none, for instance because it was deleted, NewerFormatError for a run that
        this version cannot read.
        """
        try:
            run = self._listed().get(name)
        except RunError:
            run = None
        if run is None:
            raise UnknownRunError(name, self.root)
        if self._leaves_root(run):
            raise RunError(self._describe_link(run))
        try:
            run.experiment()
        except NewerFormatError:
            raise
        except RunError:
            return run  # what is damaged is said in its row, and the rest can be read
        return run

    def open(self, name: str) -> LiveRun:
        """Return a run, its log read up to now. Raises UnknownRunError, or RunError for a log that cannot be read."""
        return self._refresh(name, self.run(name))

    def row(self, name: str) -> RunRow:
        """Return the row of a run. Raises UnknownRunError if there is none."""
        return self._row(name, self.run(name))

    def rows(self) -> list[RunRow]:
        """Return the rows of all runs, sorted by id. Only runs whose files have changed are read."""
        runs = self.runs()
        with self._lock:
            for name in self._rows.keys() - runs.keys():
                del self._rows[name]
            for name in self._open.keys() - runs.keys():
                del self._open[name]
        links = (item for item in self._listed().items() if item[0] not in runs)
        rows = [RunRow(name, state="damaged", problem=self._describe_link(run)) for name, run in links]
        rows += [self._row(name, run) for name, run in runs.items()]
        return sorted(rows, key=lambda row: row.id)

    def news(self) -> Mapping[str, RunNews]:
        """Return the state of each run, to compare with that of another moment. A folder that is gone has no runs.

        Made to be called several times a second: runs that are over, and new folders, are looked at once a second.
        """
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            try:
                runs = self.runs()
            except RunError:
                runs = {}
            self._news = {name: self._news_of(name, run) for name, run in runs.items()}
            self._active = {name: run for name, run in runs.items() if self._news[name].state in ACTIVE}
        else:
            seen = {name: self._news_of(name, run) for name, run in self._active.items() if run.folder.is_dir()}
            self._news = {**self._news, **seen}
        return self._news

    def _news_of(self, name: str, run: Run) -> RunNews:
        row = self._row(name, run)
        return RunNews(_status(run.folder / EVENTS_FILE)[1], row.step, row.state)

    def _listed(self) -> dict[str, Run]:
        return {run.name if run.folder == self.root else run.folder.name: run for run in find_runs(self.root)}

    def _leaves_root(self, run: Run) -> bool:
        """Return whether a run is a link to a folder that is not below the root, which a foreign folder may contain."""
        return run.folder.is_symlink() and not run.folder.resolve().is_relative_to(self.root.resolve())

    def _describe_link(self, run: Run) -> str:
        target = run.folder.resolve()
        return f"{run.folder} is a link to {target}; open it there: equipoise studio {shell_path(target)}"

    def _row(self, name: str, run: Run) -> RunRow:
        log_path = run.folder / EVENTS_FILE
        files = (log_path, run.folder / EXPERIMENT_FILE, run.folder / ANNOTATIONS_FILE)
        with self._lock:
            cached = self._rows.get(name)
        is_over = cached is not None and cached.row.state == "finished"
        key: tuple[object, ...] = (run.folder, *map(_status, files))
        if cached and cached.key[:-1] == key and (is_over or cached.key[-1] == is_held(log_path)):
            return cached.row
        held = is_held(log_path)
        now = time.monotonic()
        measured = cached.measured if cached and held and now - cached.measured < DISK_SECONDS else now
        disk = cached.row.disk if cached and measured != now else folder_size(run.folder)
        try:
            row = make_row(name, run, self._refresh(name, run).log, is_held=held, disk=disk)
        except RunError as error:
            row = RunRow(name, state="damaged", problem=str(error), disk=disk)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            problem = f"its log has a value that cannot be: {error}; restore it"
            row = RunRow(name, state="damaged", problem=problem, disk=disk)
        with self._lock:
            self._rows[name] = _Cached((*key, held), row, measured)
        return row

    def _refresh(self, name: str, run: Run) -> LiveRun:
        with self._lock:
            opened = self._open.pop(name, None)
            if opened is None or opened.run.folder != run.folder:
                log = LiveLog(run.folder / EVENTS_FILE)
                opened = LiveRun(name, run, log, ReadingColumns(log), FindingPeriods(log))
            self._open[name] = opened  # last in order: used most recently
        try:
            opened.log.refresh()
        except OSError as error:
            raise RunError(f"{opened.log.path} cannot be read: {error.strerror or error}; restore it") from error
        self._evict(name)
        return opened

    def _evict(self, name: str) -> None:
        """Forget the logs that were not used for the longest time, if all take too much memory."""
        with self._lock:
            total = 0
            for other, opened in reversed(list(self._open.items())):
                total += opened.log.size_in_memory + opened.columns.size_in_memory
                if total > MEMORY and other != name:
                    del self._open[other]


def row_to_json(row: RunRow) -> dict[str, object]:
    """Return a row as JSON values."""
    values = {name: getattr(row, name) for name in RunRow.__slots__}
    best = row.best and {"metric": row.best.metric, "value": row.best.value, "step": row.best.step}
    return {**values, "best": best}


def _status(path: Path) -> tuple[int, int, int]:
    """Return what changes when a file changes: inode, size and time; zeros for a file that does not exist."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_ino, status.st_size, status.st_mtime_ns
