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

from equipoise.diagnosis.logs.packed_columns import GrowingArray, PackedColumns, RowBlock
from equipoise.diagnosis.parsing.line_parser import parse_line
from equipoise.diagnosis.parsing.line_template import LineTemplate, TemplateMatch, TemplateMatcher, to_numbers

MAX_TEMPLATES = 16
"""Number of templates that are matched together: each one more costs time at every line of the others."""
FREQUENT = 8
"""Lines of one form after which it becomes a template of the matcher."""
MAX_KNOWN_TEMPLATES = 20_000
"""Number of forms that are remembered: texts with a number or a name of its own in each line have as many as lines."""
LEARN_LINES = 200
"""Lines that are taken apart before the templates are compiled; then as many of those that no template matches."""
LEARN_ROUNDS = 4
LONGEST_LINE = 10_000
"""Characters of a line above which it is no row: an image in a page, a dump of weights."""
_NUMERIC = re.compile(r"\d|\b(?:nan|inf)\b", re.IGNORECASE)
EXAMPLES = 3
"""Number of rows that are shown in messages."""

FULL, COUNTER_ONLY, SINGLE, UNREAD = 0, 1, 2, 255
"""Kinds of lines: two numbers, or one and a counter; counters alone; one number; numbers without names."""


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
    _blocks: dict[str, RowBlock] = field(default_factory=dict)
    _kinds: GrowingArray[np.uint8] = field(default_factory=lambda: GrowingArray(np.uint8))
    _matcher: TemplateMatcher = field(default_factory=lambda: TemplateMatcher(()))
    _is_stale: bool = False
    _least: int = FREQUENT

    def learn(self, text: str) -> None:
        """Learn the templates of a text, without its numbers."""
        lines: Sequence[str] = text.split("\n")
        for _ in range(LEARN_ROUNDS):
            short = (line for line in lines if len(line) <= LONGEST_LINE and _NUMERIC.search(line))
            batch = list(itertools.islice(short, LEARN_LINES))
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
        block_match = self._matcher.match(text)
        kinds = np.full(block_match.size, UNREAD, np.uint8)
        matches = list(block_match.matches)
        self._count(matches)
        matches += self._match_others(block_match.other_lines, block_match.other_texts)
        for match in matches:
            kinds[match.places] = row_kind(match.template)
        is_row = kinds != UNREAD
        numbers = np.cumsum(is_row) - 1 + self.row_count
        for match in matches:
            if match.template.numbers:
                block = self._blocks.get(match.template.key)
                if block is None:
                    names = [number.name for number in match.template.numbers]
                    block = self._blocks[match.template.key] = RowBlock(names)
                block.extend(numbers[match.places], match.values, match.valid)
        self._kinds.extend(kinds[is_row])
        self.row_count += int(is_row.sum())

    def _match_others(self, places: Sequence[int], texts: Sequence[str]) -> list[TemplateMatch]:
        """Return the numbers of lines of no frequent form; forms that become frequent are matched together again."""
        matches: list[TemplateMatch] = []
        while texts:
            matches += self._take_apart(places[:LEARN_LINES], texts[:LEARN_LINES])
            places, texts = places[LEARN_LINES:], texts[LEARN_LINES:]
            if texts and self._is_stale:
                self._compile()
                block_match = self._matcher.match("\n".join(texts))
                numbers = np.asarray(places)
                matches += [match._replace(places=numbers[match.places]) for match in block_match.matches]
                self._count(block_match.matches)
                places, texts = numbers[block_match.other_lines].tolist(), block_match.other_texts
        return matches

    def _count(self, matches: Iterable[TemplateMatch]) -> None:
        for match in matches:
            match.template.count += len(match.places)
            self.number_lines += 0 if match.template.numbers else len(match.places)

    def _take_apart(self, places: Sequence[int], texts: Sequence[str]) -> list[TemplateMatch]:
        """Take lines apart one by one, and return their numbers by form."""
        by_template: dict[str, tuple[LineTemplate, list[int]]] = {}
        words: dict[str, list[list[str]]] = defaultdict(list)
        for place, line in zip(places, texts, strict=True):
            if not _NUMERIC.search(line):
                continue
            if len(line) > LONGEST_LINE:
                self.number_lines += 1
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
        self._is_stale = self._is_stale or (template.count > self._least and not template.is_ambiguous)
        if not template.numbers:
            self.first_unread = self.first_unread or line.strip() * template.group_count
        elif len(self.examples) < EXAMPLES and row_kind(template) == FULL:
            self.examples.append(line.strip())
        if len(parsed.numbers) != len(template.numbers):  # the same form with other names: its numbers stay unread
            return template, []
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
        simple = (template for template in self.templates.values() if not template.is_ambiguous)
        frequent = sorted(simple, key=lambda template: -template.count)
        self._matcher = TemplateMatcher(frequent[:MAX_TEMPLATES])
        self._is_stale = False
        rarest = self._matcher.templates[-1].count if len(self._matcher.templates) == MAX_TEMPLATES else 0
        self._least = max(FREQUENT, 2 * rarest)

    def counts_up(self, names: Collection[str]) -> bool:
        """Return whether one of the columns has two different values up to now."""
        columns = PackedColumns(tuple(self._blocks.values()))
        values = (columns[name].values for name in names if name in columns)
        return any(len(column) and bool((column != column[0]).any()) for column in values)

    def finish(self) -> tuple[PackedColumns, npt.NDArray[np.uint8]]:
        """Return the columns, and the kind of each row."""
        self._separate_totals()
        return PackedColumns(tuple(self._blocks.values())), self._kinds.view()

    def _separate_totals(self) -> None:
        """Rename counters without a name in forms with another planned end than most, as the bar of a validation."""
        rows: dict[str, dict[float, tuple[int, int]]] = defaultdict(dict)
        for template in self.templates.values():
            for number in template.numbers:
                if number.name.startswith("#") and number.total:
                    full, count = rows[number.name].get(number.total, (0, 0))
                    is_full = row_kind(template) == FULL
                    rows[number.name][number.total] = (full + template.count * is_full, count + template.count)
        usual = {name: max(totals, key=totals.__getitem__) for name, totals in rows.items() if len(totals) > 1}
        for template in self.templates.values() if usual else ():
            numbers = tuple(
                number._replace(name=f"{number.name} of {number.total:.0f}")
                if number.total and usual.get(number.name, number.total) != number.total
                else number
                for number in template.numbers
            )
            if numbers != template.numbers:
                template.numbers = numbers
                self._note_traits(template)
                if block := self._blocks.get(template.key):
                    block.names = tuple(number.name for number in numbers)
        for name, total in usual.items():
            self.traits[name] = self.traits[name]._replace(total=total)


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


def totals_of(traits: Mapping[str, ColumnTraits], names: Iterable[str]) -> dict[str, float]:
    """Return the planned ends of columns."""
    return {name: total for name in names if (total := traits[name].total) is not None}
