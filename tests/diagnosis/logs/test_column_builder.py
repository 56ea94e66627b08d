"""Columns that are built from rows or from blocks, and rows that are combined in long logs."""

import math

import numpy as np
import pytest

from equipoise.diagnosis.logs import column_builder
from equipoise.diagnosis.logs.column_builder import ColumnBuilder, ColumnPart


def test_rows_and_blocks_of_rows_are_one_sequence() -> None:
    builder = ColumnBuilder()
    builder.add("a", 1)
    builder.add("a", 2)
    builder.end_row()
    builder.end_row()
    mask = np.array([True, False])
    builder.add_rows(2, [ColumnPart("a", np.array([3.0, 4.0])), ColumnPart("b", np.array([5.0, 6.0]), mask)])
    columns = builder.build()
    assert builder.row_count == 4
    assert (columns["a"].rows.tolist(), columns["a"].values.tolist()) == ([0, 2, 3], [2.0, 3.0, 4.0])
    assert (columns["b"].rows.tolist(), columns["b"].values.tolist()) == ([2], [5.0])


def test_columns_with_values_in_the_same_rows_share_them() -> None:
    builder = ColumnBuilder()
    for row in range(100):
        builder.add("a", row)
        builder.add("b", row)
        builder.end_row()
    columns = builder.build()
    assert columns["a"].rows is columns["b"].rows


@pytest.mark.parametrize("block", [1, 7, 64])
def test_long_logs_become_means_of_rows_and_last_counters(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(column_builder, "MAX_ROWS", 100)
    builder, count = ColumnBuilder(), 64 * 7
    for start in range(0, count, block):
        rows = np.arange(start, start + block, dtype=np.float64)
        mask = rows % 16 == 15
        parts = [ColumnPart("step", rows), ColumnPart("loss_d", rows), ColumnPart("fid", rows, mask)]
        builder.add_rows(block, parts)
    columns = builder.build()
    assert builder.stride == 8
    assert builder.row_count == 56
    assert columns["step"].values.tolist() == list(range(7, count, 8))
    means = [row - 3.5 for row in range(7, count, 8)]  # rows at the edge of a block have other weights
    assert columns["loss_d"].values.tolist() == pytest.approx(means, abs=2)
    assert columns["fid"].values.tolist() == list(range(15, count, 16))
    assert columns["fid"].rows.tolist() == list(range(1, 56, 2))
    assert list(builder.notes("row")) == ["448 rows are read as means over 8 consecutive ones."]


def test_a_number_that_is_not_finite_remains_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_builder, "MAX_ROWS", 4)
    builder = ColumnBuilder()
    for value in (1.0, math.nan, 2.0, math.inf, 3.0, 4.0):
        builder.add("loss_d", value)
        builder.end_row()
    builder.add_rows(0, [])
    values = builder.build()["loss_d"].values
    assert math.isnan(values[0])
    assert values[1:].tolist() == [math.inf, 3.5]
