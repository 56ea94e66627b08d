"""Numbers in a line of a log, and what looks like a number but is none: dates, times, durations, versions, file names.

A line is split by one regular expression. Every token that varies from line to line has a pattern of its own, from
which the pattern of the whole line is composed (line_template.py).
"""

import math
import re
from collections.abc import Iterator
from functools import cache
from typing import Literal, NamedTuple

_DIGITS = r"(?:\d+(?:\.\d+|\.(?![.\w]))?|\.\d+)(?:[eE][-+]?\d+)?"
_THOUSANDS = r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?(?!,?\d)"
_COMMA_DIGITS = r"(?:\d{1,3}(?:\.\d{3})+(?!\d)|\d+)(?:,\d+)?(?:[eE][-+]?\d+)?"
WORD_VALUES = r"(?:nan|inf(?:inity)?|NaN|NAN|Inf(?:inity)?|INF)(?![\w(])"
_SIGN = r"(?:(?<![\w)\]])[-+\u2212])?"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d)?(?:[.,]\d+)?(?!\d)"
_DAY = r"\d{4}(?:-\d\d?-|/\d\d?/|\.\d\d?\.)\d\d?|\d\d?(?:-\d\d?-|/\d\d?/)(?:\d{4}|\d\d)"
_UNIT = r"(?:ms|\u00b5s|us|secs?|seconds?|mins?|minutes?|hours?|hrs?|days?)"

SKIPPED = {
    "bar": r"\d+(?:\.\d+)?%\|[^|\n]*\||\[[=>.]{3,}\]|[\u2500-\u259f]{2,}",
    "rate": (
        r"\[[\d:]*(?:\d+ days?, )?\d[\d:]*<[^\],\n]*(?:, *[\d:]+)?, +[\d.?]+ ?[A-Za-z]+/[A-Za-z]+"
        r"|\d+(?:\.\d+)? ?(?:it|imgs?|images?|samples?|batch(?:es)?|steps?|kimg)/s(?:ec)?\b"
    ),
    "date": (
        rf"(?<![\w./-])(?:{_DAY})(?![\d/-])(?:[T ]+{_CLOCK}(?:Z|[-+]\d\d:?\d\d)?)?"
        rf"|(?<![\w./-])\d\d?[/-]\d\d? {_CLOCK}"
        rf"|\b{_MONTH} +\d{{1,2}},?(?: +{_CLOCK})?(?: +\d{{4}}\b)?|\b\d{{1,2}} {_MONTH} \d{{4}}\b(?:[ T]{_CLOCK})?"
    ),
    "time": rf"(?:\d+ days?, *)?(?<![\w.:]){_CLOCK}(?::\d\d)?",
    "duration": (
        rf"(?:\d+(?:\.\d+)?(?:[smhd](?![\w/])|(?:ms|us|\u00b5s|s)/\w+) ?)+"
        rf"|\d+(?:\.\d+)?(?:{_UNIT}\b| {_UNIT}\b(?! *[:=]? *[-+]?\.?\d))(?:/\w+)?"
    ),
    "place": r"[\w./\\-]+\.py:\d+|[\w.<>]+:[\w<>]+:\d+(?= - )",
    "path": (
        r"(?:[\w.~-]*[/\\])+[\w.=-]*\.[A-Za-z]\w{1,10}\b"
        r"|\b[\w-]*\d[\w.-]*\.(?:png|jpe?g|pth?|pkl|ckpt|h5|np[zy]|gif|wav|txt|json|yaml|tar|safetensors)\b"
    ),
    "tensor": r", *(?:device='[^']*'|grad_fn=<\w*>|dtype=[\w.]+|requires_grad=\w+)",
    "version": r"\d+\.\d+\.\d[\w.+-]*|0x[0-9a-fA-F]+",
}
"""Patterns of what varies but is no number of the training, in the order of their trial."""
_ORDERED_BEFORE_WORDS = ("bar", "rate", "date", "time", "place", "path", "tensor")
_ORDERED_BEFORE_NUMBERS = ("duration", "version")
_OPAQUE = r"\d[\w.]*[A-Za-z_]\w*|\d+(?=\.\w)"
_GLUED_COUNTER = r"(?<![\w])(?i:epoch|step|iteration|iter|itr|batch|rank)(?=\d+(?!\w))"
_WORD = r"[^\W\d]\w*(?:[./\\-][^\W\d]\w*)*(?:(?<=[\w-])\[\d+(?:, *\d+)+\](?= *[=:]))?"
_BRACKET_LIST = r"-\[\d+(?:, *\d+)+\](?= *[=:])"
_PLAIN_TEXT = rf"[ \t:=|;(){{}}<>'\"]+|(?!(?:{_MONTH}|{WORD_VALUES})(?![A-Za-z_]))[A-Za-z_]+(?=[ =,)\t]|: |$)"
"""What no other pattern can begin with, first, because it is most of a line."""

_NO_UNIT = r"(?!dB\b|it \[|(?i:epoch|step|iter|batch)(?![a-z]))"
"""What may follow the digits of a number at once: "26.1dB", "120it [" of a progress bar without an end, "4epoch"."""

NumberForm = Literal["plain", "thousands", "comma"]


class Token(NamedTuple):
    """A part of a line that varies: a number ("number") or what is skipped, by its kind in SKIPPED.

    `form`: how the digits of a number are grouped. `scale`: 1000 for "12k", else 1. `percent`: followed by "%".
    """

    kind: str
    start: int
    end: int
    form: NumberForm = "plain"
    scale: int = 1
    percent: bool = False


@cache
def _scanner(decimal_comma: bool) -> re.Pattern[str]:
    number = _COMMA_DIGITS if decimal_comma else rf"(?:(?<!\[)(?P<thousands>{_THOUSANDS})|{_DIGITS})"
    parts = [
        _PLAIN_TEXT,
        *(_named(kind) for kind in _ORDERED_BEFORE_WORDS),
        rf"(?P<number>{_SIGN}(?:{WORD_VALUES}))",
        rf"(?P<glued>{_GLUED_COUNTER})",
        rf"(?P<word>{_WORD}|{_BRACKET_LIST})",
        *(_named(kind) for kind in _ORDERED_BEFORE_NUMBERS),
        rf"(?P<digits>(?<![A-Za-z_]/){_SIGN}{number})(?P<kilo>[kK])?(?!{_NO_UNIT}\w)(?!\.\w)(?P<percent> ?%)?",
        rf"(?P<opaque>{_OPAQUE})",
    ]
    return re.compile("|".join(parts))


def _named(kind: str) -> str:
    return f"(?P<{kind}>{SKIPPED[kind]})"


def scan_line(line: str, decimal_comma: bool = False) -> Iterator[Token]:
    """Yield the numbers of a line, and the parts that vary but are no numbers, from left to right."""
    for match in _scanner(decimal_comma).finditer(line):
        kind = match.lastgroup
        if match["digits"] is not None:
            start, end = match.span("digits")
            form: NumberForm = "comma" if decimal_comma else "plain"
            if not decimal_comma and match["thousands"]:
                form = "thousands"
            yield Token("number", start, end, form, 1000 if match["kilo"] else 1, bool(match["percent"]))
        elif kind not in ("word", "glued") and kind is not None:
            yield Token(kind, match.start(), match.end())


def parse_digits(word: str, form: NumberForm) -> float:
    """Convert the digits of a number; nan if they are none."""
    if form == "thousands":
        word = word.replace(",", "")
    elif form == "comma":
        word = word.replace(".", "").replace(",", ".")
    try:
        return float(word.replace("\u2212", "-"))
    except ValueError:
        return math.nan


_DECIMAL_COMMA = re.compile(r"[:=\t ]-?(?:0,\d+|\d+,(?:\d{1,2}|\d{4,}))(?![\d.,])")
_DECIMAL_POINT = re.compile(r"[:=\t ]-?\d+\.\d+(?![\d.,])")
COMMA_RATIO = 5
"""Decimal commas for each decimal point above which a log writes "0,693": points remain in dates and versions."""


def has_decimal_commas(head: str) -> bool:
    """Return whether a log consistently writes its decimals with a comma."""
    commas = len(_DECIMAL_COMMA.findall(head))
    return commas >= 2 and commas > COMMA_RATIO * len(_DECIMAL_POINT.findall(head))
