"""Are collapses detected in training logs of other projects, in time, and without false alarms?

    python benchmarks/field_logs.py FOLDER

FOLDER contains *.log.gz of PyTorch-StudioGAN and labels.csv with the columns file, last_step and collapse_onset_step
(empty for runs that did not collapse). Every log is read forwards: an alarm at a step uses nothing that follows. Three
questions: what can be detected from the losses and all FIDs, from the losses and every fifth FID, and what the losses
alone show. From losses alone the alarm is a serious `discriminator_overpowering` ("the discriminator has won; the
quality is unknown"), else `collapse`.

A collapse counts as detected if the alarm is no later than a tenth of the run after its onset; alarms more than a tenth
of the run before the onset are counted separately as early. Any alarm in a run that did not collapse is false. A random
alarm has the same rate of alarms per run, at a uniformly distributed step: its values are exact expectations.

The thresholds are not selected by a search: each follows from an argument written next to it (`CollapseCriteria` in
equipoise/diagnosis/symptoms/collapse.py, equipoise/diagnosis/criteria/metric_quality.py), so there is no selection to
repeat with a run left out. Some were revised after a look at these runs (see the end). A table shows other thresholds.

The last table is about logs that are derived from these, with other courses of quality (_field_courses.py).
"""

import csv
import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _field_courses import KINDS, LENGTH, course_of, derived_logs
from _results import HERE, Item, Result, Results, create_parser, table, write

from equipoise.core.observations import SERIOUS
from equipoise.diagnosis import readers
from equipoise.diagnosis.history import (
    MIN_LEVEL_SPANS,
    WIN_CRITERIA,
    SignalHistory,
    WinCriteria,
    append_reading,
    has_discriminator_won,
)
from equipoise.diagnosis.logs.training_log import MetricSeries, StepSeries, TrainingLog, compute_readings
from equipoise.diagnosis.symptoms.collapse import COLLAPSE_CRITERIA, CollapseCriteria, detect_collapse
from equipoise.diagnosis.symptoms.strong_discriminator import detect_overpowering

EVERY = 5
TOLERANCE = 0.1
RULE = 1.5
DERIVED = 30
"""Number of derived logs of each kind."""
OTHERS: Mapping[str, CollapseCriteria] = {
    f"{name} = {value:g}": dataclasses.replace(COLLAPSE_CRITERIA, **{name: value})
    for name, values in {
        "small": (1.2, 1.35),
        "large": (1.4, 1.6),
        "huge": (1.75, 2.5),
        "deviations": (2, 4),
        "lasting": (0.1, 0.3),
        "rare": (12, 20),
        "frequent": (18, 30),
    }.items()
    for value in values
}
"""Other thresholds, one changed at a time."""
OTHER_WINS: Mapping[str, WinCriteria] = {
    f"{name} = {value:g}": dataclasses.replace(WIN_CRITERIA, **{name: value})
    for name, values in {"loss_d_share": (0.15, 0.25), "loss_g_rise": (0.2, 0.6)}.items()
    for value in values
}
HEAD = ("alarm", "collapses detected", "of these early", "median delay", "false alarms")


class Run(NamedTuple):
    """A row of labels.csv: length of a run, and the step of its collapse, None if it did not collapse."""

    name: str
    length: int
    onset: int | None


class Alarm(NamedTuple):
    """A run, and the step of its first alarm, None without one."""

    run: Run
    step: int | None


def runs(folder: Path) -> list[Run]:
    with (folder / "labels.csv").open() as file:
        return [
            Run(row["file"], int(row["last_step"]), int(row["collapse_onset_step"] or 0) or None)
            for row in csv.DictReader(file)
        ]


def every_fifth(log: TrainingLog, phase: int) -> TrainingLog:
    """Return the log with every fifth FID, starting at number `phase`."""
    series = log.metrics["fid"].series
    part = StepSeries(series.steps[phase::EVERY], series.values[phase::EVERY])
    return dataclasses.replace(log, metrics={"fid": MetricSeries(part, "lower")})


def histories_of(log: TrainingLog) -> list[SignalHistory]:
    result = [SignalHistory()]
    for reading in compute_readings(log):
        result.append(append_reading(result[-1], *reading))
    return result[1:]


def collapse_alarm(histories: Sequence[SignalHistory], criteria: CollapseCriteria = COLLAPSE_CRITERIA) -> int | None:
    """Return the step of the first alarm, reading forwards."""
    return next((history.step for history in histories if detect_collapse(history, criteria)), None)


def losses_alarm(histories: Sequence[SignalHistory], criteria: WinCriteria = WIN_CRITERIA) -> int | None:
    """Return the step from which the losses alone show that the discriminator has won."""
    won: int | None = None
    for history in histories:
        is_won = len(history.spans) >= 2 * MIN_LEVEL_SPANS and has_discriminator_won(history.levels, criteria)
        won = (won or history.step) if is_won else None
        levels = dataclasses.replace(history.levels, discriminator_won_since=won)
        detection = detect_overpowering(dataclasses.replace(history, levels=levels))
        if detection and detection.severity >= SERIOUS:
            return history.step
    return None


def rule_alarm(log: TrainingLog) -> int | None:
    """Return the alarm of the one-line rule: FID above 1.5 times the best."""
    best, series = np.inf, log.metrics["fid"].series
    for step, value in zip(series.steps, series.values, strict=True):
        if value > RULE * best:
            return int(step)
        best = min(best, value)
    return None


def measure(folder: Path, item: Item) -> Result:
    """Compute all alarms of one log: for all criteria of the three questions, and for the rule."""
    (log,) = readers.read_games(folder / item["log"])
    without_fid = histories_of(dataclasses.replace(log, metrics={}))
    logs = {"all": log, **{str(phase): every_fifth(log, phase) for phase in range(EVERY)}}
    histories = {name: histories_of(part) for name, part in logs.items()}
    return {
        "ours": {name: collapse_alarm(history) for name, history in histories.items()},
        "rule": {name: rule_alarm(part) for name, part in logs.items()},
        "losses": losses_alarm(without_fid),
        "others": {
            other: {name: collapse_alarm(history, criteria) for name, history in histories.items()}
            for other, criteria in OTHERS.items()
        },
        "other wins": {other: losses_alarm(without_fid, criteria) for other, criteria in OTHER_WINS.items()},
    }


def measure_derived(folder: Path) -> Result:
    """Compute the alarms of the derived logs, all FIDs and every fifth: (kind, onset, alarm, alarm of the rule)."""
    labelled = [run for run in runs(folder) if not run.name.startswith("WGAN-WC")]  # it never learned
    courses = {run: course_of(readers.read_games(folder / run.name)[0], run.length) for run in labelled}
    healthy = [course for run, course in courses.items() if run.onset is None]
    collapsed = [course for run, course in courses.items() if run.onset is not None]
    result: dict[str, list[tuple[str, int | None, int | None, int | None]]] = {"all": [], "every fifth": []}
    for number, (kind, log, onset) in enumerate(derived_logs(healthy, collapsed, DERIVED, RULE)):
        for name, part in (("all", log), ("every fifth", every_fifth(log, number % EVERY))):
            result[name].append((kind, onset, collapse_alarm(histories_of(part)), rule_alarm(part)))
    return result


def score_row(name: str, alarms: Sequence[Alarm]) -> tuple[str, ...]:
    collapsed = [alarm for alarm in alarms if alarm.run.onset is not None]
    delays = [(step - run.onset) / run.length for run, step in collapsed if step is not None and run.onset is not None]
    raised = [delay for delay in delays if delay <= TOLERANCE + 1e-9]
    false = sum(alarm.step is not None and alarm.run.onset is None for alarm in alarms)
    return (
        name,
        f"{len(raised)} of {len(collapsed)}",
        f"{sum(delay < -TOLERANCE - 1e-9 for delay in raised)}",
        f"{100 * statistics.median(raised):+.1f} %" if raised else "–",
        f"{false} of {len(alarms) - len(collapsed)}",
    )


def random_row(alarms: Sequence[Alarm]) -> tuple[str, ...]:
    """Return the expectation of equally many alarms, in uniformly distributed runs and steps."""
    rate = sum(alarm.step is not None for alarm in alarms) / len(alarms)
    onsets = [alarm.run.onset / alarm.run.length for alarm in alarms if alarm.run.onset is not None]
    grid = np.linspace(0, 1, 10_001)
    delays = np.concatenate([(grid - onset)[grid <= onset + TOLERANCE] for onset in onsets])
    return (
        "random, same rate as ours",
        f"{sum(min(1.0, onset + TOLERANCE) for onset in onsets) * rate:.1f} of {len(onsets)}",
        f"{sum(max(0.0, onset - TOLERANCE) for onset in onsets) * rate:.1f}",
        f"{100 * np.median(delays):+.1f} %",
        f"{rate * (len(alarms) - len(onsets)):.1f} of {len(alarms) - len(onsets)}",
    )


def alarms_of(results: Mapping[Run, Result], key: str, parts: Sequence[str], other: str = "") -> list[Alarm]:
    return [
        Alarm(run, (result[key][other] if other else result[key])[part])
        for run, result in results.items()
        for part in parts
    ]


def tables(results: Mapping[Run, Result], derived: Result) -> Iterator[str]:
    phases = [str(phase) for phase in range(EVERY)]
    for title, parts in (("Losses and all FIDs", ["all"]), ("Losses and every fifth FID, all five choices", phases)):
        ours, rule = (alarms_of(results, key, parts) for key in ("ours", "rule"))
        yield f"## {title}"
        yield table(HEAD, [score_row("ours", ours), score_row("FID above 1.5 × best", rule), random_row(ours)])
        yield by_run(ours, rule)
    yield "## Every choice of every fifth FID"
    rows = [
        score_row(f"from number {int(phase) + 1}: {name}", alarms_of(results, key, [phase]))
        for phase in phases
        for name, key in (("ours", "ours"), ("FID above 1.5 × best", "rule"))
    ]
    yield table(HEAD, rows)
    yield "## Losses only: has the discriminator won?"
    losses = [Alarm(run, result["losses"]) for run, result in results.items()]
    yield table(HEAD, [score_row("ours", losses), random_row(losses)])
    yield by_run(losses)
    yield "## Other thresholds"
    yield from other_thresholds(results, phases)
    yield "## Derived logs"
    yield from derived_tables(derived)


def other_thresholds(results: Mapping[Run, Result], phases: Sequence[str]) -> Iterator[str]:
    rows = []
    for other in ("", *OTHERS):
        key = "others" if other else "ours"
        full = score_row(other or "as they are", alarms_of(results, key, ["all"], other))
        fifth = score_row("", alarms_of(results, key, phases, other))
        rows.append((full[0], *(value for pair in zip(full[1:], fifth[1:], strict=True) for value in pair)))
    head = ("threshold", *(f"{name}, {part}" for name in HEAD[1:] for part in ("all", "fifth")))
    yield table(head, rows)
    wins = [
        score_row(other, [Alarm(run, r["other wins"][other]) for run, r in results.items()]) for other in OTHER_WINS
    ]
    yield "Losses only:"
    yield table(("threshold", *HEAD[1:]), wins)


def derived_tables(derived: Result) -> Iterator[str]:
    """Yield the tables of derived logs: all together, and by kind."""
    alarms: dict[tuple[str, str, str], list[Alarm]] = defaultdict(list)
    for part, entries in derived.items():
        for kind, onset, ours, rule in entries:
            run = Run(kind, LENGTH, onset)
            for name, step in (("ours", ours), ("FID above 1.5 × best", rule)):
                alarms[part, name, "all"].append(Alarm(run, step))
                alarms[part, name, kind].append(Alarm(run, step))
    names = ("ours", "FID above 1.5 × best")
    for part in derived:
        yield f"{part[0].upper()}{part[1:]} FIDs:" if part == "all" else "Every fifth FID:"
        yield table(HEAD, [score_row(name, alarms[part, name, "all"]) for name in names])
        rows = [
            (kind, *(cell for name in names for cell in np.take(score_row("", alarms[part, name, kind]), [1, 2, 4])))
            for kind in KINDS
        ]
        yield table(
            ("kind", *(f"{name}: {cell}" for name in ("ours", "rule") for cell in ("detected", "early", "false"))), rows
        )


def by_run(ours: Sequence[Alarm], rule: Sequence[Alarm] | None = None) -> str:
    """Return a table of all runs that collapsed, and of all false alarms."""
    rows = []
    for index, (run, step) in enumerate(ours):
        other = [describe_alarm(run, rule[index].step)] if rule else []
        if run.onset is not None or step is not None or (rule and rule[index].step is not None):
            onset = f"{run.onset:,}" if run.onset else "never"
            rows.append((run.name.removesuffix(".log.gz"), onset, describe_alarm(run, step), *other))
    return table(("run", "collapsed at step", "alarm", *(["alarm of the rule"] if rule else [])), rows)


def describe_alarm(run: Run, step: int | None) -> str:
    if step is None:
        return "none" if run.onset is None else "none: missed"
    if run.onset is None:
        return f"{step:,}: false"
    delay = (step - run.onset) / run.length
    word = "too late" if delay > TOLERANCE + 1e-9 else "early" if delay < -TOLERANCE - 1e-9 else "in time"
    return f"{step:,}: {100 * delay:+.1f} % of the run, {word}"


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("folder", type=Path, help="folder with the logs and labels.csv")
    args = parser.parse_args()
    results = Results(args.out / "results" / "field_logs.jsonl")
    labelled_runs = runs(args.folder)
    items = [{"log": run.name} for run in labelled_runs]
    derived = {"derived": DERIVED}

    def work(item: Item) -> Result:
        return measure(args.folder, item) if "log" in item else measure_derived(args.folder)

    if not args.table:
        results.measure([*items, derived], work)
    results_by_run = {
        run: result for run, item in zip(labelled_runs, items, strict=True) if (result := results.result(item))
    }
    notes = HERE / "field_logs_notes.md"
    write(
        args.out / "field_logs.md",
        "# Detection of collapse in logs of other projects",
        results.provenance([*items, derived]),
        "FOLDER contains " + (__doc__ or "").partition("FOLDER contains ")[2].strip(),
        *tables(results_by_run, results.result(derived) or {}),
        *([notes.read_text().strip()] if notes.exists() else []),
    )


if __name__ == "__main__":
    main()
