"""Interpretation of the columns of a log: which signals and metrics they are, and to which game they belong."""

from equipoise.diagnosis.counters import assign_steps
from equipoise.diagnosis.log_columns import LogColumns, ReadOptions
from equipoise.diagnosis.training_log import TrainingLog


def interpret(log: LogColumns, options: ReadOptions | None = None) -> tuple[TrainingLog, ...]:
    """Return one training log per game: a CycleGAN has two, nearly all others one.

    Raises DataError if no column is a signal or a metric, or if an option names a column that does not exist.
    """
    options = options or ReadOptions()
    steps = assign_steps(log, options.step_from)
    columns = {}
    for name, column in log.columns.items():
        row_steps = steps.steps[column.rows]
        has_step = row_steps == row_steps
        if name not in steps.counters and has_step.any():
            columns[name] = (row_steps[has_step], column.values[has_step])
    return (TrainingLog.from_columns(log.log_format, columns, steps.unit),)
