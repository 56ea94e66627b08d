"""Records of JSON one after another: one per line, possibly with other output in between, or in an array."""

import itertools
import json
import re
from collections.abc import Iterator, Sequence

from equipoise.core.printing import agree, format_count
from equipoise.diagnosis.columns.column_names import classify_name
from equipoise.diagnosis.logs.column_builder import ColumnBuilder
from equipoise.diagnosis.logs.log_columns import LogColumns
from equipoise.diagnosis.logs.log_file import LogFile
from equipoise.diagnosis.logs.text_decoding import TextDecoder, detect_encoding
from equipoise.diagnosis.parsing.json_values import JSONRecord, add_records, parse_json
from equipoise.diagnosis.parsing.line_parser import parse_line

SAMPLE_LINES = 200
"""Number of lines by which JSON lines are recognised."""
MIN_SHARE = 0.5
"""Share of the lines that hold a record, from which a text is JSON lines with other output in between."""
BLOCK_LINES = 5_000
"""Number of lines that are parsed at once, which takes half of the time of single lines."""
_PREFIX = re.compile(r"^[^{}\"]{0,200}?(?=\{\s*\")")
"""What a logging module prints before a record: "2024-01-01 12:00:00 INFO train: "."""
OUTPUT_KEYS = ("log", "data", "message", "msg", "text", "textPayload", "line")
"""Keys of printed lines in the logs of Docker, Kaggle, and clouds."""
MAX_RECORD = 4 * 2**20
"""Largest number of characters of a record of an array."""
_CLOSED = re.compile(r"\s*\]\s*$")
_BETWEEN = re.compile(r"[\s,\[]*")
"""What separates the records of an array, or records without commas."""


def are_json_lines(head: str) -> bool:
    """Return whether a text is JSON lines: most of its lines hold a whole record."""
    lines = [line for line in head.split("\n", SAMPLE_LINES)[:SAMPLE_LINES] if line.strip(" \t[],")]
    if not lines or "{" not in head[:10_000]:
        return False
    records = sum(_parse_line(line) is not None for line in lines)
    return records > max(1, MIN_SHARE * len(lines))


def _parse_line(line: str) -> JSONRecord | None:
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
        add_records(builder, records)
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


def _parse_block(lines: Sequence[str]) -> list[JSONRecord] | None:
    """Parse lines that are all records; None if one is not."""
    try:
        records = json.loads(f"[{','.join(lines)}]")
    except (ValueError, RecursionError):
        return None
    return records if len(records) == len(lines) and all(type(record) is dict for record in records) else None


def are_records(head: str) -> bool:
    """Return whether a text begins with an array of records, or with records one after another."""
    records = list(itertools.islice(_decode(head, 0), 2))
    return bool(records) and (head[:1] == "[" or len(records) > 1)


def find_output_key(head: str) -> str | None:
    """Return the key of the lines that a program printed, "log" in {"log": "step 1 loss_d 0.7\\n", "stream": …}."""
    records = list(itertools.islice(iterate_records(head), SAMPLE_LINES))
    for key in OUTPUT_KEYS if records else ():
        texts = [text for record in records if isinstance(text := record.get(key), str)]
        numbers = sum(len(parse_line(text.strip()).numbers) > 1 for text in texts)
        names = {name for record in records for name in record}
        if (
            len(texts) == len(records)
            and numbers >= 2
            and not any(classify_name(name).kind == "signal" for name in names)
        ):
            return key
    return None


def iterate_records(text: str) -> Iterator[JSONRecord]:
    """Yield the records of a text, one after another or in an array, up to the first damaged one."""
    yield from (record for record, _ in _decode(text, 0))


def _decode(text: str, at: int) -> Iterator[tuple[JSONRecord, int]]:
    """Yield the whole records of a text from a place on, each with the place after it."""
    decoder = json.JSONDecoder()
    while (match := _BETWEEN.match(text, at)) and text[match.end() : match.end() + 1] == "{":
        try:
            record, at = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            return
        yield record, at


def read_records(file: LogFile) -> LogColumns:
    """Read an array of records, or records one after another, up to the first damaged one."""
    builder, rest, example, is_open = ColumnBuilder(), "", "", True
    for text in _texts(file):
        rest += text
        example = example or rest[:200].replace("\n", " ")
        at, records = 0, list[JSONRecord]()
        for record, after in _decode(rest, 0):
            records.append(record)
            at = after
        add_records(builder, records)
        rest = rest[at:]
        if len(rest) > MAX_RECORD or _CLOSED.match(rest):
            is_open = False
            break
    damage = f"The JSON is damaged or truncated; the {format_count(builder.row_count, 'record')} before it are read."
    notes = [] if _CLOSED.match(rest) or not (rest.strip(" \t\n,") or (is_open and example[:1] == "[")) else [damage]
    return LogColumns(
        "JSON",
        builder.build(),
        builder.row_count,
        "record",
        notes=(*notes, *builder.notes("record")),
        examples=(example,),
        stride=builder.stride,
    )


def _texts(file: LogFile) -> Iterator[str]:
    """Yield the text in blocks that need not end with a line: an array may be one line of any length."""
    decoder = TextDecoder(detect_encoding(file.head_bytes))
    for chunk in file.chunks():
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)
