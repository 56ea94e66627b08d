"""Interpretation of the columns of a log: which signals and metrics they are, and to which game they belong."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from equipoise.core.printing import agree, format_names, printable
from equipoise.diagnosis.columns.column_meanings import assign_games, resolve_meanings
from equipoise.diagnosis.columns.column_names import classify_name
from equipoise.diagnosis.columns.column_words import TERMS, Meaning
from equipoise.diagnosis.columns.counters import StepAssignment, assign_steps
from equipoise.diagnosis.columns.game_columns import (
    ColumnChoice,
    choose_columns,
    choose_learning_rates,
    determine_loss_kind,
)
from equipoise.diagnosis.columns.output_meanings import ColumnRange
from equipoise.diagnosis.columns.requested_columns import (
    RequestedColumn,
    describe_unknown_columns,
    match_requested_columns,
)
from equipoise.diagnosis.logs.log_columns import LogColumns, ReadOptions
from equipoise.diagnosis.logs.training_log import MetricSeries, StepOrder, StepSeries, TrainingLog, order_steps

SHARES = ("accuracy_d", "probability_real", "probability_fake")
"""Signals in [0, 1], which other programs also print in percent. ADA's augment_p may exceed 1, and is not scaled."""
IRRELEVANT = frozenset({TERMS["other"], "a spread, an extreme or a best value"})
"""What comes last among the unused columns: settings, times and spreads."""
_Meanings = Mapping[str, Meaning]
_Rows = npt.NDArray[np.int64]


def interpret(log: LogColumns, options: ReadOptions | None = None) -> tuple[TrainingLog, ...]:
    """Return one training log per game: a CycleGAN has two, nearly all others one.

    A metric without the label of a game belongs to all of them. Raises DataError if no column is a signal or a metric,
    and SettingError if an option names a column or a signal that does not exist.
    """
    options = options or ReadOptions()
    steps = assign_steps(log, options.step_from)
    requested = match_requested_columns(options.columns, log)
    assigned = {column.column for column in requested.values()}
    meanings = {
        name: classify_name(name) for name in log.columns if name not in steps.counters and name not in assigned
    }
    source = _ColumnSource(log, steps)
    logs = []
    for run, group in _split_runs(meanings).items():
        resolved = resolve_meanings(group, source.measure)
        has_requested_signal = any(column.better is None for column in requested.values())
        games = {} if has_requested_signal else assign_games(resolved)
        for game in dict.fromkeys(sorted(games.values())) or ("",):
            own = {name: meaning for name, meaning in resolved.items() if games.get(name, game) == game}
            others = {name for name in games if games[name] != game}
            result = _build_game(source, own, requested, games)
            if result.signals or result.metrics:
                label = " ".join(part for part in (run, game) if part)
                logs.append(replace(result, game=label, ignored=tuple(n for n in result.ignored if n not in others)))
    if not logs:
        columns = {name: meaning for name, meaning in meanings.items() if meaning.kind != "counter"}
        raise describe_unknown_columns(log, columns, source.measure)
    return tuple(logs)


def _split_runs(meanings: _Meanings) -> dict[str, _Meanings]:
    """Return the columns by run, as W&B exports several: "run a - d_loss". One run has no name."""
    runs = dict.fromkeys(meaning.run for meaning in meanings.values() if meaning.kind in ("signal", "metric"))
    if len(runs) < 2:
        return {"": meanings}
    return {
        run: {name: meaning for name, meaning in meanings.items() if meaning.run in (run, "")} for run in runs if run
    }


def _build_game(
    source: "_ColumnSource", meanings: _Meanings, requested: Mapping[str, RequestedColumn], games: Mapping[str, str]
) -> TrainingLog:
    """Build the log of one game from its columns, and those that belong to all games."""
    choices = _with_shared_columns(meanings, games, source)
    choices |= {name: ColumnChoice((column.column,)) for name, column in requested.items() if column.better is None}
    choices = {name: choices[name] for name in dict.fromkeys(("loss_d", "loss_g", *choices)) if name in choices}
    signals = {signal: source.combine(choice, signal in SHARES) for signal, choice in choices.items()}
    metrics: dict[str, MetricSeries] = {}
    sources = {signal: choice.names for signal, choice in choices.items()}
    for metric, name in _choose_metrics(meanings, source).items():
        metrics[metric] = MetricSeries(source.series(name), meanings[name].better)
        sources[metric] = (name,)
    for metric, column in requested.items():
        if column.better:
            metrics[metric] = MetricSeries(source.series(column.column), column.better)
            sources[metric] = (column.column,)
    used = {name for names in sources.values() for name in names}
    notes = (*source.repeat_notes(used), *_choice_notes(choices, source), *_shared_notes(meanings, games, used))
    requested_meanings = {column.column: classify_name(column.column) for column in requested.values()}
    loss_kind = determine_loss_kind(choices, requested_meanings | dict(meanings), source.measure)
    if (caveat := loss_kind.caveat) and not metrics:
        notes = (*notes, f"{caveat[0].upper()}{caveat[1:]}.")
    unused = [
        name for name in meanings if name not in used and meanings[name].kind != "counter" and not name.startswith("#")
    ]
    ignored = tuple(sorted(unused, key=lambda name: meanings[name].name in IRRELEVANT))
    steps = source.steps
    return TrainingLog(
        source.log.log_format,
        {signal: series for signal, series in signals.items() if len(series.steps)},
        {name: metric for name, metric in metrics.items() if len(metric.series.steps)},
        total=steps.total,
        unit=steps.unit,
        ignored=ignored,
        sources=sources,
        notes=(*source.log.notes, *steps.notes, *notes),
        loss_kind=loss_kind,
        learning_rates=choose_learning_rates(ignored, source.last),
    )


def _choice_notes(choices: Mapping[str, ColumnChoice], source: "_ColumnSource") -> Iterator[str]:
    """Yield how a signal was computed from its columns, where the names alone do not show it."""
    for signal, choice in choices.items():
        names = " and ".join(printable(name) for name in choice.names)
        if choice.form in ("mean", "negative"):
            yield f"{signal} is the {choice.form} of {names}."
        if signal in SHARES and any(source.in_percent(name) for name in choice.names):
            yield f"{names} {agree(len(choice.names), 'is', 'are')} in percent: divided by 100."


def _shared_notes(meanings: _Meanings, games: Mapping[str, str], used: Collection[str]) -> Iterator[str]:
    """Yield which columns belong to no game of several, and therefore to all."""
    if names := [name for name in meanings if games and name in used and name not in games]:
        verbs = agree(len(names), "has no label of a game and counts", "have no label of a game and count")
        yield f"{format_names(names)} {verbs} in every game."


def _with_shared_columns(
    meanings: _Meanings, games: Mapping[str, str], source: "_ColumnSource"
) -> dict[str, ColumnChoice]:
    """Return the columns of each signal; one without the label of a game counts where the game has none of its own."""
    own = {name: meaning for name, meaning in meanings.items() if name in games or not games}
    shared = {name: meaning for name, meaning in meanings.items() if name not in own}
    if games:
        own = {name: replace(meaning, label="", rank=min(meaning.rank, 2)) for name, meaning in own.items()}
    choices = choose_columns(own, source.count)
    if shared:
        choices = choose_columns(shared, source.count) | choices
    return choices


def _choose_metrics(meanings: _Meanings, source: "_ColumnSource") -> dict[str, str]:
    """Return the column of each metric by its id; a second one of another split has its whole name as the id.

    What is computed on held-out data comes before what is computed on training data.
    """
    result: dict[str, str] = {}
    names = [name for name, meaning in meanings.items() if meaning.kind == "metric"]
    for name in sorted(names, key=lambda name: (meanings[name].split == "train", -source.count(name))):
        meaning = meanings[name]
        earlier = result.get(meaning.name)
        if earlier is None:
            result[meaning.name] = name
        elif meanings[earlier].split != meaning.split or meanings[earlier].statistic == meaning.statistic:
            result.setdefault(re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"), name)
    return result


@dataclass
class _ColumnSource:
    """The columns of a log as series by step; columns with the same rows share one array of steps."""

    log: LogColumns
    steps: StepAssignment
    _ranges: dict[str, ColumnRange] = field(default_factory=dict)
    _orders: list[tuple[_Rows, StepOrder]] = field(default_factory=list)

    def count(self, name: str) -> int:
        """Return the number of values of a column."""
        return len(self.log.columns[name].rows)

    def last(self, name: str) -> float:
        """Return the last value of a column; nan if it has none."""
        values = self.log.columns[name].values
        return float(values[-1]) if len(values) else np.nan

    def measure(self, name: str) -> ColumnRange:
        """Return the range of a column's finite values, percentages as shares."""
        if name not in self._ranges:
            values = self.log.columns[name].values
            finite = values[np.isfinite(values)] * (0.01 if name in self.log.percent else 1.0)
            low, high, mean = (finite.min(), finite.max(), finite.mean()) if len(finite) else (np.nan,) * 3
            self._ranges[name] = ColumnRange(float(low), float(high), float(mean))
        return self._ranges[name]

    def repeat_notes(self, names: Collection[str]) -> Iterator[str]:
        """Yield how many values were superseded by the next one of the same step."""
        repeated = {name: self._order(self.log.columns[name].rows).repeated for name in sorted(names)}
        most = max(repeated, key=lambda name: repeated[name], default="")
        if most and repeated[most]:
            values = f"{repeated[most]:,} of {self.count(most):,} values of {printable(most)}"
            yield f"{values} have the step of the next value and were superseded by it."

    def in_percent(self, name: str) -> bool:
        """Return whether a share is printed in percent: with a sign, or by values above 1.5 and up to 100."""
        return name in self.log.percent or 1.5 < self.measure(name).high <= 100

    def series(self, name: str, is_share: bool = False) -> StepSeries:
        """Return a column by step; `is_share`: scaled to [0, 1] if it is in percent."""
        column = self.log.columns[name]
        values = column.values
        if name in self.log.percent or (is_share and self.in_percent(name)):
            values = values * 0.01
        return self._order(column.rows).take(values)

    def _order(self, rows: _Rows) -> StepOrder:
        """Return the order of the steps of rows, the same one for columns with the same rows."""
        for earlier, order in self._orders:
            if np.array_equal(earlier, rows):
                return order
        row_steps = self.steps.steps if len(rows) == self.log.row_count else self.steps.steps[rows]
        has_step = np.isfinite(row_steps)
        if has_step.all():
            order = order_steps(row_steps)
        else:
            valid = order_steps(row_steps[has_step])
            order = valid._replace(rows=np.flatnonzero(has_step)[valid.rows])
        self._orders = [*self._orders[-7:], (rows, order)]
        return order

    def combine(self, choice: ColumnChoice, is_share: bool) -> StepSeries:
        """Return the series of a choice: of one column, or of several at the steps that all of them have."""
        first, *others = (self.series(name, is_share) for name in choice.names)
        if choice.form == "negative":
            return first._replace(values=-first.values)
        if not others:
            return first
        result = first
        for other in others:
            result = _add(result, other)
        return result._replace(values=result.values / len(choice.names)) if choice.form == "mean" else result


def _add(left: StepSeries, right: StepSeries) -> StepSeries:
    """Return the sum of two series at the steps that both have."""
    if np.array_equal(left.steps, right.steps):
        return StepSeries(left.steps, left.values + right.values)
    steps, here, there = np.intersect1d(left.steps, right.steps, assume_unique=True, return_indices=True)
    return StepSeries(steps, left.values[here] + right.values[there])
