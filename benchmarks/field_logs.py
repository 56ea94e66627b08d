"""Are collapses detected in training logs of other projects, in time, and without false alarms?

    python benchmarks/field_logs.py FOLDER

FOLDER contains *.log.gz of PyTorch-StudioGAN and labels.csv with the columns file, last_step and collapse_onset_step
(empty for runs that did not collapse). Every log is read forwards: an alarm at a step uses nothing that follows. Two
questions: what can be detected from the losses alone, and from the losses and every fifth FID.

A collapse counts as detected if the alarm is no later than a tenth of the run after its onset; alarms more than a tenth
of the run before the onset are counted separately as early. Any alarm in a run that did not collapse is false.

Leave-one-out: for each run the criteria are selected on the other runs, among those of GRID, by the number of collapses
detected within a tenth of the run before or after, minus false and early alarms, and then by the shorter median
absolute delay. The row "ours, left out" uses criteria that were selected without the run; "ours, as shipped" are the
criteria in equipoise/diagnosis/history.py, which were selected on all of these runs, so this row is optimistic. A
random alarm has the same rate of alarms per run, at a uniformly distributed step: its values are exact expectations.
"""

import csv
import dataclasses
import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _results import HERE, Item, Result, Results, create_parser, table, write

from equipoise.diagnosis import readers
from equipoise.diagnosis.history import (
    COLLAPSE_CRITERIA,
    LEVEL_LEAST,
    CollapseCriteria,
    SignalHistory,
    append_reading,
    has_discriminator_won,
)
from equipoise.diagnosis.symptoms.quality import detect_collapse
from equipoise.diagnosis.training_log import MetricSeries, StepSeries, TrainingLog, compute_readings

EVERY, PHASE = 5, 4
"""Every fifth evaluation: the 5th, 10th, … of a run; the four other choices are in the last table."""
TOLERANCE = 0.1
RULE = 1.5
GRID = {
    "losses": [
        CollapseCriteria(loss_d_share=low, loss_g_rise=risen, won_share=share)
        for low, risen, share in itertools.product((0.1, 0.15, 0.2, 0.25), (0.3, 0.6), (0.5, 0.3))
    ],
    "fid": [
        CollapseCriteria(ratio_twice=ratio, ratio_won=won, ratio_won_long=time)
        for ratio, won, time in itertools.product((1.25, 1.4), (1.15, 1.1, 1.25), (1.05, 1.15))
    ],
}
"""By question, most plausible first: a tie is decided by the order."""


class Run(NamedTuple):
    """A row of labels.csv: length of a run, and the step of its collapse, None if it did not collapse."""

    name: str
    length: int
    onset: int | None


class Score(NamedTuple):
    """Results of one kind of alarm; delays as shares of a run."""

    raised: float
    early: float
    delay: float
    false: float


def runs(folder: Path) -> list[Run]:
    with (folder / "labels.csv").open() as file:
        return [
            Run(score_row["file"], int(score_row["last_step"]), int(score_row["collapse_onset_step"] or 0) or None)
            for score_row in csv.DictReader(file)
        ]


def sparse(log: TrainingLog, phase: int | None) -> TrainingLog:
    """Return the log with every fifth FID, starting at number `phase`; without FID if that is None."""
    if phase is None:
        return dataclasses.replace(log, metrics={})
    steps, values = log.metrics["fid"].series
    return dataclasses.replace(
        log, metrics={"fid": MetricSeries(StepSeries(steps[phase::EVERY], values[phase::EVERY]), "lower")}
    )


def histories_of(log: TrainingLog) -> list[SignalHistory]:
    """Return the history at each reading; it depends on the criteria only in who has won since when."""
    result = [SignalHistory()]
    for reading in compute_readings(log):
        result.append(append_reading(result[-1], *reading))
    return result[1:]


def alarm(histories: Sequence[SignalHistory], criteria: CollapseCriteria) -> int | None:
    """Return the step of the first alarm, reading forwards."""
    won: int | None = None
    for history in histories:
        is_won = len(history.spans) >= 2 * LEVEL_LEAST and has_discriminator_won(history.levels, criteria)
        won = (won or history.step) if is_won else None
        levels = dataclasses.replace(history.levels, discriminator_won_since=won)
        if detect_collapse(dataclasses.replace(history, levels=levels), criteria):
            return history.step
    return None


def by_rule(log: TrainingLog) -> int | None:
    """Return the alarm of the one-line rule: FID above 1.5 times the best."""
    best = np.inf
    for step, value in zip(*log.metrics["fid"].series, strict=True):
        if value > RULE * best:
            return int(step)
        best = min(best, value)
    return None


def measure(folder: Path, item: Item) -> Result:
    """Compute all alarms of one log: for all criteria of both questions, and for the rule."""
    log = readers.read_log(folder / item["log"])
    without_fid = histories_of(sparse(log, None))
    fid = {phase: sparse(log, phase) for phase in range(EVERY)}
    histories = {phase: histories_of(log) for phase, log in fid.items()}
    return {
        "losses": [alarm(without_fid, criteria) for criteria in GRID["losses"]],
        "fid": [alarm(histories[PHASE], criteria) for criteria in GRID["fid"]],
        "phases": [alarm(history, COLLAPSE_CRITERIA) for history in histories.values()],
        "rule": [by_rule(log) for log in fid.values()],
    }


def score(alarms: Mapping[Run, int | None]) -> Score:
    delays = [(at - run.onset) / run.length for run, at in alarms.items() if at is not None and run.onset is not None]
    raised = [delay for delay in delays if delay <= TOLERANCE]
    false = sum(at is not None and run.onset is None for run, at in alarms.items())
    early = sum(delay < -TOLERANCE for delay in raised)
    return Score(len(raised), early, statistics.median(raised) if raised else float("nan"), false)


def worth(alarms: Mapping[Run, int | None]) -> tuple[float, float]:
    """Return the objective by which criteria are selected; higher is better."""
    result = score(alarms)
    return result.raised - 2 * result.early - result.false, -abs(result.delay) if result.raised else -1.0


def left_out(results_by_run: Mapping[Run, Result], question: str) -> tuple[dict[Run, int | None], list[int]]:
    """Return for each run the alarm of the criteria selected on the others, and the indices of these criteria."""
    alarms, indices = {}, []
    for run in results_by_run:
        others = {other: result for other, result in results_by_run.items() if other != run}
        best = max(
            range(len(GRID[question])),
            key=lambda index: (worth({it: result[question][index] for it, result in others.items()}), -index),
        )
        alarms[run] = results_by_run[run][question][best]
        indices.append(best)
    return alarms, indices


def random(alarms: Mapping[Run, int | None]) -> Score:
    """Return the expectation of equally many alarms, in uniformly distributed runs and steps."""
    rate = sum(at is not None for at in alarms.values()) / len(alarms)
    collapsed = [run.onset / run.length for run in alarms if run.onset is not None]
    raised = sum(min(1.0, onset + TOLERANCE) for onset in collapsed) * rate
    early = sum(max(0.0, onset - TOLERANCE) for onset in collapsed) * rate
    grid = np.linspace(0, 1, 100_001)
    delays = np.concatenate([(grid - onset)[grid <= onset + TOLERANCE] for onset in collapsed])
    return Score(raised, early, float(np.median(delays)), rate * (len(alarms) - len(collapsed)))


def score_row(name: str, result: Score, collapsed: int, healthy: int) -> tuple[str, ...]:
    form = ".0f" if float(result.raised).is_integer() and float(result.false).is_integer() else ".1f"
    return (
        name,
        f"{result.raised:{form}} of {collapsed}",
        f"{result.early:{form}}",
        f"{100 * result.delay:+.1f} %",
        f"{result.false:{form}} of {healthy}",
    )


def shipped(question: str) -> int:
    return GRID[question].index(COLLAPSE_CRITERIA)


def tables(results_by_run: Mapping[Run, Result]) -> Iterator[str]:
    collapsed = sum(run.onset is not None for run in results_by_run)
    healthy = len(results_by_run) - collapsed
    head = ("alarm", "collapses detected", "of these early", "median delay", "false alarms")
    for question, title in (("losses", "Losses only"), ("fid", "Losses and every fifth FID")):
        alarms, indices = left_out(results_by_run, question)
        alarms_as_shipped = {run: result[question][shipped(question)] for run, result in results_by_run.items()}
        rows = [
            score_row("ours, left out", score(alarms), collapsed, healthy),
            score_row("ours, as shipped", score(alarms_as_shipped), collapsed, healthy),
        ]
        if question == "fid":
            rule = {run: result["rule"][PHASE] for run, result in results_by_run.items()}
            rows.append(score_row("FID above 1.5 × best", score(rule), collapsed, healthy))
        rows.append(score_row("random, same rate as ours", random(alarms), collapsed, healthy))
        agreements = sum(index == shipped(question) for index in indices)
        yield f"## {title}"
        yield table(head, rows)
        yield f"Leave-one-out selected the shipped criteria in {agreements} of {len(indices)} cases."
        yield by_run(alarms)
    yield "## Every choice of every fifth FID"
    yield table(head, list(phases(results_by_run, collapsed, healthy)))


def phases(results_by_run: Mapping[Run, Result], collapsed: int, healthy: int) -> Iterator[tuple[str, ...]]:
    for phase in range(EVERY):
        for name, key in (("ours, as shipped", "phases"), ("FID above 1.5 × best", "rule")):
            alarms = {run: result[key][phase] for run, result in results_by_run.items()}
            yield score_row(f"from number {phase + 1}: {name}", score(alarms), collapsed, healthy)


def by_run(alarms: Mapping[Run, int | None]) -> str:
    """Return a table of all runs that collapsed, and of all false alarms."""
    rows = [
        (run.name.removesuffix(".log.gz"), f"{run.onset:,}" if run.onset else "never", describe_alarm(run, at))
        for run, at in alarms.items()
        if run.onset is not None or at is not None
    ]
    return table(("run", "collapsed at step", "alarm, leave-one-out"), rows)


def describe_alarm(run: Run, at: int | None) -> str:
    if at is None:
        return "none: missed"
    if run.onset is None:
        return f"{at:,}: false"
    delay = (at - run.onset) / run.length
    word = "too late" if delay > TOLERANCE else "early" if delay < -TOLERANCE else "in time"
    return f"{at:,}: {100 * delay:+.1f} % of the run, {word}"


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("folder", type=Path, help="folder with the logs and labels.csv")
    args = parser.parse_args()
    results = Results(args.out / "results" / "field_logs.jsonl")
    labelled_runs = runs(args.folder)
    items = [{"log": run.name} for run in labelled_runs]
    work: Callable[[Item], Any] = lambda item: measure(args.folder, item)  # noqa: E731
    if not args.table:
        results.measure(items, work)
    results_by_run = {
        run: result for run, item in zip(labelled_runs, items, strict=True) if (result := results.result(item))
    }
    notes = HERE / "field_logs_notes.md"
    write(
        args.out / "field_logs.md",
        "# Detection of collapse in logs of other projects",
        results.provenance(items),
        "FOLDER contains " + (__doc__ or "").partition("FOLDER contains ")[2].strip(),
        *tables(results_by_run),
        *([notes.read_text().strip()] if notes.exists() else []),
    )


if __name__ == "__main__":
    main()
