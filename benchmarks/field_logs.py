"""Are collapses found in training logs that nobody here wrote, in time, and without false alarms?

    python benchmarks/field_logs.py FOLDER

FOLDER holds *.log.gz of PyTorch-StudioGAN and labels.csv with the columns file, last_step and collapse_onset_step
(empty for runs that did not collapse). Every log is read forwards: an alarm at a step knows nothing of what follows.
Two questions: what can be told from the losses alone, and from the losses and every fifth FID.

A collapse counts as raised if the alarm comes no later than a tenth of the run after its onset; how many of those came
more than a tenth of the run before it is told beside. Any alarm in a run that did not collapse is false.

Leave one run out: for each run the criteria are chosen on the others, among those of GRID, by collapses raised within a
tenth of the run either way less false and early alarms, then by the shorter median delay either way. The figures of
"ours, left out" are of criteria that never saw the run they are judged on; "ours, as shipped" are the criteria in
equipoise/diagnosis/criteria.py, which were chosen on all of these runs, so their figures flatter. A random alarm has
the same rate of alarms a run, at a step drawn evenly from the run: its figures are expectations, computed exactly.
"""

import csv
import dataclasses
import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _results import HERE, Item, Result, Results, parser, table, write

from equipoise.diagnosis import readers
from equipoise.diagnosis.collapse import collapse
from equipoise.diagnosis.criteria import CRITERIA, Criteria
from equipoise.diagnosis.history import LEVEL_LEAST, History, overwhelmed, remember
from equipoise.diagnosis.trace import Metric, Series, Trace, readings

EVERY, PHASE = 5, 4
"""Every fifth evaluation: the 5th, 10th, … of a run; the four other ways to take every fifth are in the last table."""
LATE = 0.1
RULE = 1.5
GRID = {
    "losses": [
        Criteria(overwhelmed=low, risen=risen, held=held)
        for low, risen, held in itertools.product((0.1, 0.15, 0.2, 0.25), (0.3, 0.6), (0.5, 0.3))
    ],
    "fid": [
        Criteria(lost_twice=twice, lost_with_losses=beside, lost_with_time=time)
        for twice, beside, time in itertools.product((1.25, 1.4), (1.15, 1.1, 1.25), (1.05, 1.15))
    ],
}
"""By question, the likelier first: a tie goes to the earlier."""


class Run(NamedTuple):
    """What labels.csv says of a run: its length, and the step from which it was collapsed, None if it never was."""

    name: str
    length: int
    onset: int | None


class Score(NamedTuple):
    """Figures of one way to raise alarms; delays as shares of a run."""

    raised: float
    early: float
    delay: float
    false: float


def runs(folder: Path) -> list[Run]:
    with (folder / "labels.csv").open() as file:
        return [
            Run(row["file"], int(row["last_step"]), int(row["collapse_onset_step"] or 0) or None)
            for row in csv.DictReader(file)
        ]


def sparse(trace: Trace, phase: int | None) -> Trace:
    """The trace with every fifth FID, from the one numbered `phase`; with none if that is None."""
    if phase is None:
        return dataclasses.replace(trace, metrics={})
    steps, values = trace.metrics["fid"].series
    return dataclasses.replace(
        trace, metrics={"fid": Metric(Series(steps[phase::EVERY], values[phase::EVERY]), "lower")}
    )


def remembered(trace: Trace) -> list[History]:
    """What is remembered at each reading: the same whatever the criteria, but for who has won since when."""
    result = [History()]
    for reading in readings(trace):
        result.append(remember(result[-1], *reading))
    return result[1:]


def alarm(histories: Sequence[History], criteria: Criteria) -> int | None:
    """The step of the first alarm, read forwards."""
    won: int | None = None
    for history in histories:
        is_won = len(history.spans) >= 2 * LEVEL_LEAST and overwhelmed(history.levels, criteria)
        won = (won or history.step) if is_won else None
        levels = dataclasses.replace(history.levels, overwhelmed_since=won)
        if collapse(dataclasses.replace(history, levels=levels), criteria):
            return history.step
    return None


def by_rule(trace: Trace) -> int | None:
    """The one-line rule: FID above 1.5 times the best."""
    best = np.inf
    for step, value in zip(*trace.metrics["fid"].series, strict=True):
        if value > RULE * best:
            return int(step)
        best = min(best, value)
    return None


def measure(folder: Path, item: Item) -> Result:
    """All alarms of one log: for every criteria of both questions, and for the rule."""
    whole = readers.read(folder / item["log"])
    alone = remembered(sparse(whole, None))
    fid = {phase: sparse(whole, phase) for phase in range(EVERY)}
    kept = {phase: remembered(trace) for phase, trace in fid.items()}
    return {
        "losses": [alarm(alone, criteria) for criteria in GRID["losses"]],
        "fid": [alarm(kept[PHASE], criteria) for criteria in GRID["fid"]],
        "phases": [alarm(histories, CRITERIA) for histories in kept.values()],
        "rule": [by_rule(trace) for trace in fid.values()],
    }


def score(alarms: Mapping[Run, int | None]) -> Score:
    delays = [(at - run.onset) / run.length for run, at in alarms.items() if at is not None and run.onset is not None]
    raised = [delay for delay in delays if delay <= LATE]
    false = sum(at is not None and run.onset is None for run, at in alarms.items())
    early = sum(delay < -LATE for delay in raised)
    return Score(len(raised), early, statistics.median(raised) if raised else float("nan"), false)


def worth(alarms: Mapping[Run, int | None]) -> tuple[float, float]:
    """What criteria are chosen by: the higher the better."""
    result = score(alarms)
    return result.raised - 2 * result.early - result.false, -abs(result.delay) if result.raised else -1.0


def left_out(matches: Mapping[Run, Result], question: str) -> tuple[dict[Run, int | None], list[int]]:
    """For each run the alarm of the criteria chosen on the others; and which those were."""
    alarms, chosen = {}, []
    for run in matches:
        others = {other: result for other, result in matches.items() if other != run}
        best = max(
            range(len(GRID[question])),
            key=lambda index: (worth({it: result[question][index] for it, result in others.items()}), -index),
        )
        alarms[run] = matches[run][question][best]
        chosen.append(best)
    return alarms, chosen


def random(alarms: Mapping[Run, int | None]) -> Score:
    """The expectation of as many alarms, each in a run drawn evenly and at a step drawn evenly from it."""
    rate = sum(at is not None for at in alarms.values()) / len(alarms)
    ill = [run.onset / run.length for run in alarms if run.onset is not None]
    raised = sum(min(1.0, onset + LATE) for onset in ill) * rate
    early = sum(max(0.0, onset - LATE) for onset in ill) * rate
    grid = np.linspace(0, 1, 100_001)
    delays = np.concatenate([(grid - onset)[grid <= onset + LATE] for onset in ill])
    return Score(raised, early, float(np.median(delays)), rate * (len(alarms) - len(ill)))


def row(name: str, result: Score, ill: int, well: int) -> tuple[str, ...]:
    form = ".0f" if float(result.raised).is_integer() and float(result.false).is_integer() else ".1f"
    return (
        name,
        f"{result.raised:{form}} of {ill}",
        f"{result.early:{form}}",
        f"{100 * result.delay:+.1f} %",
        f"{result.false:{form}} of {well}",
    )


def shipped(question: str) -> int:
    return GRID[question].index(CRITERIA)


def tables(matches: Mapping[Run, Result]) -> Iterator[str]:
    ill = sum(run.onset is not None for run in matches)
    well = len(matches) - ill
    head = ("alarm", "collapses raised", "of them early", "median delay", "false alarms")
    for question, title in (("losses", "Losses alone"), ("fid", "Losses and every fifth FID")):
        alarms, chosen = left_out(matches, question)
        own = {run: result[question][shipped(question)] for run, result in matches.items()}
        rows = [row("ours, left out", score(alarms), ill, well), row("ours, as shipped", score(own), ill, well)]
        if question == "fid":
            rule = {run: result["rule"][PHASE] for run, result in matches.items()}
            rows.append(row("FID above 1.5 × best", score(rule), ill, well))
        rows.append(row("random, as often as ours", random(alarms), ill, well))
        agreed = sum(index == shipped(question) for index in chosen)
        yield f"## {title}"
        yield table(head, rows)
        yield f"Leaving one out chose the shipped criteria {agreed} times of {len(chosen)}."
        yield by_run(alarms)
    yield "## Every way to take every fifth FID"
    yield table(head, list(phases(matches, ill, well)))


def phases(matches: Mapping[Run, Result], ill: int, well: int) -> Iterator[tuple[str, ...]]:
    for phase in range(EVERY):
        for name, key in (("ours, as shipped", "phases"), ("FID above 1.5 × best", "rule")):
            alarms = {run: result[key][phase] for run, result in matches.items()}
            yield row(f"from number {phase + 1}: {name}", score(alarms), ill, well)


def by_run(alarms: Mapping[Run, int | None]) -> str:
    """Each run that collapsed, and each false alarm."""
    rows = [
        (run.name.removesuffix(".log.gz"), f"{run.onset:,}" if run.onset else "never", told(run, at))
        for run, at in alarms.items()
        if run.onset is not None or at is not None
    ]
    return table(("run", "collapsed at step", "alarm, left out"), rows)


def told(run: Run, at: int | None) -> str:
    if at is None:
        return "none: missed"
    if run.onset is None:
        return f"{at:,}: false"
    delay = (at - run.onset) / run.length
    word = "too late" if delay > LATE else "early" if delay < -LATE else "in time"
    return f"{at:,}: {100 * delay:+.1f} % of the run, {word}"


def main() -> None:
    made = parser(__doc__)
    made.add_argument("folder", type=Path, help="where the logs and labels.csv lie")
    asked = made.parse_args()
    results = Results(asked.out / "results" / "field_logs.jsonl")
    listed = runs(asked.folder)
    items = [{"log": run.name} for run in listed]
    work: Callable[[Item], Any] = lambda item: measure(asked.folder, item)  # noqa: E731
    if not asked.table:
        results.measure(items, work)
    matches = {run: result for run, item in zip(listed, items, strict=True) if (result := results.result(item))}
    notes = HERE / "field_logs_notes.md"
    write(
        asked.out / "field_logs.md",
        "# Collapses in other people's logs",
        results.head(items),
        (__doc__ or "").partition("FOLDER holds ")[2].join(("FOLDER holds ", "")).strip(),
        *tables(matches),
        *([notes.read_text().strip()] if notes.exists() else []),
    )


if __name__ == "__main__":
    main()
