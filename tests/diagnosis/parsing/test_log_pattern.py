"""Logs of any form, read with a regular expression of the user."""

import math
from pathlib import Path

import pytest

from equipoise.diagnosis.logs.log_file import LogFile
from equipoise.diagnosis.parsing import log_pattern
from equipoise.diagnosis.parsing.log_pattern import read_with_pattern
from equipoise.errors import DataError

TEXT = "it1 critic at 0.5; actor at 1,234.5 (90%)\nnoise\nit2 critic at nan; actor at - (91%)\n"
PATTERN = r"it(?P<step>\d+) critic at (?P<loss_d>\S+); actor at (?P<loss_g>\S+) \((?P<share>\S+)\)"


def log_of(text: str) -> LogFile:
    return LogFile(Path("odd.log"), text.encode())


def test_named_groups_are_columns_and_matches_are_rows() -> None:
    log = read_with_pattern(log_of(TEXT), PATTERN)
    assert {name: column.rows.tolist() for name, column in log.columns.items()} == {
        **{"step": [0, 1], "loss_d": [0, 1], "loss_g": [0], "share": [0, 1]}
    }
    assert log.columns["loss_d"].values[0] == 0.5
    assert math.isnan(log.columns["loss_d"].values[1]), "nan is a value of a loss"
    assert log.columns["loss_g"].values.tolist() == [1234.5]
    assert log.columns["share"].values.tolist() == [90, 91]
    assert (log.row_count, log.row_name) == (2, "match")
    assert log.notes == ("1 words that the pattern matched are not numbers.",)


def test_decimal_commas() -> None:
    text = "".join(f"D={step},25 G=0,5\n" for step in range(10))
    log = read_with_pattern(log_of(text), r"D=(?P<loss_d>\S+)")
    assert log.columns["loss_d"].values.tolist() == [step + 0.25 for step in range(10)]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(?P<x>a+", "is not a regular expression"),
        (r"critic (\d+)", r"has no named group; write \(\?P<loss_d>"),
        (r"(?P<fid>FID)", r"matches nothing in odd\.log; its first lines are it1 critic"),
        (r"(?P<loss_d>critic)", "matches 2 times, but never a number"),
    ],
)
def test_wrong_patterns_are_an_error_that_names_them(pattern: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        read_with_pattern(log_of(TEXT), pattern)
    assert pattern in str(raised.value)
    assert "\n" not in str(raised.value)


def test_exponential_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_pattern, "BLOCK_SECONDS", 0.5)
    with pytest.raises(DataError, match=r"takes more than 0\.5 s"):
        read_with_pattern(log_of("a" * 60 + "!\n"), r"(?P<loss_d>(a+)+)$")
