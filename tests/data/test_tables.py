"""Parsing of tables: separators, headers, kinds of columns, missing values."""

import numpy as np
import pytest
import torch

from equipoise.data._windows.columns import ColumnSelection, axis_kind, is_label, text_kind
from equipoise.data._windows.scales import choose_bounds
from equipoise.data._windows.tables import parse_table, parse_text, to_numbers
from equipoise.errors import DataError, SettingError

RANDOM = np.random.default_rng(0)


def test_equivalent_formats_give_equal_numbers():
    """Semicolons, decimal commas, tabs, spaces, a BOM, Windows line breaks, headers, and names of rows."""
    pandas = "," + ",".join(map(str, range(16))) + "\n"
    styles = {
        "semicolon": lambda text: text.replace(",", ";"),
        "decimal comma": lambda text: text.replace(",", ";").replace(".", ","),
        "tab": lambda text: text.replace(",", "\t"),
        "blanks": lambda text: "  " + text.replace(",", "   ").replace("\n", "\n  ").rstrip(),
        "bom": lambda text: "\ufeff" + text,
        "windows": lambda text: text.replace("\n", "\r\n") + "\r\n\r\n",
        "spaces": lambda text: text.replace(",", " , "),
        "comment": lambda text: "# 20 to 90 MHz\n" + text,
        "header": lambda text: ",".join(f"f{i}" for i in range(16)) + "\n" + text,
        "counted": lambda text: pandas[1:] + text,
        "pandas": lambda text: pandas + "".join(f"2026-11-{i},{line}\n" for i, line in enumerate(text.splitlines())),
        "exponents": lambda text: "\n".join(
            ",".join(f"{float(x) * 1e3:.17e}".replace("e+", "E+") for x in line.split(","))
            for line in text.splitlines()
        ),
    }
    plain = "".join(",".join(f"{x:.4f}" for x in row) + "\n" for row in RANDOM.normal(0, 5, (16, 16)))
    expected = parse_table(plain.encode(), "plain").values
    for name, style in styles.items():
        table = parse_table(style(plain).encode(), name)
        factor = 1000 if name == "exponents" else 1
        assert np.allclose(table.values, expected * factor, rtol=1e-6), name
        assert table.header == (name in ("comment", "header", "counted", "pandas")), name
        assert table.row_names == (name == "pandas"), name


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1.5", "-2", "1e3", ""], "numbers"),
        (["1.5", "abc", "2"], "numbers"),  # The file is refused, with the line.
        (["2020/01/01", "2020/01/02"], "date or time"),
        (["31.12.2019", "01.01.2020"], "date or time"),
        (["2020-01-01T12:34:56Z", "2020-01-01T12:34:57.5+02:00"], "date or time"),
        (["2020-01-01 12:34", "2020-01-01 12:35"], "date or time"),
        (["12:34:56", "12:34:57"], "date or time"),
        (["1:05 PM", "1:06 pm"], "date or time"),
        (["Jan 5 2020", "06-Feb-2020"], "date or time"),
        (["2020Q1", "2020Q2"], "date or time"),
        (["N", "V"] * 20, "category"),
        ([f"row {number}" for number in range(40)], "text"),
        (["", "NaN", "-"], "empty"),
    ],
)
def test_kinds_of_text(texts, kind):
    assert text_kind(texts) == kind


@pytest.mark.parametrize(
    ("first", "name", "kind"),
    [
        (np.arange(40), None, "index"),
        (np.arange(40) + 1, "n", "index"),
        (np.arange(40) * 0.01, None, "date or time"),
        (1_577_836_800 + 60 * np.arange(40), None, "date or time"),
        (1_577_836_800_000 + 60_000 * np.arange(40), "a", "date or time"),
        (20_200_101 + np.arange(28), "day", "date or time"),
        (np.arange(40) ** 2, "time", "index"),
        (np.arange(40) % 10, "t", "index"),
        (np.arange(40) % 10 + 1, "cycle", "index"),
        (np.arange(40) % 4, "a", "numbers"),
        (np.arange(40) % 10, "class", "numbers"),
        (np.arange(40) ** 2 + 0.5, "a", "numbers"),
        (np.ones(40), None, "numbers"),
        (np.sin(np.arange(40)), None, "numbers"),
    ],
)
def test_columns_that_count_or_date_rows(first, name, kind):
    values = np.stack([first, np.cos(np.arange(len(first)))], axis=1)
    assert axis_kind(values, 0, name) == kind


def test_ramps_are_numbers():
    """In a window of ramps, every column increases in constant steps: none of them is the time."""
    values = np.arange(16)[:, None] / 16 + np.arange(16) / 3
    assert {axis_kind(values, column, None) for column in range(16)} == {"numbers"}


def test_label_of_rows():
    values = np.concatenate([RANDOM.integers(1, 4, (60, 1)), RANDOM.normal(size=(60, 20))], axis=1)
    assert is_label(values, 0, None)
    assert not is_label(values, 1, None)
    assert not is_label(values.round(), 0, None), "all columns are whole numbers"


def test_missing_values_are_refused_or_interpolated():
    text = parse_text(b"a,b\n1,10\n,20\n3,n/a\n4,\n", "x.csv")
    with pytest.raises(DataError, match=r"x\.csv, line 3: value 1 is missing; use --option data\.missing=interpolate"):
        to_numbers(text, ColumnSelection())
    table = to_numbers(text, ColumnSelection(), "interpolate")
    assert table.values.tolist() == [[1, 10], [2, 20], [3, 20], [4, 20]]
    assert table.interpolated == 3
    with pytest.raises(DataError, match="line 3: value 1 is 'abc', which is not a number; repair"):
        to_numbers(parse_text(b"a,b\n1,10\nabc,20\n", "x.csv"), ColumnSelection(), "interpolate")


def test_columns_are_selected_by_position():
    text = parse_text(b'"date";"a";"b"\n"1.1.2020";1,5;2\n"2.1.2020";2,5;3\n', "x.csv")
    table = to_numbers(text, ColumnSelection((1, 2), label=0))
    assert table.values.tolist() == [[1.5, 2], [2.5, 3]]
    assert table.names == ("a", "b")
    assert table.labels == ("1.1.2020", "2.1.2020")


def bounds(low, high, given=(None, None), rule="auto", is_series=True):
    return choose_bounds(torch.tensor(low), torch.tensor(high), given, rule, (), is_series)


def test_columns_of_one_kind_share_a_range():
    low, high = -torch.rand(64).double(), torch.rand(64).double() + 1
    result = choose_bounds(low, high, (None, None), "auto", (), is_series=False)
    assert (result.low, result.high) == (low.min(), high.max())
    assert "one range for all 64 columns" in result.note


def test_columns_of_different_kinds_have_their_own_ranges():
    result = bounds([17.0, 100_900.0], [23.0, 101_700.0])
    assert (result.low, result.high) == ((17, 100_900), (23, 101_700))
    many = bounds([17.0, 100_900.0] * 8, [23.0, 101_700.0] * 8, is_series=False)
    assert many.low == (17, 100_900) * 8
    assert isinstance(bounds([17.0, 100_900.0], [23.0, 101_700.0], rule="all").low, float)


def test_range_of_the_user():
    assert bounds([1.0, 2.0], [3.0, 4.0], (0.0, 9.0)).low == 0
    assert bounds([1.0, 2.0], [3.0, 4.0], (0.0, None), "column").high == (3, 4)
    assert bounds([1.0, 2.0], [3.0, 4.0], ((0.0, 1.0), 9.0)).high == (9, 9)
    with pytest.raises(SettingError, match="low has 3 values, but there are 2 columns"):
        bounds([1.0, 2.0], [3.0, 4.0], ((0.0, 1.0, 2.0), None))


ROWS = [("2020-01-01", 1234.5, -7.0), ("2020-01-02", 2000.25, 101.5), ("2020-01-03", 999.0, 8.0)]


def written(template, rows=ROWS):
    return "\n".join([*template[0], *(template[1](*row) for row in rows)])


def german(number):
    return f"{number:,.2f}".translate(str.maketrans(",.", ".,"))


DIALECTS = {
    "Windows-1252": (("Datum;Temp [°C];b",), lambda d, a, b: f"{d};{a};{b}", "cp1252", 0),
    "UTF-16": (("date,a,b",), lambda d, a, b: f"{d},{a},{b}", "utf-16", 0),
    "spreadsheet": (("sep=;", "date;a;b"), lambda d, a, b: f"{d};{a};{b}".replace(".", ","), "utf-8", 0),
    "bars": (("date|a|b",), lambda d, a, b: f"{d}|{a}|{b}", "utf-8", 0),
    "thousands": (("date,a,b",), lambda d, a, b: f'{d},"{a:,.2f}","{b:,.2f}"', "utf-8", 0),
    "German thousands": (("date;a;b",), lambda d, a, b: f"{d};{german(a)};{german(b)}", "utf-8", 0),
    "French": (
        ("date;a;b",),
        lambda d, a, b: f"{d};{a:_.2f};{b:_.2f}".replace("_", "\u202f").replace(".", ","),
        "utf-8",
        0,
    ),
    "Swiss": (("date;a;b",), lambda d, a, b: f"{d};{a:_.2f};{b:_.2f}".replace("_", "'"), "utf-8", 0),
    "currency": (("date,a,b",), lambda d, a, b: f"{d},${a},{b}%", "utf-8", 0),
    "accounts": (
        ("date,a,b",),
        lambda d, a, b: f'{d},"{a:,.2f}",{f"(${-b})" if b < 0 else b}',
        "utf-8",
        0,
    ),
    "minus": (("date,a,b",), lambda d, a, b: f"{d},{a},{b}".replace(",-", ",\u2212"), "utf-8", 0),
    "separator at the end": (("date,a,b,",), lambda d, a, b: f"{d},{a},{b},", "utf-8", 0),
    "separator at the end of rows": (("date,a,b",), lambda d, a, b: f"{d},{a},{b},", "utf-8", 0),
    "units": (("date,a,b", "[UTC],[degC],[hPa]"), lambda d, a, b: f"{d},{a},{b}", "utf-8", 1),
    "three lines": (("Price,a,b", "Ticker,AA,AA", "Date,,"), lambda d, a, b: f"{d},{a},{b}", "utf-8", 2),
    "preamble": (("Station: X", "Sensor, 5", "", "date,a,b"), lambda d, a, b: f"{d},{a},{b}", "utf-8", 2),
    "numbers above": (("latitude,longitude", "52.5,13.4", "date,a,b"), lambda d, a, b: f"{d},{a},{b}", "utf-8", 2),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_dialects_of_spreadsheets_and_archives(name):
    *template, encoding, more = DIALECTS[name]
    text = parse_text(written(template).encode(encoding), "x.csv")
    table = to_numbers(text, ColumnSelection((1, 2)))
    assert table.values.tolist() == [[a, b] for _, a, b in ROWS]
    assert len(table.names) == 2
    assert table.more == more
    assert text_kind([text.fields(row)[0] for row in range(3)]) == "date or time"


def test_names_of_rows_as_r_writes_them():
    text = parse_text(b'"a","b"\n"r1",1,2\n"r2",3,4\n', "x.csv")
    assert text.names == ("a", "b")
    assert to_numbers(text, ColumnSelection()).values.tolist() == [[1, 2], [3, 4]]


def test_one_column_with_decimal_commas():
    text = parse_text(b"Wert\n1,5\n2,25\n", "x.csv")
    assert text.names == ("Wert",)
    assert to_numbers(text, ColumnSelection()).values.tolist() == [[1.5], [2.25]]


def test_texts_below_the_names_are_rows_if_their_column_has_texts():
    text = parse_text(b"name,value\nfoo,NA\nbar,3\nfoo,4\n", "x.csv")
    assert len(text.lines) == 3
