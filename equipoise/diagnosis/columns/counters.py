"""Counters of logs: which columns count, and the step of every row.

Several columns may count: the one with the most distinct steps is chosen. Nested counters such as epoch and batch are
combined into one; rows without a counter take it from the rows before them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.core.printing import agree, format_count, format_names, printable
from equipoise.diagnosis.columns.column_names import classify_name, match_counter, normalise_name
from equipoise.diagnosis.columns.column_words import RATE, StepUnit
from equipoise.diagnosis.columns.nested_counters import (
    Counter,
    combine_counters,
    count_lengths,
    fill_forward,
    follows_its_rows,
)
from equipoise.diagnosis.columns.repeated_steps import compute_repeated_share, is_rank
from equipoise.diagnosis.logs.log_columns import LogColumns
from equipoise.diagnosis.logs.training_log import MAX_STEP
from equipoise.errors import DataError

SIMILAR = 0.9
"""Counters that keep this share of the rows of the best one are as good; the simplest is preferred."""
DESCENDING_SHARE = 0.9
"""Share of falling steps above which a log has its newest rows first; runs are not resumed that often."""
MAX_UNNAMED = 5
"""Number of columns without a name that may count: a table without a header has many columns."""
UNITS: Sequence[StepUnit] = ("step", "image", "epoch", "row")
"""Units in the order of preference."""
RANKS = ("rank", "localrank", "globalrank", "worldrank", "gpu")
"""Names of columns with the number of a process."""
PER_EPOCH = ("batch", "batches", "batchidx", "batchindex", "minibatch", "batchnumber")
"""Names of counters that begin again in every epoch."""

Steps = npt.NDArray[np.float64]


class StepAssignment(NamedTuple):
    """The step of each row of a log.

    `steps`: (rows,) float64, nan for rows without a counter. `counters`: names of the columns that were used. `total`:
    planned length in `unit`s, None if unknown. `notes`: full sentences on rows that were dropped or reinterpreted.
    """

    steps: Steps
    unit: StepUnit
    counters: tuple[str, ...]
    total: int | None = None
    notes: tuple[str, ...] = ()


def assign_steps(log: LogColumns, step_from: str | None = None) -> StepAssignment:
    """Choose the counter of a log and compute the step of each row.

    Raises DataError if `step_from` is not a column with numbers.
    """
    names = [_match_column(log, step_from)] if step_from is not None else list(_counter_names(log))
    counters = list(_read_counters(log, names, bool(step_from)))
    if step_from is not None and not counters:
        raise DataError(f"column {printable(names[0])} of --step-from has no numbers that can count; use another one")
    if not counters:
        return _count_rows(log, _no_counter_note(log, [name for name in names if not name.startswith("#")]))
    descending = all(_is_descending(counter.values) for counter in counters)
    chosen = _choose(list(_options(counters, log, descending)), descending, log)
    ranks = [counter.name for counter in _rank_columns(log, counters) if is_rank(counter, counters)]
    if step_from is None and not ranks and (repeats := compute_repeated_share(log, chosen.steps, chosen.unit, names)):
        return _count_rows(log, _repeat_note(log, chosen, repeats))
    if ranks:
        note = (
            f"The {log.row_name}s of several processes ({printable(ranks[0])}) alternate: the last of each step counts."
        )
        chosen = chosen._replace(notes=(*chosen.notes, note))
    notes = (*_dropped_notes(log, chosen, counters, names), *_restart_notes(log, chosen, descending))
    return chosen._replace(total=chosen.total or _total_from_percent(log, chosen.steps), notes=notes)


def _no_counter_note(log: LogColumns, names: Sequence[str]) -> str:
    """Return why rows are counted; "" for a single row. `names`: counters whose numbers do not count."""
    reason = f"{format_names(names)} has no number from 0 to {MAX_STEP:,}" if names else "No column counts steps"
    is_clear = not names and log.row_count == 1
    return "" if is_clear else f"{reason}: the {_row_text(log)} {agree(log.row_count, 'is', 'are')} counted."


def _match_column(log: LogColumns, name: str) -> str:
    """Return the column that a user means, by its name or by its normalised name."""
    if name in log.columns:
        return name
    for column in log.columns:
        if normalise_name(column) == normalise_name(name) != "":
            return column
    names = format_names(list(log.columns), most=20)
    raise DataError(f"there is no column '{printable(name)}' for --step-from; the columns are {names}")


def _counter_names(log: LogColumns) -> Iterator[str]:
    for name in log.columns:
        if name.startswith("#") or counter_unit(name) is not None:
            yield name


def _read_counters(log: LogColumns, names: Sequence[str], requested: bool) -> Iterator[Counter]:
    unnamed = 0
    for name in names:
        is_unnamed = name.startswith("#")
        if not (is_unnamed and unnamed == MAX_UNNAMED) and (counter := _read_counter(log, name, requested)):
            unnamed += is_unnamed
            yield counter


def _rank_columns(log: LogColumns, counters: Sequence[Counter]) -> Iterator[Counter]:
    """Yield the columns that may be the number of a process: those without a name, and "rank"."""
    yield from (counter for counter in counters if counter.name.startswith("#"))
    yield from _read_counters(log, [name for name in log.columns if normalise_name(name) in RANKS], requested=False)


def counter_unit(name: str) -> StepUnit | None:
    """Return what a column counts, by its name; None if it is no counter."""
    for part in (name,) if RATE.search(name) else (name, name.rpartition("/")[2]):
        normalised = normalise_name(part)
        if normalised in PER_EPOCH:
            return "step"
        if unit := match_counter(part):
            return unit
    return None


def _read_counter(log: LogColumns, name: str, requested: bool) -> Counter | None:
    """Return the counter in a column; None if its numbers do not count.

    A column without a name counts if it has whole numbers alone: it may as well be a learning rate.
    """
    rows, values = log.columns[name]
    total = log.totals.get(name)
    if normalise_name(name).endswith(("kimg", "kimgs")):
        values, total = np.round(values * 1000), None if total is None else total * 1000
    valid = np.isfinite(values) & (values >= 0) & (values < MAX_STEP)
    is_whole = bool((values[valid] == np.floor(values[valid])).all())
    if not valid.any() or (name.startswith("#") and not requested and not (is_whole and valid.all())):
        return None
    own = np.full(log.row_count, np.nan)
    own[rows[valid]] = values[valid]
    return Counter(name, own, counter_unit(name) or "step", total)


def _options(counters: Sequence[Counter], log: LogColumns, descending: bool) -> Iterator[StepAssignment]:
    """Yield all ways to count: each counter alone, then pairs of them, then a counter by the epochs that it implies."""
    for counter in counters:
        total = None if counter.total is None else int(min(counter.total, MAX_STEP))
        is_behind = descending or follows_its_rows(counter)
        filled = fill_forward(counter.values[::-1])[::-1] if is_behind else fill_forward(counter.values)
        yield StepAssignment(filled, counter.unit, (counter.name,), total)
    if descending:
        return
    nested = set()
    for outer in counters:
        for inner in counters:
            is_outer = outer.unit == "epoch" or outer.name.startswith("#")
            if outer is not inner and is_outer and inner.unit == "step" and (pair := combine_counters(outer, inner)):
                nested.add(inner.name)
                yield StepAssignment(pair.steps, "step", (outer.name, inner.name), pair.total)
    for inner in counters:
        is_short = normalise_name(inner.name) in PER_EPOCH
        if inner.name.startswith("#") and is_rank(inner, counters):
            continue
        if inner.unit == "step" and inner.name not in nested and (lengths := count_lengths(inner, is_short)):
            note = (
                f"Column {printable(inner.name)} begins again {lengths.epochs - 1:,} times; each time is taken as an "
                f"epoch of {lengths.length:,} steps."
            )
            yield StepAssignment(lengths.steps, "step", (inner.name,), notes=(note,))


def _choose(options: Sequence[StepAssignment], descending: bool, log: LogColumns) -> StepAssignment:
    """Return the simplest of the options with the most distinct steps.

    Both counters of [3/200][0/500] are used even if the log has one row per epoch: the second one says how many steps
    an epoch has.
    """
    kept = [_distinct_steps(option.steps, descending) for option in options]
    best = [option for option, count in zip(options, kept, strict=True) if count >= SIMILAR * max(kept)]
    pairs = [option.counters for option in best if len(option.counters) == 2 and option.counters[1] in log.totals]
    outer = {names[0] for names in pairs if names[0].startswith("#") and names[0] in log.totals}
    return min((option for option in best if option.counters not in {(name,) for name in outer}), key=_complexity)


def _complexity(option: StepAssignment) -> tuple[int, int, bool, int, bool]:
    """Return what makes an option worse than another one; the index of a table without a name numbers its rows."""
    is_unnamed = option.counters[0].startswith("#")
    is_index = is_unnamed and len(option.steps) > 1 and bool((np.diff(option.steps) == 1).all())
    return len(option.notes), len(option.counters), is_index, UNITS.index(option.unit), is_unnamed


def _distinct_steps(steps: Steps, descending: bool) -> int:
    """Return the number of steps that no later row supersedes."""
    known = np.floor(steps[np.isfinite(steps)])
    known = known[::-1] if descending else known
    if not len(known):
        return 0
    later = np.minimum.accumulate(known[::-1])[::-1]
    return int((known[:-1] < later[1:]).sum()) + 1


def _is_descending(values: Steps) -> bool:
    changes = np.diff(values[np.isfinite(values)])
    changes = changes[changes != 0]
    return len(changes) > 1 and float((changes < 0).mean()) > DESCENDING_SHARE


def _count_rows(log: LogColumns, note: str) -> StepAssignment:
    steps = np.arange(1, log.row_count + 1, dtype=np.float64) * log.stride
    return StepAssignment(steps, "row", (), notes=(note,) if note else ())


def _row_text(log: LogColumns, count: int | None = None) -> str:
    """Return a number of rows in words, as rows of the log: all of them by default."""
    return format_count((log.row_count if count is None else count) * log.stride, log.row_name)


def _repeat_note(log: LogColumns, chosen: StepAssignment, share: float) -> str:
    known, names = chosen.steps[np.isfinite(chosen.steps)], " and ".join(map(printable, chosen.counters))
    if (known != np.floor(known)).any():
        return f"{names} has fractions ({known.min():,.6g} to {known.max():,.6g}): the {_row_text(log)} are counted."
    return (
        f"{names} is the same in {share:.0%} of consecutive "
        f"{log.row_name}s ({known.min():,.6g} to {known.max():,.6g}): the {_row_text(log)} are counted."
    )


def _dropped_notes(
    log: LogColumns, chosen: StepAssignment, counters: Sequence[Counter], names: Sequence[str]
) -> Iterator[str]:
    """Yield what was dropped because it has no step: rows before the first counter, and values that cannot count."""
    yield from chosen.notes
    has_value = np.zeros(log.row_count, bool)
    for name, column in log.columns.items():
        if name not in names:
            has_value[column.rows] = True
    if without := int((has_value & ~np.isfinite(chosen.steps)).sum()):
        yield (
            f"{without * log.stride:,} of {_row_text(log, int(has_value.sum()))} have no counter before or in them "
            f"({' and '.join(map(printable, chosen.counters))}) and were dropped."
        )
    for name in chosen.counters:
        counter = next(counter for counter in counters if counter.name == name)
        if invalid := len(log.columns[name].rows) - int(np.isfinite(counter.values).sum()):
            yield (
                f"{invalid:,} of {len(log.columns[name].rows):,} values of {printable(name)} are not numbers from 0 to "
                f"{MAX_STEP:,} and do not count."
            )


def _restart_notes(log: LogColumns, chosen: StepAssignment, descending: bool) -> Iterator[str]:
    """Yield what was done about a counter that goes back; a late row between two others is not a restart."""
    if descending:
        yield f"The {log.row_name}s are in descending order of {printable(chosen.counters[0])}; sorted."
        return
    names = [name for name in log.columns if classify_name(name).kind in ("signal", "metric")]
    own_steps = [chosen.steps[log.columns[name].rows] for name in names]
    if own_steps and not any((np.diff(steps[np.isfinite(steps)]) < 0).any() for steps in own_steps):
        return  # one column after another
    known = np.floor(chosen.steps[np.isfinite(chosen.steps)])
    before, after = known[:-1], np.append(known[2:], -1)
    rows = np.flatnonzero((known[1:] < before) & (after[: len(before)] <= before)) + 1
    if not len(rows):
        return
    dropped = len(known) - _distinct_steps(known, descending=False) - int((np.diff(known) == 0).sum())
    first, back = int(known[rows[-1] - 1]), int(known[rows[-1]])
    times = "" if len(rows) == 1 else f", the last of {len(rows):,} times"
    if back <= known[0] or back <= known.min():
        yield (
            f"The counter begins again at {back:,} after {first:,}{times}: the log holds several runs and the last one "
            f"is read; {_row_text(log, dropped)} of earlier runs were dropped (move them to a file of their own)."
        )
    else:
        yield (
            f"The counter goes back from {first:,} to {back:,}{times}: the run was resumed there, and "
            f"{_row_text(log, dropped)} were superseded."
        )


def _total_from_percent(log: LogColumns, steps: Steps) -> int | None:
    """Return the planned length by the progress in percent that the log prints, as "Progress: 2.0%"."""
    for name in log.percent & log.columns.keys():
        rows, values = log.columns[name]
        valid = np.isfinite(steps[rows]) & (values > 0) & (values <= 100)
        if normalise_name(name) in ("progress", "percent", "done") and valid.any():
            at = int(np.argmax(np.where(valid, values, 0)))
            return round(float(steps[rows[at]] / values[at] * 100))
    return None
