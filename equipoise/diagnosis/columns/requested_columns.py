"""Columns that the user assigns with `--columns`, and the answer to a log without any known column."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import NamedTuple

from equipoise.core.observations import Better, Signals
from equipoise.core.printing import format_names, printable
from equipoise.diagnosis.columns.column_names import classify_name
from equipoise.diagnosis.columns.column_words import Meaning
from equipoise.diagnosis.columns.output_meanings import Measure
from equipoise.diagnosis.logs.log_columns import LogColumns
from equipoise.errors import DataError, SettingError

SIGNALS = tuple(field.name for field in fields(Signals) if field.name not in ("non_finite", "metrics"))
DIRECTIONS: tuple[Better, ...] = ("lower", "higher")
MAX_COLUMNS, MAX_LINES, LONGEST_LINE = 12, 2, 100
"""How many columns and lines a message shows, and how many characters of a line."""


NO_GUESS = (
    "log the losses of both players in every line, such as 'step 100 loss_d 0.69 loss_g 0.71', or say what a line "
    "contains with --pattern"
)


class RequestedColumn(NamedTuple):
    """The column of the log that contains a signal or metric; `better` is None for a signal."""

    column: str
    better: Better | None


def match_requested_columns(columns: Mapping[str, str], log: LogColumns) -> dict[str, RequestedColumn]:
    """Return the requested columns by signal or metric, from {"loss_d": "critic", "score": "my score:higher"}.

    Any metric of the table of names is known with its direction; others need ":lower" or ":higher" after the column.
    Raises SettingError for an unknown signal, and for a column that does not exist.
    """
    return {target: _match(target, name, log) for target, name in columns.items()}


def _match(target: str, name: str, log: LogColumns) -> RequestedColumn:
    base, _, suffix = name.rpartition(":")
    stated: Better | None = next((word for word in DIRECTIONS if word == suffix.strip()), None)
    if name in log.columns:
        base, stated = name, None
    elif stated is None:
        base = name
    meaning = classify_name(target)
    if target in SIGNALS:
        better = None
    elif stated or meaning.kind == "metric":
        better = stated or meaning.better
    else:
        close = difflib.get_close_matches(target, SIGNALS, n=1)
        suggestion = f"did you mean '{close[0]}'? " if close else ""
        raise SettingError(
            f"'{printable(target)}' of --columns is neither a signal nor a known metric; {suggestion}signals are "
            f"{', '.join(SIGNALS)}; for another metric state which direction is better: "
            f"{printable(target)}={printable(name)}:lower"
        )
    return RequestedColumn(_match_column(base, log), better)


def _match_column(name: str, log: LogColumns) -> str:
    """Return the column of this name, whatever its case; raises SettingError with the columns, nearest first."""
    if name in log.columns:
        return name
    folded = {column.strip().casefold(): column for column in log.columns}
    if name.strip().casefold() in folded:
        return folded[name.strip().casefold()]
    raise SettingError(
        f"there is no column '{printable(name)}' in the log; its columns are "
        f"{format_names(_nearest_first(name, log.columns), most=MAX_COLUMNS)}"
    )


def _nearest_first(name: str, names: Iterable[str]) -> list[str]:
    """Sort names by their similarity to a name; equally similar ones stay in the order of the log."""
    return sorted(names, key=lambda other: -difflib.SequenceMatcher(None, name.casefold(), other.casefold()).ratio())


def describe_unknown_columns(log: LogColumns, meanings: Mapping[str, Meaning], measure: Measure) -> DataError:
    """Return the error for a log without any known signal or metric.

    It names the columns with their ranges, the first lines, and the flag that would read them.
    """
    names = list(meanings)
    if not names:
        return DataError(
            f"the log has no column of numbers besides its counters{_format_lines(log.examples)}; {NO_GUESS}"
        )
    ranges = [f"{printable(name)} ({_format_range(name, measure)})" for name in names[:MAX_COLUMNS]]
    more = f" and {len(names) - MAX_COLUMNS:,} more" if len(names) > MAX_COLUMNS else ""
    guess = ",".join(f"{signal}={_quote(name)}" for signal, name in _guess_losses(meanings).items())
    remedy = f"name the losses with --columns, for example --columns {guess}" if guess else NO_GUESS
    return DataError(
        f"no column is a known signal or metric; the columns are {', '.join(ranges)}{more}"
        f"{_format_lines(log.examples)}; {remedy}"
    )


def _guess_losses(meanings: Mapping[str, Meaning]) -> dict[str, str]:
    """Return the columns that may be the losses: by words such as critic and loss, then by their order."""
    names = [name for name, meaning in meanings.items() if meaning.kind == "unknown" or "loss" in meaning.name]
    if not names:
        return {}
    names.sort(key=lambda name: not re.search("loss|cost|err", name.lower()))
    loss_d = _first_with(names, ("critic", "disc", "judge", "dis", "d")) or names[0]
    others = [name for name in names if name != loss_d]
    loss_g = _first_with(others, ("actor", "gen", "fake", "policy", "g")) or (others[0] if others else None)
    return {"loss_d": loss_d, **({"loss_g": loss_g} if loss_g else {})}


def _first_with(names: Sequence[str], words: Sequence[str]) -> str | None:
    """Return the first name that contains one of the words; earlier words first. A letter must begin the name."""
    for word in words:
        for name in names:
            if word in name.lower() if len(word) > 1 else name.lower().startswith(word):
                return name
    return None


def _quote(name: str) -> str:
    """Return a column name as a part of the flag: quoted if the shell would split it."""
    text = printable(name).replace(",", "\\,")
    return f"'{text}'" if set(text) & set(" ()[]&;|<>*?$#") else text


def _format_range(name: str, measure: Measure) -> str:
    low, high = measure(name).low, measure(name).high
    if low != low:
        return "no finite number"
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _format_lines(examples: Sequence[str]) -> str:
    lines = [printable(line.strip())[:LONGEST_LINE] for line in examples if line.strip()][:MAX_LINES]
    quoted = [f"'{line}'" for line in lines]
    return f"; lines such as {' and '.join(quoted)}" if lines else ""
