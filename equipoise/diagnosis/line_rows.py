"""Rows of numbers from the lines of a log, block by block: templates are learned on the way (line_template.py).

A line is a row if it has two numbers with names, or one and a counter. Lines with a counter alone ("Epoch 3/200") are
rows too: those that follow count by it. Lines with one number are rows if their name recurs.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.diagnosis.line_parser import parse_line
from equipoise.diagnosis.line_template import LineTemplate, TemplateMatch, TemplateMatcher, to_numbers
from equipoise.diagnosis.log_columns import Column

MAX_TEMPLATES = 16
"""Number of templates that are matched together: each one more costs time at every line of the others."""
FREQUENT = 8
"""Lines of one form after which it becomes a template of the matcher."""
MAX_KNOWN_TEMPLATES = 20_000
"""Number of forms that are remembered: texts with a number or a name of its own in each line have as many as lines."""
LEARN_LINES = 200
"""Lines that are taken apart before the templates are compiled; then as many of those that no template matches."""
LEARN_ROUNDS = 4
_NUMERIC = re.compile(r"\d|\b(?:nan|inf)\b", re.IGNORECASE)
EXAMPLES = 3
"""Number of rows that are shown in messages."""

FULL, COUNTER_ONLY, SINGLE, UNREAD = 0, 1, 2, 255
"""Kinds of lines: two numbers, or one and a counter; counters alone; one number; numbers without names."""
Rows = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


class ColumnTraits(NamedTuple):
    """What is known of a column besides its values."""

    counts: bool
    explicit: bool
    percent: bool
    total: float | None


@dataclass(slots=True)
class LineCollector:
    """Collects the rows of a log. `row_count`: rows up to now; `number_lines`: lines with numbers that were no rows.

    `first_unread`: the first of those. `templates`: the forms of lines by their keys.
    """

    decimal_comma: bool = False
    row_count: int = 0
    number_lines: int = 0
    first_unread: str = ""
    templates: dict[str, LineTemplate] = field(default_factory=dict)
    traits: dict[str, ColumnTraits] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    _pieces: dict[str, list[Column]] = field(default_factory=lambda: defaultdict(list))
    _kinds: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    _matcher: TemplateMatcher = field(default_factory=lambda: TemplateMatcher(()))
    _is_stale: bool = False

    def learn(self, text: str) -> None:
        """Learn the templates of a text, without its numbers."""
        lines: Sequence[str] = text.split("\n")
        for _ in range(LEARN_ROUNDS):
            batch = list(itertools.islice(filter(_NUMERIC.search, lines), LEARN_LINES))
            if not batch:
                break
            for line in batch:
                self._template(line)
            self._compile()
            lines = self._matcher.match(text).other_texts
        for template in self.templates.values():
            template.count = 0

    def add(self, text: str) -> None:
        """Add the rows of a block of whole lines."""
        if self._is_stale:
            self._compile()
        block = self._matcher.match(text)
        kinds = np.full(block.size, UNREAD, np.uint8)
        matches = list(block.matches)
        for match in matches:
            match.template.count += len(match.places)
        self.number_lines += sum(len(match.places) for match in matches if not match.template.numbers)
        matches += self._match_others(block.other_lines, block.other_texts)
        for match in matches:
            kinds[match.places] = row_kind(match.template)
        is_row = kinds != UNREAD
        numbers = np.cumsum(is_row) - 1 + self.row_count
        parts: dict[str, list[Column]] = defaultdict(list)
        for match in matches:
            rows = numbers[match.places]
            for number, values, valid in zip(match.template.numbers, match.values, match.valid, strict=True):
                parts[number.name].append(Column(rows, values) if valid is None else Column(rows[valid], values[valid]))
        for name, columns in parts.items():
            self._pieces[name].append(_merge(columns))
        self._kinds.append(kinds[is_row])
        self.row_count += int(is_row.sum())

    def _match_others(self, places: Sequence[int], texts: Sequence[str]) -> list[TemplateMatch]:
        """Take lines apart that are of no frequent form, and return their numbers by form."""
        by_template: dict[str, tuple[LineTemplate, list[int]]] = {}
        words: dict[str, list[list[str]]] = defaultdict(list)
        for place, line in zip(places, texts, strict=True):
            if not _NUMERIC.search(line):
                continue
            template, values = self._template(line)
            if not values:
                self.number_lines += template.group_count
                continue
            by_template.setdefault(template.key, (template, []))[1].append(place)
            words[template.key].append(values)
        return [_match(template, lines, words[key]) for key, (template, lines) in by_template.items()]

    def _template(self, line: str) -> tuple[LineTemplate, list[str]]:
        """Return the template of a line, and its numbers as words; a new template is remembered."""
        parsed = parse_line(line, self.decimal_comma)
        new = LineTemplate(line, parsed)
        template = self.templates.get(new.key)
        if template is None:
            template = new
            if len(self.templates) < MAX_KNOWN_TEMPLATES:
                self.templates[new.key] = new
            self._note_traits(new)
        else:
            template.widen(new)
        template.count += 1
        self._is_stale = self._is_stale or template.count >= FREQUENT
        if not template.numbers:
            self.first_unread = self.first_unread or line.strip() * template.group_count
        elif len(self.examples) < EXAMPLES and row_kind(template) == FULL:
            self.examples.append(line.strip())
        return template, [line[number.token.start : number.token.end] for number in parsed.numbers]

    def _note_traits(self, template: LineTemplate) -> None:
        for number in template.numbers:
            old = self.traits.get(number.name, ColumnTraits(False, False, False, None))
            self.traits[number.name] = ColumnTraits(
                number.counts or old.counts,
                number.explicit or old.explicit,
                number.percent or old.percent,
                number.total if old.total is None else max(old.total, number.total or 0),
            )

    def _compile(self) -> None:
        """Compile the most frequent templates into one matcher."""
        frequent = sorted(self.templates.values(), key=lambda template: -template.count)
        self._matcher = TemplateMatcher(frequent[:MAX_TEMPLATES])
        self._is_stale = False

    def counts_up(self, names: Collection[str]) -> bool:
        """Return whether one of the columns has two different values up to now."""
        return any(
            len({float(value) for piece in pieces for value in (piece.values.min(), piece.values.max())}) > 1
            for name, pieces in self._pieces.items()
            if name in names and all(len(piece.values) for piece in pieces)
        )

    def take_columns(self) -> tuple[dict[str, Column], npt.NDArray[np.uint8]]:
        """Return the columns, and the kind of each row; the collector has none any more."""
        columns: dict[str, Column] = {}
        shared: dict[tuple[int, ...], Rows] = {}
        for name in list(self._pieces):
            pieces = self._pieces.pop(name)
            key = tuple(id(piece.rows) for piece in pieces)
            if key not in shared:
                shared[key] = np.concatenate([piece.rows for piece in pieces])
            columns[name] = Column(shared[key], np.concatenate([piece.values for piece in pieces]))
        return columns, np.concatenate(self._kinds) if self._kinds else np.zeros(0, np.uint8)


def row_kind(template: LineTemplate) -> int:
    """Return the kind of the rows of a template."""
    if not template.numbers:
        return UNREAD
    if not template.value_count:
        return COUNTER_ONLY
    return FULL if len(template.numbers) > 1 else SINGLE


def _match(template: LineTemplate, lines: Iterable[int], words: Sequence[Sequence[str]]) -> TemplateMatch:
    columns = [
        to_numbers(column, number) for column, number in zip(zip(*words, strict=True), template.numbers, strict=True)
    ]
    places = np.array(list(lines), np.int64)
    return TemplateMatch(template, places, [values for values, _ in columns], [valid for _, valid in columns])


def _merge(columns: Sequence[Column]) -> Column:
    """Return the values of a column in one block, in the order of their rows; shared rows stay shared."""
    if len(columns) == 1:
        return columns[0]
    rows, values = np.concatenate([part.rows for part in columns]), np.concatenate([part.values for part in columns])
    order = np.argsort(rows, kind="stable")
    return Column(rows[order], values[order])


def totals_of(traits: Mapping[str, ColumnTraits], names: Iterable[str]) -> dict[str, float]:
    """Return the planned ends of columns."""
    return {name: total for name in names if (total := traits[name].total) is not None}
