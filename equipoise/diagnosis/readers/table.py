"""Tables with a header: values between commas, semicolons or tabs."""

import csv
import io
import math
from collections.abc import Sequence

import numpy as np

from equipoise.diagnosis.readers import columns
from equipoise.diagnosis.trace import Trace, Values

BETWEEN = (",", ";", "\t")
FALLBACK = ("step", "image", "epoch")


def table(text: str) -> Trace | None:
    """A table whose first line names its columns; None if that has fewer than two names, or what can be no name.

    An empty cell is a number that was not written, a word in place of a number likewise. Rows of another length than
    the header, such as one cut short, are left out. Without a column that counts, rows are counted.
    """
    head, _, _ = text.partition("\n")
    between = max(BETWEEN, key=head.count)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=between))
    except csv.Error:
        return None
    names = [name.strip().lstrip("﻿") for name in rows[0]] if rows else []
    if len(names) < 2 or any(_is_number(name) or not name.isprintable() for name in names):
        return None
    body = [row for row in rows[1:] if len(row) == len(names)]
    if not body:
        return None
    numbers = {name: _numbers(words) for name, words in zip(names, zip(*body, strict=True), strict=True)}
    counters = {name: columns.STEPS[columns.plain(name)] for name in names if columns.plain(name) in columns.STEPS}
    counter = min(counters, key=lambda name: FALLBACK.index(counters[name]), default=None)
    steps, written = numbers[counter] if counter else (np.arange(1, len(body) + 1, dtype=np.float64), None)
    if counter and columns.plain(counter).endswith(("kimg", "kimgs")):
        steps = steps * 1000
    good = np.isfinite(steps) if written is None else np.isfinite(steps) & written
    result = {
        name: (steps[good & there].round(), values[good & there])
        for name, (values, there) in numbers.items()
        if name not in counters and (good & there).any()
    }
    return columns.trace("table", result, unit=counters[counter] if counter else "row")


def _numbers(words: Sequence[str]) -> tuple[Values, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """The numbers of a column, and which of its cells hold one; nan and inf are numbers."""
    try:
        return np.fromiter(map(float, words), np.float64, len(words)), np.ones(len(words), bool)
    except ValueError:
        values = [_number(word) for word in words]
        there = np.array([value is not None for value in values])
        return np.array([math.nan if value is None else value for value in values]), there


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _is_number(word: str) -> bool:
    return _number(word) is not None
