"""Columns of decimals are converted exactly as `float` converts them, and stored without loss."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.diagnosis.logs.packed_columns import PackedColumns, PackedValues, RowBlock
from equipoise.diagnosis.parsing.decimal_numbers import MIN_WORDS, parse_decimals

PADDED = "{:08.2f}"
FORMATS = ["{:.4f}", "{:.6g}", "{:.2e}", "{:.0f}", "{:+.3f}", "{!r}", PADDED]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(FORMATS), st.lists(st.floats(allow_infinity=True), min_size=1, max_size=30))
def test_the_same_as_float(form: str, values: list[float]) -> None:
    is_padded = form == PADDED  # "00000inf" is no number for `float` either
    words = [form.format(0.0 if is_padded and not math.isfinite(value) else value) for value in values] * MIN_WORDS
    np.testing.assert_array_equal(parse_decimals(words), [float(word) for word in words])


@pytest.mark.parametrize("word", ["", "-", "1.2.3", "abc", "1 2", "0x10", "--1", ".", "1\n2"])
def test_words_that_are_no_numbers_are_an_error(word: str) -> None:
    with pytest.raises(ValueError, match="could not convert"):
        parse_decimals(["0.5"] * MIN_WORDS + [word])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.1, 0.25, -3.0, 1e-7, 1e9, np.nan, np.inf, 1 / 3]), max_size=5), max_size=6))
def test_packed_values_are_exact(parts: list[list[float]]) -> None:
    column = PackedValues()
    for part in parts:
        column.extend(np.array(part, np.float64))
    np.testing.assert_array_equal(column.read(), [value for part in parts for value in part])


def test_columns_of_several_blocks_are_in_the_order_of_their_rows() -> None:
    first, second = RowBlock(["step", "loss"]), RowBlock(["step"])
    first.extend(np.array([0, 2]), [np.array([10.0, 30.0]), np.array([0.5, 0.25])], [None, np.array([True, False])])
    second.extend(np.array([1]), [np.array([20.0])], [None])
    columns = PackedColumns([first, second])
    assert columns["step"].values.tolist() == [10, 20, 30]
    assert (columns["loss"].rows.tolist(), columns["loss"].values.tolist()) == ([0], [0.5])
    selected = columns.select(["loss"], np.array([5, 6, 7]))
    assert (list(selected), selected["loss"].rows.tolist()) == (["loss"], [5])
