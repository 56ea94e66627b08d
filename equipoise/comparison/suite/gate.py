"""The gate: is there anything to win by adapting to the data? The best of 24 constants per task against one for all.

The best constant of a task is chosen with one seed, and its value is that of fresh seeds: the best of a choice looks
better than it is. Without headroom of 10 % no controller is compared on a suite.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from equipoise.comparison.aggregate import IntervalEstimate
from equipoise.comparison.suite import equivalent_trials, statistics
from equipoise.comparison.suite.records import Endpoint, RunArray, SuiteRecords
from equipoise.comparison.suite.verdict import ORACLE, SuiteStudy

CHOICE_SEED = 0
HEADROOM = 0.9
"""The gate is passed if the ratio of the oracle to the constant is at most this."""


@dataclass(frozen=True, slots=True)
class GateRow:
    """A task. `number`: of the chosen constant. `chosen`: its ratio with the seed of the choice; `fresh`: with others.

    `default`: ratio of the published setting, constant number 0. NaN where no runs exist.
    """

    task: str
    number: int
    chosen: float
    fresh: float
    default: float


@dataclass(frozen=True, slots=True)
class Gate:
    """Headroom over tasks. `ratio`: resampling seeds; `over_tasks`: tasks as well.

    `curve`: number of trials on the task itself -> mean log ratio of the best, at fresh seeds where they exist.
    `fresh_shares`: the share of that value which rests on fresh seeds. `optimistic`: with the seed of the choice.
    """

    rows: tuple[GateRow, ...]
    ratio: IntervalEstimate
    over_tasks: IntervalEstimate
    curve: Mapping[int, float]
    fresh_shares: Mapping[int, float]
    optimistic: Mapping[int, float]

    @property
    def is_passed(self) -> bool:
        """Whether the headroom is at least 10 %, and the interval over seeds excludes none."""
        return self.ratio.value <= HEADROOM and self.ratio.high < 1


def choose_constants(
    records: SuiteRecords, constants: Sequence[str], tasks: Sequence[str], endpoint: Endpoint
) -> dict[str, str]:
    """Return the settings of the best constant per task, by the seed of the choice; tasks without runs are left out."""
    choices = {}
    for task in tasks:
        values = _choice_distances(records, constants, task, endpoint)
        if np.isfinite(values).any():
            choices[task] = constants[int(np.nanargmin(values))]
    return choices


def measure_gate(study: SuiteStudy, constants: Sequence[str], endpoint: Endpoint) -> Gate:
    """Measure the headroom of the oracle of a study. `constants`: settings of all, the published ones first."""
    ratios = study.log_ratios(endpoint)[ORACLE]
    tasks = [task for task in study.tasks if study.oracle.get(task)]
    tables = [_task_table(study.subset([task]), constants, endpoint) for task in tasks]
    trials = [number for number in equivalent_trials.TRIALS if number <= len(constants)]

    def mean_curve(part: Sequence[tuple[RunArray, RunArray]]) -> dict[int, float]:
        curves = [{n: equivalent_trials.best_of_trials(choice, value, n) for n in trials} for choice, value in part]
        return equivalent_trials.curve_over_tasks(curves)

    return Gate(
        rows=tuple(_row(study, constants, table, task) for task, table in zip(tasks, tables, strict=True)),
        ratio=statistics.as_ratio(statistics.estimate_over_seeds([ratios], statistics.mean_log_ratio)),
        over_tasks=statistics.as_ratio(statistics.estimate_over_tasks([ratios], statistics.mean_log_ratio)),
        curve=mean_curve([(table.choice, table.value) for table in tables]),
        fresh_shares=mean_curve([(table.choice, table.is_fresh) for table in tables]),
        optimistic=mean_curve([(table.choice, table.choice) for table in tables]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class ConstantTable:
    """Log ratios (N,) of the constants on a task. `choice`: with the seed of the choice. `value`: with fresh seeds
    where those ran (`is_fresh`: 1.0), else with the seed of the choice."""

    choice: RunArray
    value: RunArray
    is_fresh: RunArray


def _task_table(study: SuiteStudy, constants: Sequence[str], endpoint: Endpoint) -> ConstantTable:
    """Return the table of the only task of a study."""
    names = {f"constant {number}": text for number, text in enumerate(constants)}
    everyone = replace(study, settings={**study.settings, **names})
    fresh = [statistics.task_means(everyone.log_ratios(endpoint)[name])[0] for name in names]
    task, floor = study.tasks[0], study.floor
    choice = _choice_distances(study.records, constants, task, endpoint)
    base = everyone.distances(endpoint)[study.base]
    worst = statistics.FAILURE_FACTOR * np.nanmax(np.where(np.isfinite(choice), choice, -np.inf), initial=floor[0])
    values = np.where(np.isfinite(choice), choice, worst)
    logs = np.log(np.maximum(values, 0) + floor[0]) - float(np.nanmean(np.log(np.maximum(base, 0) + floor[0])))
    is_fresh = np.isfinite(fresh)
    return ConstantTable(logs, np.where(is_fresh, fresh, logs), is_fresh.astype(np.float64))


def _row(study: SuiteStudy, constants: Sequence[str], table: ConstantTable, task: str) -> GateRow:
    number = list(constants).index(study.oracle[task])
    fresh = math.exp(table.value[number]) if table.is_fresh[number] else math.nan
    default = math.exp(table.value[0]) if table.is_fresh[0] else math.nan
    return GateRow(task, number, math.exp(table.choice[number]), fresh, default)


def _choice_distances(records: SuiteRecords, constants: Sequence[str], task: str, endpoint: Endpoint) -> RunArray:
    """Return distances (N,) with the seed of the choice; NaN: no run, infinity: diverged."""
    return np.array([records.distances([task], text, [CHOICE_SEED], endpoint)[0, 0] for text in constants])
