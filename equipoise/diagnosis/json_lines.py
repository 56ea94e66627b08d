"""JSON lines: one record per line, possibly with other output before it or in between."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from equipoise.core.printing import agree, format_count
from equipoise.diagnosis.column_builder import ColumnBuilder, ColumnPart
from equipoise.diagnosis.json_document import flatten_record, parse_json
from equipoise.diagnosis.log_columns import LogColumns
from equipoise.diagnosis.log_file import LogFile

SAMPLE_LINES = 200
"""Number of lines by which JSON lines are recognised."""
LEAST_SHARE = 0.5
"""Share of the lines that hold a record, from which a text is JSON lines with other output in between."""
BLOCK_LINES = 5_000
"""Number of lines that are parsed at once, which takes half of the time of single lines."""
_PREFIX = re.compile(r"^[^{}\"]{0,200}?(?=\{\s*\")")
"""What a logging module prints before a record: "2024-01-01 12:00:00 INFO train: "."""
_Record = Mapping[str, object]


def are_json_lines(head: str) -> bool:
    """Return whether a text is JSON lines: most of its lines hold a whole record."""
    lines = [line for line in head.split("\n", SAMPLE_LINES)[:SAMPLE_LINES] if line.strip(" \t[],")]
    if not lines or "{" not in head[:10_000]:
        return False
    records = sum(_parse_line(line) is not None for line in lines)
    return records > max(1, LEAST_SHARE * len(lines))


def _parse_line(line: str) -> _Record | None:
    """Return the record in a line, without what is printed before it; None if there is none."""
    start = _PREFIX.match(line)
    text = line[start.end() :] if start else line
    try:
        record = parse_json(text.rstrip(" \t\r,"))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def read_json_lines(file: LogFile) -> LogColumns:
    """Read JSON lines in blocks."""
    builder, damaged, others, examples = ColumnBuilder(), 0, 0, list[str]()
    for lines in _blocks_of_lines(file):
        if not examples:
            examples = lines[:3]
        records = _parse_block(lines)
        if records is None:
            parsed = [(line, _parse_line(line)) for line in lines if line.strip(" \t[],")]
            records = [record for _, record in parsed if record is not None]
            failed = [line for line, record in parsed if record is None]
            damaged += sum("{" in line for line in failed)
            others += sum("{" not in line for line in failed)
        _add_records(builder, records)
    kinds = ((damaged, "a damaged or truncated record"), (others, "no record"))
    notes = tuple(
        f"{format_count(count, 'line')} with {what} {agree(count, 'was', 'were')} skipped."
        for count, what in kinds
        if count
    )
    return LogColumns(
        "JSON lines",
        builder.build(),
        builder.row_count,
        "record",
        notes=(*notes, *builder.notes("record")),
        examples=tuple(examples),
        stride=builder.stride,
    )


def _blocks_of_lines(file: LogFile) -> Iterator[list[str]]:
    for block in file.text_blocks():
        lines = block.split("\n")
        for start in range(0, len(lines), BLOCK_LINES):
            if part := [line for line in lines[start : start + BLOCK_LINES] if line]:
                yield part


def _parse_block(lines: Sequence[str]) -> list[_Record] | None:
    """Parse lines that are all records; None if one is not."""
    try:
        records = json.loads(f"[{','.join(lines)}]")
    except (ValueError, RecursionError):
        return None
    return records if len(records) == len(lines) and all(type(record) is dict for record in records) else None


def _add_records(builder: ColumnBuilder, records: Sequence[_Record]) -> None:
    """Add records as rows; those with the same names and with numbers alone column by column, which is faster."""
    if not records:
        return
    names = tuple(records[0])
    if all(tuple(record) == names for record in records):
        columns = list(zip(*(record.values() for record in records), strict=True))
        if columns and all({type(value) for value in column} <= {int, float} for column in columns):
            try:
                arrays = [np.array(column, np.float64) for column in columns]
            except OverflowError:
                pass
            else:
                builder.add_rows(len(records), [ColumnPart(*pair) for pair in zip(names, arrays, strict=True)])
                return
    for record in records:
        for name, value in flatten_record(record):
            builder.add(name, value)
        builder.end_row()
