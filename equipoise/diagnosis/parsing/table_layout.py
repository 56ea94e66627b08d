"""Layout of a table in a text: separator, header, first row."""

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from equipoise.diagnosis.columns.column_names import match_metric, match_signal

SEPARATORS = (",", ";", "\t", "|", " ")
"""Characters between cells, in the order in which they are tried; a space stands for any number of them."""
HEADER_LINES = 50
"""Number of lines among which the header is searched."""
SAMPLE_ROWS = 20
"""Number of rows below the header that are compared with it."""
MIN_SHARE = 0.6
"""Share of these rows that have the cells of the header, most of them numbers."""
MAX_COLUMNS = 2000
LONG_NAMES = ("tag", "metric", "name", "key", "variable")
"""Names of the column with the name of the number in the row."""
MAX_TAGS = 500
MAX_NAME = 200
MISSING_CELLS = ("", "nan", "none", "null", "n/a", "na", "-", "--")
"""Cells without a number, in lower case; "nan" is a number."""
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
_OF_TOTAL = re.compile(r"(\d+) ?/ ?\d+")
_WRAPPED = re.compile(
    r"(?:(?:tensor|array|Variable|float|(?:np|numpy|jnp|torch)\.\w+)\()?[\[(]*\s*"
    r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|-?inf)\s*(?:,[^\])]*|\s[^\])]*)?[\])]+"
)
"""tensor(0.5, device='cuda:0'), [0.5], or [0.5 0.75] of Keras: loss and accuracy."""
_CELL = re.compile(r"\S+")
_TAG = re.compile(r"-tag-(.+)$")


_BORDERS = str.maketrans(
    {
        **dict.fromkeys("\u2502\u2503\u2551", "|"),
        **dict.fromkeys("\u2500\u2501\u2550", "-"),
        **dict.fromkeys(map(chr, (*range(0x250C, 0x254C), *range(0x2552, 0x256D), *range(0x256D, 0x2571))), "+"),
    }
)


def replace_borders(text: str) -> str:
    """Return a text in which the borders of tables drawn with box characters (rich) are "|", "-" and "+"."""
    return text.translate(_BORDERS) if "\u2502" in text or "\u2503" in text else text


@dataclass(frozen=True, slots=True)
class LogTableLayout:
    """How a table is written.

    `names`: column names (width,), "#1", "#2", … without a header, "" for a column that is not read. `cells`: the
    header as it stands there, none without one. `first_row`: number of lines above the first row. `decimal_comma`:
    whether 0,5 is a half. `starts`: where the columns of a header begin that is aligned by spaces.
    """

    separator: str
    names: tuple[str, ...]
    cells: list[str]
    first_row: int
    decimal_comma: bool = False
    examples: tuple[str, ...] = ()
    starts: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """Number of cells in a row."""
        return len(self.names)


def find_layout(head: str, file_name: str = "") -> LogTableLayout | None:
    """Return the layout of the table that a text begins with; None if it is not a table.

    Numbers alone, one a line, are a table if the name of the file is that of a signal or metric.
    """
    lines = replace_borders(head).split("\n", HEADER_LINES + SAMPLE_ROWS + 1)[: HEADER_LINES + SAMPLE_ROWS]
    lines = [line.lstrip("\ufeff") for line in lines]
    for separator in SEPARATORS:
        layouts = (_layout_at(lines, index, separator) for index in range(min(HEADER_LINES, len(lines))))
        if layout := next((layout for layout in layouts if layout), None):
            return layout
    return _without_header(lines, 2 if _known_series(file_name) is None else 1)


def _layout_at(lines: Sequence[str], index: int, separator: str) -> LogTableLayout | None:
    """Return the layout of a table with its header in a line; None if that is not a header with its rows below."""
    line = lines[index]
    header = split_cells(line.lstrip("#").strip() if line.startswith("#") else line, separator)
    named = [cell for cell in header if cell]
    if not 2 <= len(header) <= MAX_COLUMNS or len(named) < len(header) - 1 or not all(map(_is_name, named)):
        return None
    starts = _column_starts(line) if separator == " " else ()
    rows = [row for row in _rows_below(lines, index + 1, separator, starts) if row != header]
    width = _row_width(rows, len(header))
    numeric = sum(width is not None and _is_row(row, width) for row in rows)
    if width is None or numeric < max(1, MIN_SHARE * len(rows)):
        return None
    if width == 2 and separator in "| " and not any(parse_cell(row[0], True) is not None for row in rows):
        return None  # blocks of lines with a name and a number, such as "| d_loss | 0.69 |"
    names = _unique_names(header if width == len(header) else ["", *header])
    layout = LogTableLayout(
        separator, names, header, index + 1, examples=tuple(lines[index : index + 3]), starts=starts
    )
    return replace(layout, decimal_comma=_has_decimal_commas(rows, separator))


def _without_header(lines: Sequence[str], fewest: int) -> LogTableLayout | None:
    """Return the layout of a table of numbers alone, whose columns are named by their positions."""
    for separator in (*SEPARATORS, ":"):
        rows = list(_rows_below(lines, 0, separator))
        width = len(rows[0]) if rows else 0
        numbers = sum(len(row) == width and all(parse_cell(cell, True) is not None for cell in row) for row in rows)
        if fewest <= width <= MAX_COLUMNS and len(rows) > 1 and numbers >= MIN_SHARE * len(rows):
            names = tuple(f"#{position + 1}" for position in range(width))
            layout = LogTableLayout(separator, names, [], 0, examples=tuple(lines[:3]))
            return replace(layout, decimal_comma=_has_decimal_commas(rows, separator))
    return None


def _column_starts(header: str) -> tuple[int, ...]:
    """Return where the names of a header begin if at least two spaces separate them, as in a table with empty cells."""
    matches = list(_CELL.finditer(header))
    gaps = itertools.pairwise(matches)
    return tuple(match.start() for match in matches) if all(b.start() - a.end() > 1 for a, b in gaps) else ()


def split_cells(line: str, separator: str, starts: tuple[int, ...] = ()) -> list[str]:
    """Split a line into its cells, without quotes and the spaces around them.

    `starts`: where the columns of a table aligned by spaces begin; cells that stand exactly there may be missing.
    """
    if separator == " ":
        cells = {match.start(): match[0] for match in _CELL.finditer(line)} if starts else {}
        if 0 < len(cells) < len(starts) and cells.keys() <= set(starts):
            return [cells.get(start, "") for start in starts]
        return line.split()
    if separator == "|":
        return [cell.strip() for cell in line.strip().strip("|").split("|")]
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])]
    except csv.Error:
        return []


def _rows_below(lines: Sequence[str], start: int, separator: str, starts: tuple[int, ...] = ()) -> Iterator[list[str]]:
    """Yield the cells of up to SAMPLE_ROWS rows, without empty lines, comments and the rule of a Markdown table."""
    count = 0
    for line in lines[start:]:
        if line.strip() and not line.startswith("#") and set(line.strip()) - set("|-:=+ ") and count < SAMPLE_ROWS:
            count += 1
            yield split_cells(line, separator, starts)


def _row_width(rows: Sequence[Sequence[str]], names: int) -> int | None:
    """Return the number of cells in a row: that of the names, or one more where an index has no name."""
    for width in (names, names + 1):
        if rows and sum(len(row) == width for row in rows) >= MIN_SHARE * len(rows):
            return width
    return None


def _is_row(row: Sequence[str], width: int) -> bool:
    """Return whether a row has that number of cells, and at least half of those that are not empty are numbers."""
    filled = [cell for cell in row if cell.lower() not in MISSING_CELLS or cell.lower() == "nan"]
    numbers = sum(parse_cell(cell, True) is not None for cell in filled)
    if any(cell.endswith((":", "=")) for cell in row):  # "total_batch: 5 test_loss: 8.9" below a line of words
        return False
    return len(row) == width and (not filled or 2 * numbers >= len(filled)) and (numbers > 0 or not filled)


def _is_name(cell: str) -> bool:
    return len(cell) <= MAX_NAME and parse_cell(cell, True) is None and cell[-1] not in ":="


def _unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names in which a second column of a name has its position, and a column without one is only that."""
    result: list[str] = []
    for position, name in enumerate(names, start=1):
        is_extreme = name.endswith(("__MIN", "__MAX"))  # W&B: of the runs that were grouped
        unique = f"{name} #{position}" if name in result else name or f"#{position}"
        result.append("" if is_extreme else unique)
    return tuple(result)


def _has_decimal_commas(rows: Sequence[Sequence[str]], separator: str) -> bool:
    """Return whether cells have commas that are not those of thousands."""
    cells = [cell for row in rows for cell in row if "," in cell]
    return separator != " " and any(_DECIMAL_COMMA.fullmatch(cell) and not _THOUSANDS.fullmatch(cell) for cell in cells)


def parse_cell(cell: str, decimal_comma: bool = False) -> float | None:
    """Return the number in a cell: with a decimal comma, commas of thousands, or a percent sign.

    The first number of 3/200 and of [0.5 0.75].
    """
    try:
        return float(cell)
    except ValueError:
        pass
    text = cell.strip()
    if text.endswith("%"):
        return parse_cell(text[:-1], decimal_comma) if len(text) > 1 else None
    if match := _OF_TOTAL.fullmatch(text) or _WRAPPED.fullmatch(text):
        return float(match[1])
    if decimal_comma and _DECIMAL_COMMA.fullmatch(text):
        return float(text.replace(",", "."))
    return float(text.replace(",", "")) if _THOUSANDS.fullmatch(text) else None


def find_long_columns(names: Sequence[str]) -> tuple[int, int] | None:
    """Return the positions of name and value in a table with one number a row (step, tag, value); None in others."""
    lower = [name.lower() for name in names]
    tag = next((lower.index(name) for name in LONG_NAMES if name in lower), None)
    return None if tag is None or "value" not in lower else (tag, lower.index("value"))


def name_series(names: Sequence[str], file_name: str) -> tuple[str, ...]:
    """Name a column by the file: "Value" of TensorBoard's scalar export, or the last of one or two without names.

    run-a-tag-FID.csv is FID, tb_d_loss.csv d_loss; G_loss.log of BigGAN has lines such as "100: 0.69", and d_loss of
    MLflow "1600000000000 0.69 100": timestamp, value, step.
    """
    lower = [name.lower() for name in names]
    is_unnamed = names in (("#1",), ("#1", "#2"), ("#1", "#2", "#3"))
    if is_unnamed and (series := _known_series(file_name)):
        return ("timestamp", series, "step") if len(names) == 3 else (*names[:-1], series)
    if "value" not in lower or not {"step", "wall time"} & set(lower) or find_long_columns(names):
        return tuple(names)
    stem, tag = _stem_and_tag(file_name)
    series = _known_series(file_name) or tag or stem
    return tuple(series if name.lower() == "value" else name for name in names)


def _stem_and_tag(file_name: str) -> tuple[str, str]:
    stem = PurePath(file_name).name.removesuffix(".gz").rpartition(".")[0] or file_name
    match = _TAG.search(stem)
    return stem, match[1] if match else ""


def _known_series(file_name: str) -> str | None:
    """Return the signal or metric at the end of a file's name; None if there is none."""
    stem, tag = _stem_and_tag(file_name)
    words = re.split(r"[-_. ]+", tag or stem)
    whole = stem if match_signal(stem) else ""
    endings = [tag, whole, *("_".join(words[start:]) for start in reversed(range(len(words))))]
    known = (ending for ending in endings if ending and (match_signal(ending) or match_metric(ending)))
    return next(known, None)
