"""Files of one run are merged in the order of their counter."""

import numpy as np

from equipoise.diagnosis.logs.log_columns import Column, LogColumns
from equipoise.diagnosis.logs.merging import add_log, merge_logs


def make_log(steps: list[float], counter: str = "step", **columns: list[float]) -> LogColumns:
    rows = np.arange(len(steps))
    result = {name: Column(rows, np.array(values)) for name, values in {counter: steps, **columns}.items()}
    return LogColumns("test", result, len(steps), notes=(f"note of {','.join(columns)}.",))


def values(log: LogColumns, name: str, counter: str = "step") -> list[tuple[float, float]]:
    steps = log.columns[counter].values[np.searchsorted(log.columns[counter].rows, log.columns[name].rows)]
    return list(zip(steps.tolist(), log.columns[name].values.tolist(), strict=True))


def test_rows_are_in_the_order_of_the_counter_and_keep_their_values() -> None:
    merged = merge_logs((make_log([1, 2, 3], loss=[10, 20, 30]), make_log([2, 9], fid=[5, 6])), "step")
    assert merged.columns["step"].values.tolist() == [1, 2, 2, 3, 9]
    assert values(merged, "loss") == [(1, 10), (2, 20), (3, 30)]
    assert values(merged, "fid") == [(2, 5), (9, 6)]
    assert merged.notes == ("note of loss.", "note of fid.")
    assert (np.diff(merged.columns["fid"].rows) > 0).all()


def test_logs_of_other_units_or_other_lengths_do_not_fit() -> None:
    losses = make_log(list(range(0, 100, 10)), loss=[1.0] * 10)
    added = add_log(losses, make_log([0, 50, 90], "iteration", fid=[3, 2, 1]), "fid.csv")
    assert added is not None
    assert values(added, "fid") == [(0, 3), (50, 2), (90, 1)]
    assert added.notes[-1] == "The columns of fid.csv were added."
    assert add_log(losses, make_log([0, 50, 90], "epoch", fid=[3, 2, 1]), "fid.csv") is None
    assert add_log(losses, make_log([0, 5, 9], fid=[3, 2, 1]), "fid.csv") is None
    assert add_log(losses, make_log([0, 90, 50], fid=[3, 2, 1]), "fid.csv") is None
