"""Reader of logs for people: any lines with names and numbers, such as "[3/200][0/500] Loss_D: 0.69 Loss_G: 0.71".

Names and numbers are separated by ":", "=", "-" or spaces; pairs by anything else. Dates, times, progress bars and
prefixes of logging modules are not read as numbers. A name must recur: prose, settings and layers are not rows.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from equipoise.core.printing import format_names, printable
from equipoise.diagnosis.columns.column_names import classify_name
from equipoise.diagnosis.logs.log_columns import Column, LogColumns
from equipoise.diagnosis.logs.log_file import LogFile
from equipoise.diagnosis.parsing.line_parser import parse_line
from equipoise.diagnosis.parsing.line_rows import FULL, SINGLE, LineCollector, row_kind, totals_of
from equipoise.diagnosis.parsing.line_template import LineTemplate
from equipoise.diagnosis.parsing.line_tokens import has_decimal_commas

__all__ = ["LogLines"]

MIN_ROWS = 10
"""Smallest number of rows with a counter from which a text is a log, however many other lines it has."""
LOG_SHARE = 0.2
"""Smallest share of rows among the lines of a text with fewer rows that makes it a log."""
UNCOUNTED_SHARE = 0.5
"""Share of rows among the lines of a log without a counter: a table of results in a README has less."""
MIN_SINGLE = 3
"""Occurrences from which a name that is alone in its lines is a column, not a setting."""
LONE_LINES = 3
"""Largest number of lines of a text in which one row is enough."""
NEW_NUMBERS = 2
"""Largest number of values in a row with names that do not recur, such as the only FID of a run."""
EXAMPLE_WIDTH = 80


class LogLines:
    """Reads every line with two pairs of name and number, or with one and a counter; several lines may make a step."""

    name = "text lines"
    contents = (
        "lines with `name: number`, `name=number`, `name number` or `name - number` and a counter: pix2pix, CycleGAN, "
        "Keras, BasicSR, RVC, HiFi-GAN, Coqui TTS, StyleGAN2 of lucidrains or rosinality, PyTorch-GAN, StudioGAN, …"
    )
    order = 90
    folder_files: tuple[str, ...] = ("*.log", "*log*.txt", "*.out")

    def read(self, files: Sequence[LogFile]) -> LogColumns | None:
        """Read one file; None if it has no rows of numbers with recurring names."""
        file = files[0]
        head = file.head
        collector = LineCollector(has_decimal_commas(head))
        collector.learn(head)
        if not collector.templates:
            return None
        notes: list[str] = []
        is_log = None
        for text in _whole_lines(file.text_blocks(), collector, head, notes):
            collector.add(text)
            if is_log is None:
                is_log = _is_log(collector, text)
            if not is_log:
                return None
        return _build(collector, notes) if is_log else None


def _whole_lines(blocks: Iterable[str], collector: LineCollector, head: str, notes: list[str]) -> Iterator[str]:
    """Yield the blocks; of the last one, the last line only if it is complete."""
    previous = ""
    for text in blocks:
        if previous:
            yield previous
        previous = text
    body, _, last = previous.rpartition("\n")
    if not last or is_complete(last, f"{head}\n{body[-len(head) :]}", collector):
        yield previous
    else:
        notes.append(f"The last line was cut while it was written and was left out: '{_shorten(last)}'.")
        yield f"{body}\n"


def is_complete(line: str, text: str, collector: LineCollector) -> bool:
    """Return whether a last line without an end is complete: it has the form of an earlier one, with whole numbers.

    A number is whole if it has at least as many decimals as the shortest number at this place; if all have equally
    many, exactly these.
    """
    if not re.search(r"\d", line):
        return True
    parsed = parse_line(line, collector.decimal_comma)
    template = LineTemplate(line, parsed)
    known = collector.templates.get(template.key)
    if known is None or not known.numbers:
        return not any(map(template.may_continue_as, collector.templates.values())) or not text.strip()
    if known.example == line and known.count <= 1:
        return text.count("\n") <= 1
    known.widen(template)
    end = parsed.numbers[-1].token.end
    if line[end:].strip():
        return True
    earlier = re.findall(f"^{known.pattern}$", text, re.MULTILINE)
    words = [groups if isinstance(groups, str) else groups[-1] for groups in earlier]
    decimals = {_decimals(word) for word in words if word.lower().strip("+-") not in ("nan", "inf")}
    own = line[parsed.numbers[-1].token.start : end]
    if not decimals or own.lower().strip("+-") in ("nan", "inf"):
        return True
    return _decimals(own) in decimals if len(decimals) == 1 else _decimals(own) >= min(decimals)


def _decimals(word: str) -> int:
    """Return the number of characters after the decimal point, the exponent included; 0 without a point."""
    return len(re.sub(r"^[^.]*\.?", "", word.replace(",", ".") if "." not in word else word))


def _is_log(collector: LineCollector, text: str) -> bool:
    """Return whether the first block of a text has rows of numbers with recurring names."""
    templates = [template for template in collector.templates.values() if template.count and template.numbers]
    recurring = [template for template in templates if template.count >= 2]
    lines = sum(1 for line in text.split("\n") if line.strip())
    rows = sum(template.count for template in recurring if row_kind(template) == FULL)
    if collector.counts_up({number.name for template in recurring for number in template.numbers if number.counts}):
        singles = [template for template in templates if row_kind(template) == SINGLE]
        rows += sum(template.count for template in singles if template.count >= MIN_SINGLE)
        return rows >= 2 and (rows >= MIN_ROWS or rows >= LOG_SHARE * lines)
    singles = [template for template in templates if row_kind(template) == SINGLE and template.numbers[0].explicit]
    rows += sum(template.count for template in singles if template.count >= MIN_SINGLE)
    if rows >= 2:
        return rows >= UNCOUNTED_SHARE * lines
    return lines <= LONE_LINES and any(_is_row_by_itself(template) for template in templates)


def _is_row_by_itself(template: LineTemplate) -> bool:
    """Return whether one line alone is a row: at least two values with explicit names, or one with a counter.

    A name of a metric or signal counts for two if it is explicit, and as an explicit one otherwise.
    """
    known = [number for number in template.numbers if classify_name(number.name).kind in ("signal", "metric")]
    if len(known) > 1 or any(number.explicit for number in known):
        return True
    explicit = sum(number.explicit for number in template.numbers if not number.counts)
    return explicit + bool(template.counter_count) >= 2


def _build(collector: LineCollector, notes: list[str]) -> LogColumns:
    """Return the columns that recur, in the rows that have one."""
    traits, examples = collector.traits, tuple(collector.examples)
    columns, kinds = collector.finish()
    accepted = _accepted(columns, kinds, collector)
    dropped = [name for name in columns if name not in accepted]
    if dropped:
        notes.append(
            f"{len(dropped):,} names that do not recur were left out: {format_names(dropped, most=5)}."
            if len(dropped) > 1
            else f"A name that does not recur was left out: {format_names(dropped)}."
        )
    if collector.number_lines:
        notes.append(
            f"{collector.number_lines:,} lines with numbers have no names for them, such as "
            f"'{_shorten(collector.first_unread)}'."
        )
    numbers = _new_numbers(columns, accepted, len(kinds))
    kept = columns.select([name for name in columns if name in accepted], numbers)
    row_count = len(kinds) if numbers is None else int(numbers[-1]) + 1
    return LogColumns(
        "text lines",
        kept,
        row_count,
        "line",
        totals_of(traits, kept),
        frozenset(name for name in kept if traits[name].percent),
        tuple(notes),
        examples,
    )


def _accepted(columns: Mapping[str, Column], kinds: npt.NDArray[np.uint8], collector: LineCollector) -> frozenset[str]:
    """Return the names of the columns that recur; of a text with one row, all."""
    if (kinds == FULL).sum() <= 1 and len(kinds) <= LONE_LINES:
        return frozenset(columns)
    accepted, once = set(), []
    lines_of_a_form: dict[str, int] = {}
    for template in collector.templates.values():
        for number in template.numbers:
            lines_of_a_form[number.name] = max(lines_of_a_form.get(number.name, 0), template.count)
    for name, column in columns.items():
        trait = collector.traits[name]
        full = int((kinds[column.rows] == FULL).sum())
        recurs = full >= 2 and (lines_of_a_form[name] >= 2 or full >= MIN_ROWS)
        if recurs or (trait.counts and len(column.rows) >= 2):
            accepted.add(name)
        elif not trait.counts and trait.explicit:
            varies = len(column.rows) >= MIN_SINGLE and bool((column.values != column.values[0]).any())
            if varies:
                accepted.add(name)
            elif full == 1:
                once.append(name)
    counted = [columns[name].rows for name in accepted if collector.traits[name].counts]
    rows = Counter(int(columns[name].rows[0]) for name in once)
    for name in once:
        row = int(columns[name].rows[0])
        if rows[row] <= NEW_NUMBERS and any(row in other for other in counted):
            accepted.add(name)
    return frozenset(accepted)


def _new_numbers(
    columns: Mapping[str, Column], accepted: frozenset[str], row_count: int
) -> npt.NDArray[np.int64] | None:
    """Return new numbers of the rows, without those that have no accepted column; None if there are none."""
    used = np.zeros(row_count, np.bool_)
    for name in accepted:
        used[columns[name].rows] = True
    return None if used.all() else np.cumsum(used) - 1


def _shorten(line: str) -> str:
    line = printable(line.strip())
    return line if len(line) <= EXAMPLE_WIDTH else f"{line[: EXAMPLE_WIDTH - 1]}…"
