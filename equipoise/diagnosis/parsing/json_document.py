"""JSON that is one value: an array of records, records by number, or lists of numbers by name."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from equipoise.core.printing import format_names
from equipoise.diagnosis.logs.column_builder import ColumnBuilder
from equipoise.diagnosis.logs.log_columns import Column, LogColumns
from equipoise.diagnosis.parsing.json_values import MAX_DEPTH, add_records, parse_json, parse_value
from equipoise.errors import DataError

MAX_TOKEN = 200
"""Largest distance of a syntax error from the end of a text that is truncated there."""
_START = re.compile(r"\{\s*[\"}]|\[\s*(\{|\[|\"|\]|-?\d|NaN|null)")
_RECORD_ARRAY = re.compile(r"\[\s*\{\s*\"")


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed JSON value; `example` is its beginning."""

    value: object
    example: str = ""


def is_document(head: str) -> bool:
    """Return whether a text, or the first part of one, is a JSON object or array and nothing else."""
    if not _START.match(head):
        return False
    try:
        _, end = json.JSONDecoder().raw_decode(head)
    except RecursionError:
        return True
    except json.JSONDecodeError as error:
        return (
            error.pos > max(MAX_TOKEN, len(head) - MAX_TOKEN)
            or head[:1] == "{"
            or _RECORD_ARRAY.match(head) is not None
        )
    except ValueError:  # an integer of too many digits
        return True
    return not head[end:].strip()


def parse_document(text: str) -> Document | None:
    """Parse JSON that is one value; None if it is not JSON. Raises DataError for JSON that is nested too deeply."""
    try:
        return Document(parse_json(text), text.lstrip()[:200].replace("\n", " "))
    except RecursionError as error:
        raise DataError("the JSON is nested too deeply for a log; write one record per line (JSON lines)") from error
    except ValueError:
        return None


def build_document(document: Document, file_name: str) -> LogColumns:
    """Return the columns of a document. Raises DataError if it holds neither records nor lists of numbers."""
    value = _unwrap(document.value)
    notes: list[str] = []
    builder = ColumnBuilder()
    if _are_records(value):
        assert isinstance(value, list)
        add_records(builder, value)
        columns, rows = builder.build(), builder.row_count
    elif isinstance(value, list) and _is_scalar_list(value):
        columns, rows = _columns_of_lists({_series_name(file_name): value}, notes)
    elif isinstance(value, dict):
        columns, rows = _columns_of_lists(dict(_flatten_lists(value)), notes)
        if not columns:  # a single record, as of the last metrics
            add_records(builder, [value])
            columns, rows = builder.build(), builder.row_count
    else:
        columns, rows = {}, 0
    if not columns:
        raise DataError(
            f"JSON without records ({_describe(document.value)}); a log is one record per line, an array of records, "
            "or a list of numbers for each name"
        )
    return LogColumns("JSON", columns, rows, "record", notes=tuple(notes), examples=(document.example,))


def _unwrap(value: object) -> object:
    """Return the records of a document, which may be below a key such as "log_history" of Hugging Face."""
    if not isinstance(value, dict):
        return value
    if value and all(isinstance(entry, dict) for entry in value.values()) and all(_is_index(key) for key in value):
        return [{"#1": int(key), **entry} for key, entry in value.items()]  # records by number
    lists = list(_record_lists(value))
    return max(lists, key=len) if lists else value


def _record_lists(value: Mapping[str, object], depth: int = 0) -> Iterator[list[object]]:
    """Yield the lists of records in nested objects."""
    for entry in value.values():
        if isinstance(entry, list) and _are_records(entry):
            yield entry
        elif isinstance(entry, dict) and depth < MAX_DEPTH:
            yield from _record_lists(entry, depth + 1)


def _are_records(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, dict) for entry in value)


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdigit() and len(key) < 16


def _is_scalar_list(value: object) -> bool:
    """Return whether a value is a list of numbers, or of lists of two or three numbers each."""
    if not isinstance(value, list) or not value:
        return False
    if isinstance(value[0], list):
        width = len(value[0])
        return width in (2, 3) and all(
            isinstance(entry, list) and len(entry) == width and all(parse_value(part) is not None for part in entry)
            for entry in value
        )
    return all(entry is None or parse_value(entry) is not None for entry in value)


def _describe(value: object) -> str:
    if isinstance(value, dict):
        return f"an object with {format_names([str(key) for key in value], most=5) or 'no names'}"
    if isinstance(value, list):
        return f"an array of {len(value):,} values"
    return f"the single value {str(value)[:30]!r}"


def _series_name(file_name: str) -> str:
    return PurePath(file_name).name.split(".")[0]


def _flatten_lists(value: Mapping[str, object], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, list[object]]]:
    """Yield the lists of numbers in nested objects by name; {"0": 0.5, "1": …} (pandas) is a list too."""
    for key, entry in value.items():
        name = f"{prefix}/{key}" if prefix else key
        if isinstance(entry, dict) and entry and all(map(_is_index, entry)):
            entry = [[int(index), number] for index, number in entry.items()]
        if isinstance(entry, dict) and depth < MAX_DEPTH:
            steps, values = (entry.get("steps", entry.get("step")), entry.get("values", entry.get("value")))
            if isinstance(steps, list) and isinstance(values, list) and len(steps) == len(values):  # Sacred
                yield name, [list(pair) for pair in zip(steps, values, strict=True)]
            else:
                yield from _flatten_lists(entry, name, depth + 1)
        elif isinstance(entry, list) and _is_scalar_list(entry):
            yield name, entry


def _columns_of_lists(lists: Mapping[str, Sequence[object]], notes: list[str]) -> tuple[dict[str, Column], int]:
    """Return the columns of lists of numbers, or of [step, value] and [time, step, value].

    Shorter lists are spread evenly over the longest, as a metric for each epoch next to a loss for each step.
    """
    if pairs := {name: entries for name, entries in lists.items() if isinstance(entries[0], list)}:
        return _columns_of_pairs(pairs | _spread_over_steps(lists, pairs, notes))
    count = max(map(len, lists.values()), default=0)
    columns = {}
    for name, entries in lists.items():
        numbers = np.array([math.nan if (number := parse_value(entry)) is None else number for entry in entries])
        present = np.array([entry is not None for entry in entries])
        rows = (np.arange(1, len(entries) + 1) * count) // len(entries) - 1
        columns[name] = Column(rows[present], numbers[present])
    shorter = [name for name, entries in lists.items() if len(entries) != count]
    if shorter:
        notes.append(
            f"{format_names(shorter)}: fewer values than the {count:,} of the longest list, over which they are spread "
            "evenly."
        )
    return columns, count


def _spread_over_steps(
    lists: Mapping[str, Sequence[object]], pairs: Mapping[str, Sequence[object]], notes: list[str]
) -> dict[str, list[object]]:
    """Return lists without steps as [step, value], evenly up to the last step of the lists that have steps."""
    others = {name: entries for name, entries in lists.items() if name not in pairs}
    steps = [parse_value(entry[-2]) for entries in pairs.values() for entry in entries if isinstance(entry, list)]
    last = max((step for step in steps if step is not None and math.isfinite(step)), default=0.0)
    if others:
        notes.append(f"{format_names(list(others))}: no steps; spread evenly up to step {last:,.6g}.")
    return {
        name: [[last * (place + 1) / len(entries), entry] for place, entry in enumerate(entries) if entry is not None]
        for name, entries in others.items()
    }


def _columns_of_pairs(pairs: Mapping[str, Sequence[object]]) -> tuple[dict[str, Column], int]:
    """Return columns of [step, value] or [time, step, value] by name, and their common steps as column "step"."""
    series: dict[str, dict[float, float]] = {}
    for name, entries in pairs.items():
        series[name] = {}
        for entry in entries:
            if isinstance(entry, list) and (step := parse_value(entry[-2])) is not None:
                value = parse_value(entry[-1])
                series[name][step] = math.nan if value is None else value
    steps = np.array(sorted({step for values in series.values() for step in values}), np.float64)
    columns = {"step": Column(np.arange(len(steps)), steps)}
    for name, values in series.items():
        own = np.array(sorted(values), np.float64)
        columns[name] = Column(np.searchsorted(steps, own), np.array([values[step] for step in own.tolist()]))
    return columns, len(steps)
