"""Templates of lines: the text of a line without its numbers, and the regular expression that finds its numbers again.

A log of millions of lines has a few templates. They are learned from the first lines, and then the lines of a block are
matched together, which is a hundred times faster than to take every line apart.
"""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.diagnosis.parsing.decimal_numbers import parse_decimals
from equipoise.diagnosis.parsing.line_parser import NamedNumber, ParsedLine
from equipoise.diagnosis.parsing.line_tokens import SKIPPED, WORD_VALUES, NumberForm, Token, parse_digits

_FAST_CLASS = "-+.0-9EINaefinty"
"""Characters of a number in a regular expression of templates: a class is matched faster than an alternative."""
_IN_FAST_CLASS = re.compile(f"[{_FAST_CLASS}]")
_STRICT = {
    "plain": rf"[-+\u2212]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|{WORD_VALUES})",
    "thousands": r"[-+\u2212]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?",
    "comma": rf"[-+\u2212]?(?:\d[\d.]*(?:,\d+)?(?:[eE][-+]?\d+)?|{WORD_VALUES})",
}
_FORM_KEYS = {"plain": "\1", "thousands": "\2", "comma": "\3"}
_VARYING = {
    "bar": SKIPPED["bar"],
    "path": r"[^\s,;)\]]+",
    "place": r"\S+",
    "opaque": r"[\w.]+",
    "version": r"[\w.+#-]+",
}
"""Patterns of skipped parts whose shape varies; of the others, only the digits vary."""
MAX_VARYING = 6
"""Number of skipped parts of a line up to which it is matched by a regular expression."""
CUT_NUMBERS = 3
"""Largest number of numbers that the end of a line looks like where it is cut: those of "12:30:0" are three."""
_SPACES = re.compile(" +")
_TABS = re.compile(r"[ \t]*\t[ \t]*")
_DIGITS = re.compile(r"\d+")
_PUNCTUATION_FIRST = re.compile(r" ?[^\w\s]")
_PUNCTUATION_LAST = re.compile(r"[^\w\s] ?$")


class CapturedNumber(NamedTuple):
    """What is known about a number of a template: its column, and how its digits are written."""

    name: str
    form: NumberForm
    scale: int
    percent: bool
    total: float | None
    counts: bool
    explicit: bool


class _Piece(NamedTuple):
    """A part of a template: its key, its pattern, and the spaces around it, whose number may vary (-1)."""

    key: str
    pattern: str
    before: int = 0
    after: int = 0


class LineTemplate:
    """The form of a line. `key`: equal for lines of the same form. `numbers`: those with names, in their order.

    `example`: the line itself. `count`: number of lines of this form up to now.
    """

    def __init__(self, line: str, parsed: ParsedLine) -> None:
        self.example = line
        self.numbers = tuple(_describe(line, number) for number in parsed.numbers)
        self.count = 0
        self._pieces = _pieces(line, parsed)
        self.key = "\0".join(piece.key for piece in self._pieces)
        self.counter_count = sum(number.counts for number in self.numbers)
        self.group_count = max(len(self.numbers), any(token.kind == "number" for token in parsed.tokens))

    @property
    def is_ambiguous(self) -> bool:
        """Whether a regular expression of this form could take exponential time: parts that vary touch each other."""
        parts, texts = self._pieces[1::2], self._pieces[2:-1:2]
        touching = sum(not (text.key or text.before or text.after) for text in texts)
        return touching > 1 or sum(part.key.startswith("\4") for part in parts) > MAX_VARYING

    @property
    def value_count(self) -> int:
        """How many of the numbers are no counters."""
        return len(self.numbers) - self.counter_count

    @property
    def pattern(self) -> str:
        """Regular expression of the whole line, with a group for each named number."""
        parts = (f"{_spaces(piece.before)}{piece.pattern}{_spaces(piece.after)}" for piece in self._pieces)
        return "".join(parts) + r"[ \t]*"

    def may_continue_as(self, other: "LineTemplate") -> bool:
        """Return whether a line of this form may be the beginning of a row of another form.

        What is cut, such as a time, may look like up to CUT_NUMBERS other numbers.
        """
        parts = self.key.split("\0")
        beginning = "\0".join(parts[: max(1, len(parts) - 2 * CUT_NUMBERS)])
        return bool(other.numbers) and other.key.startswith(beginning)

    def widen(self, other: "LineTemplate") -> None:
        """Accept the widths of another line of the same form."""
        self._pieces = [
            piece._replace(
                before=piece.before if piece.before == new.before else -1,
                after=piece.after if piece.after == new.after else -1,
            )
            for piece, new in zip(self._pieces, other._pieces, strict=True)
        ]


def _spaces(count: int) -> str:
    return " *" if count < 0 else "[ ]" * count


def _describe(line: str, number: NamedNumber) -> CapturedNumber:
    token, total = number.token, None
    if number.total:
        total = parse_digits(line[number.total.start : number.total.end], number.total.form)
    return CapturedNumber(number.name, token.form, token.scale, token.percent, total, number.counts, number.explicit)


def _pieces(line: str, parsed: ParsedLine) -> list[_Piece]:
    """Return the pieces of a line: text, then number, then text …"""
    captured = {number.token.start for number in parsed.numbers}
    captured = captured or {token.start for token in parsed.tokens if token.kind == "number"}
    if not parsed.numbers:
        captured = set(sorted(captured)[:1])
    tokens, pieces, end = parsed.tokens, list[_Piece](), 0
    for index, token in enumerate(tokens):
        pieces.append(_text_piece(line[end : token.start], first=index == 0, last=False))
        end = token.end
        following = line[end : end + 1]
        pieces.append(_token_piece(line[token.start : end], token, token.start in captured, following))
    pieces.append(_text_piece(line[end:].rstrip(), first=not tokens, last=True))
    return pieces


def _text_piece(text: str, first: bool, last: bool) -> _Piece:
    """Return the piece for text between numbers; the width of spaces next to punctuation varies."""
    key = _TABS.sub("\t", _SPACES.sub(" ", text))
    before = after = 0
    if first or _PUNCTUATION_FIRST.match(key):
        key, before = key.lstrip(" "), len(text) - len(text.lstrip(" "))
    if not last and _PUNCTUATION_LAST.search(key):
        key, after = key.rstrip(" "), len(text) - len(text.rstrip(" "))
    return _Piece(key, re.escape(key).replace("\\ ", " +").replace("\\\t", "[ \\t]+"), before, after)


def _token_piece(text: str, token: Token, captured: bool, following: str) -> _Piece:
    """Return the piece for a number or a skipped part."""
    if token.kind == "number":
        is_safe = token.form == "plain" and not _IN_FAST_CLASS.match(following)
        body = f"[{_FAST_CLASS}]++" if is_safe else f"(?:{_STRICT[token.form]})"
        key = _FORM_KEYS[token.form]
        return _Piece(key, f"({body})") if captured else _Piece(f"{key}-", body)
    if token.kind in _VARYING:
        return _Piece(f"\4{token.kind}", f"(?:{_VARYING[token.kind]})")
    shape = _DIGITS.sub("0", _SPACES.sub(" ", text))
    return _Piece(f"\4{shape}", re.escape(shape).replace("0", r"\d+").replace("\\ ", " +"))


class TemplateMatch(NamedTuple):
    """Lines of one template in a block: their `places` (N,) among its lines, and the values (N,) of each number.

    A value is nan where the text between its neighbours is no number; `valid` (N,) is false there, None if nowhere.
    """

    template: LineTemplate
    places: npt.NDArray[np.int64]
    values: Sequence[npt.NDArray[np.float64]]
    valid: Sequence[npt.NDArray[np.bool_] | None]


class BlockMatch(NamedTuple):
    """The lines of a block that are not empty: `size`, those of templates, and the places and texts of the others."""

    size: int
    matches: Sequence[TemplateMatch]
    other_lines: Sequence[int]
    other_texts: Sequence[str]


class TemplateMatcher:
    """Matches the lines of a text with several templates at once; lines of other forms are returned as they are."""

    def __init__(self, templates: Sequence[LineTemplate]) -> None:
        self.templates = tuple(templates)
        body = "|".join(template.pattern for template in templates)
        self._regex = re.compile(rf"^()(?:{body})$|^(.+)$" if templates else "^()(.+)$", re.MULTILINE)

    def match(self, text: str) -> BlockMatch:
        """Return the numbers and the other lines of a text."""
        rows = self._regex.findall(text)
        if not rows:
            return BlockMatch(0, [], [], [])
        words, width = list(itertools.chain.from_iterable(rows)), len(rows[0])
        groups = [words[place::width] for place in range(width)]
        start, matches = 1, list[TemplateMatch]()
        for template in self.templates:
            end = start + template.group_count
            if end > start and (match := _collect(template, groups[start:end])):
                matches.append(match)
            start = end
        others = [index for index, line in enumerate(groups[-1]) if line] if any(groups[-1]) else []
        return BlockMatch(len(groups[-1]), matches, others, [groups[-1][index] for index in others])


def _collect(template: LineTemplate, groups: Sequence[Sequence[str]]) -> TemplateMatch | None:
    """Return the numbers of the lines of one template, from groups that are empty in all other lines."""
    first = groups[0]
    lines = np.arange(len(first))
    if "" in first:
        lines = np.flatnonzero(np.fromiter(map(bool, first), np.bool_, len(first)))
        groups = [[word for word in group if word] for group in groups]
    if not len(lines):
        return None
    columns = [to_numbers(words, number) for words, number in zip(groups, template.numbers, strict=False)]
    return TemplateMatch(template, lines, [values for values, _ in columns], [valid for _, valid in columns])


def to_numbers(
    words: Sequence[str], number: CapturedNumber
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_] | None]:
    """Convert the digits of a number in each line to values (N,), and a mask of those that are numbers."""
    valid = None
    try:
        if number.form != "plain":
            raise ValueError
        values = parse_decimals(words)
    except ValueError:
        values = np.array([parse_digits(word, number.form) for word in words])
        is_nan = np.isnan(values)
        if is_nan.any():
            valid = ~is_nan | np.array([word.lstrip("+-\u2212").lower() == "nan" for word in words])
    return (values if number.scale == 1 else values * number.scale), valid
