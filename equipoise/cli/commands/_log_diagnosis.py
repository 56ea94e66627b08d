"""Diagnosis of what a path names: a run folder, or the games of a log of another program."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from equipoise.core.observations import SignalReading
from equipoise.core.printing import format_names
from equipoise.diagnosis import diagnose, readers
from equipoise.diagnosis.history import MetricPoint
from equipoise.diagnosis.logs.log_columns import ReadOptions
from equipoise.diagnosis.logs.log_search import TOGETHER, rank_name
from equipoise.diagnosis.logs.training_log import TrainingLog, compute_readings
from equipoise.diagnosis.rendering.summary import RUN_FORM, LogDiagnosis
from equipoise.errors import RunError, SettingError
from equipoise.runs.manual_control import hold_periods
from equipoise.runs.observations import read_rollbacks, read_signals
from equipoise.runs.run import EVENTS_FILE, EXPERIMENT_FILE, Run

INNER_LEVELS = 2
"""Number of levels of folders in a run folder: RUN/checkpoints/step-00000300."""
UNSORTED = "the readings were not in the order of steps; sorted"


class DiagnosedGame(NamedTuple):
    """The diagnosis of one game, and the readings that it follows from."""

    diagnosis: LogDiagnosis
    readings: list[SignalReading]


def diagnose_path(path_text: str, options: ReadOptions) -> list[DiagnosedGame]:
    """Diagnose a run folder, or each game of a log.

    Raises SettingError for options of logs with a run, RunError for a folder of several runs.
    """
    path = Path(path_text)
    folder = _run_folder(path)
    if folder is None:
        return [_diagnose_log(log, path_text) for log in readers.read_games(path, options)]
    flags = {"--columns": options.columns, "--pattern": options.pattern, "--step-from": options.step_from}
    if flag := next((name for name, value in flags.items() if value), None):
        raise SettingError(f"{flag} is for logs of other programs, but {path} is a run of Equipoise; remove {flag}")
    return [_diagnose_run(folder, path_text)]


def _run_folder(path: Path) -> Path | None:
    """Return the run that a path names: its folder, its events, a folder in it, or the only run of a folder.

    None for logs of other programs. Raises RunError for a folder of several runs.
    """
    if path.name == EVENTS_FILE and _is_run(path.parent):
        return path.parent
    if not path.is_dir():
        return None
    around = [folder for folder in (path, *path.absolute().parents[:INNER_LEVELS]) if _is_run(folder)]
    if around or _has_log(path):
        return next(iter(around), None)
    runs = sorted(file.parent for file in path.glob(f"*/{EXPERIMENT_FILE}"))
    if len(runs) > 1:
        names = format_names([folder.name for folder in runs], most=8)
        raise RunError(f"{path} contains {len(runs)} runs: {names}; use the path of one of them")
    return runs[0] if runs else None


def _has_log(folder: Path) -> bool:
    """Return whether a folder itself, not one in it, contains a file that may be a log by its name."""
    try:
        return any(file.is_file() and rank_name(file.name, TOGETHER) is not None for file in folder.iterdir())
    except OSError:
        return False


def _is_run(folder: Path) -> bool:
    return (folder / EXPERIMENT_FILE).exists()


def _diagnose_run(folder: Path, path_text: str) -> DiagnosedGame:
    """Diagnose the log of a run."""
    run = Run(folder)
    readings, was_sorted = diagnose.sort_readings(read_signals(run))
    reals: Mapping[str, float] = next((line["reals"] for line in run.lines("started") if line.get("reals")), {})
    result = diagnose.diagnose_run(readings, reals, read_rollbacks(run))
    if not _has_content(folder / EVENTS_FILE):
        result = dataclasses.replace(result, missing=f"{EVENTS_FILE} is missing or empty")
    order = UNSORTED if was_sorted else ""
    first, last = (readings[0].step, readings[-1]) if readings else (0, None)
    length = round(last.step / last.progress) if last and last.progress > 0 else 0
    notes = tuple(f"manual control: {period}" for period in hold_periods(run.lines("requested")))
    entry = LogDiagnosis(
        log=path_text, form=RUN_FORM, diagnosis=result, notes=notes, order=order, first=first, length=length
    )
    return DiagnosedGame(entry, readings)


def _diagnose_log(log: TrainingLog, path_text: str) -> DiagnosedGame:
    """Diagnose one game of a log."""
    readings = list(compute_readings(log))
    columns = {"signals": tuple(log.signals), "metrics": tuple(log.metrics), "not used": tuple(log.ignored)}
    result = diagnose.diagnose_run(readings, loss_caveat=log.loss_kind.caveat)
    entry = LogDiagnosis(
        log=path_text,
        form=log.log_format,
        diagnosis=dataclasses.replace(result, best=_exact_steps(log, result.best)),
        unit=log.unit,
        game=log.game,
        columns=columns,
        sources=log.sources,
        notes=log.notes,
        first=readings[0].step if readings else 0,
        length=log.total or 0,
        learning_rates=log.learning_rates,
    )
    return DiagnosedGame(entry, readings)


def _exact_steps(log: TrainingLog, best: Mapping[str, MetricPoint]) -> dict[str, MetricPoint]:
    """Return the best measurements with the steps at which the log has them; a reading may be some rows later."""
    result = dict(best)
    for name, point in best.items():
        if name in log.metrics:
            series = log.metrics[name].series
            rows = np.flatnonzero(series.values == point.value)
            result[name] = MetricPoint(int(series.steps[rows[0]]), point.value) if len(rows) else point
    return result


def _has_content(path: Path) -> bool:
    """Return whether a file exists and is not empty."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
