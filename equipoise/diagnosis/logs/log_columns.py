"""The numbers of a log by column name, as a reader returns them: nothing is interpreted yet.

reader -> LogColumns -> counters.assign_steps -> column_names -> TrainingLog (one per game) -> readings -> findings
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Column(NamedTuple):
    """A column: `rows` (N,) int64, increasing, the row of each value; `values` (N,) float64, with nan and inf."""

    rows: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LogColumns:
    """All columns of a log by their names in the log, counters such as "epoch" included.

    A row is a line of text, a row of a table, or a record. A counter without a name is called "#1", "#2", … by its
    position in the row, as in "[3/200][0/500]". `totals`: planned last value of a counter, 200 for that "#1".
    `percent`: columns whose numbers are followed by "%". `row_name`: what a row is called in messages. `notes`: full
    sentences on what was left out. `examples`: the first rows as they stand in the log, for messages. `stride`: number
    of rows of the log that are one row here; their values are means, of counters the last.
    """

    log_format: str
    columns: Mapping[str, Column]
    row_count: int
    row_name: str = "row"
    totals: Mapping[str, float] = field(default_factory=dict)
    percent: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    stride: int = 1


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a user says about a log of an unusual form.

    `columns`: signal or metric -> name of its column, such as {"loss_d": "critic"}. `pattern`: regular expression with
    named groups, one match per row. `step_from`: name of the column that counts.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    pattern: str | None = None
    step_from: str | None = None
