"""One row per run, for tables: what it trains, how far it is, how it is, and what a person noted on it."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from equipoise.core.observations import Finding, Health
from equipoise.errors import NewerFormatError, RunError
from equipoise.runs.annotations import Annotations, read_annotations
from equipoise.runs.live_log import LiveLog
from equipoise.runs.run import EXPERIMENT_FILE, EventLine, Run


@dataclass(frozen=True, slots=True)
class BestMeasurement:
    """The best value of a metric, and the step at which it was measured."""

    metric: str
    value: float
    step: int


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in one row. Numbers are of the last event; texts are "" and steps None where the run does not say them.

    `state`: running (its log is in use), finished, interrupted (it saved and can be resumed), stopped (it ended without
    an event: it was killed), damaged, or newer (of a format that this version does not read). `reason`: why it
    finished. `findings`: of the last reading. `updated`, `created`: of log and experiment, in seconds since 1970.
    `manual`: whether a person held a knob. `disk`: bytes of its folder. `problem`: what cannot be read.
    """

    id: str
    model: str = ""
    data: str = ""
    controller: str = ""
    step: int = 0
    steps: int | None = None
    images: int = 0
    seconds: float = 0.0
    state: str = "stopped"
    reason: str = ""
    verdict: str = ""
    findings: tuple[Mapping[str, object], ...] = ()
    best: BestMeasurement | None = None
    updated: float = 0.0
    created: float = 0.0
    tags: tuple[str, ...] = ()
    note: str = ""
    archived: bool = False
    manual: bool = False
    disk: int = 0
    problem: str = ""


def make_row(name: str, run: Run, log: LiveLog, *, is_held: bool, disk: int) -> RunRow:
    """Summarise a run from its log, which was refreshed. `is_held`: whether a process writes the log.

    What cannot be read is reported in `state` and `problem`; nothing is raised.
    """
    problem = log.problem
    try:
        experiment = run.experiment()
    except NewerFormatError as error:
        return RunRow(name, state="newer", updated=_modified(log.path), disk=disk, problem=str(error))
    except RunError as error:
        experiment, problem = {}, str(error)
    notes, damage = _read_notes(run.folder)
    problem = problem or damage
    with log.lock:
        finished = next(iter(log.events("finished")[-1:]), {}) if _ends(log) else {}
        started = next(iter(log.events("started")), {})
        health = last_health(log)
        return RunRow(
            name,
            model=plug_name(experiment.get("model")),
            data=plug_name(experiment.get("data")),
            controller=plug_name(experiment.get("controller")),
            step=log.step,
            steps=_whole(experiment.get("steps")) or _whole(started.get("steps")),  # resume --steps changes the former
            images=log.images,
            seconds=_seconds(log, finished),
            state=_state(finished, is_held=is_held, problem=problem),
            reason=str(finished.get("reason", "")),
            verdict=str(finished.get("verdict") or (health.verdict if len(log.readings) else "unknown")),
            findings=tuple(
                {"symptom": finding.symptom, "severity": finding.severity, "since": finding.since}
                for finding in health.findings
            ),
            best=best_value(log, plug_name(experiment.get("metric"))),
            updated=_modified(log.path),
            created=_modified(run.folder / EXPERIMENT_FILE),
            tags=notes.tags,
            note=notes.note,
            archived=notes.archived,
            manual=any(line.get("action") == "turn" and not line.get("refused") for line in log.events("requested")),
            disk=disk,
            problem=problem,
        )


def _read_notes(folder: Path) -> tuple[Annotations, str]:
    """Return what a person noted, and why it cannot be read."""
    try:
        return read_annotations(folder), ""
    except RunError as error:
        return Annotations(), str(error)


def last_health(log: LiveLog) -> Health:
    """Return the health of the last reading; without findings if there is none, or it cannot be read."""
    if not len(log.readings):
        return Health()
    try:
        health = log.reading(-1).get("health")
    except (OSError, ValueError):
        return Health()
    return Health(tuple(findings_of(health)), str(health.get("missing", "")) if isinstance(health, Mapping) else "")


def findings_of(health: object) -> list[Finding]:
    """Return the findings of the JSON value of a health; malformed ones are left out."""
    items = health.get("findings") if isinstance(health, Mapping) else None
    result = []
    for item in items if isinstance(items, list) else []:
        if isinstance(item, Mapping) and isinstance(item.get("symptom"), str):
            evidence = item.get("evidence")
            severity, since = item.get("severity"), item.get("since")
            result.append(
                Finding(
                    item["symptom"],
                    float(severity) if isinstance(severity, int | float) else 0.0,
                    evidence if isinstance(evidence, Mapping) else {},
                    since if type(since) is int else 0,
                )
            )
    return result


def best_value(log: LiveLog, metric: str) -> BestMeasurement | None:
    """Return the best value of the metric of a run, or of the first that it measured; None without a finite value."""
    lines = log.events("evaluated")
    names = [str(line.get("metric")) for line in lines]
    name = metric if metric in names else next(iter(names), "")
    values = [
        (float(line["value"]), line["step"], line.get("better"))
        for line in lines
        if line.get("metric") == name and isinstance(line.get("value"), int | float) and math.isfinite(line["value"])
    ]
    if not values:
        return None
    sign = -1 if values[-1][2] == "higher" else 1
    value, step, _ = min(values, key=lambda item: sign * item[0])
    return BestMeasurement(name, value, step)


def folder_size(folder: Path) -> int:
    """Return the bytes of all files below a folder; files that vanish meanwhile do not count."""
    total, folders = 0, [str(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return total


def plug_name(value: object) -> str:
    """Return the name of a model, data set, controller or metric of an experiment; "" if it has none."""
    name = value.get("name") if isinstance(value, Mapping) else value
    return name if isinstance(name, str) else ""


def _ends(log: LiveLog) -> bool:
    """Return whether the run has finished and was not resumed since."""
    order = [line["event"] for line in log.lines if line["event"] in ("finished", "resumed", "started")]
    return order[-1:] == ["finished"]


def _state(finished: EventLine, *, is_held: bool, problem: str) -> str:
    if is_held:
        return "running"
    if problem:
        return "damaged"
    if not finished:
        return "stopped"
    return "interrupted" if finished.get("reason") == "interrupted" else "finished"


def _seconds(log: LiveLog, finished: EventLine) -> float:
    value = finished.get("seconds", log.readings.seconds[-1] if len(log.readings) else 0.0)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def _whole(value: object) -> int | None:
    return value if type(value) is int else None


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
