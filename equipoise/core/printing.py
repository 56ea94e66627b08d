"""Text for people: lists, counts, and names that may hold any character.

What a terminal or a page must not interpret is escaped.
"""

import re
from collections.abc import Sequence

BIDIRECTIONAL = "\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Characters that reverse the direction of text: a name with them can imitate another one."""
CONTROLS = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{BIDIRECTIONAL}]")
"""What is escaped: control characters, line separators, changes of direction, and surrogates, by which Python
represents the bytes of a file name that is not UTF-8."""
MAX_LISTED = 3
"""Largest number of files that a message names; the others are counted."""
SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str, *, keep: str = "") -> str:
    """Return text with control characters, and bytes that are not UTF-8, as escapes such as \\x1b, \\n and \\xff.

    `keep`: control characters that remain, such as the line breaks of a text of several lines. The result can be
    encoded in UTF-8, and changes neither the colours nor the title of a terminal.
    """
    return CONTROLS.sub(lambda match: match[0] if match[0] in keep else _escape(match[0]), text)


def format_names(names: Sequence[str], most: int = MAX_LISTED) -> str:
    """Format the first names, printable, and the number of the others: "a.png, b.png, c.png and 5 more"."""
    return ", ".join(map(printable, names[:most])) + format_more(len(names) - most)


def format_more(number: int) -> str:
    """Return " and 5 more", to follow the printed part of a list; empty if there are no others."""
    return f" and {number:,} more" if number > 0 else ""


def format_count(number: int, noun: str = "file") -> str:
    """Return a number and its noun: 1 file, 12,000 files."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def agree(number: int, singular: str, plural: str) -> str:
    """Return the form of a verb that agrees with a number."""
    return singular if number == 1 else plural


def _escape(character: str) -> str:
    code = ord(character)
    if character in SHORT_ESCAPES:
        return SHORT_ESCAPES[character]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8 (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
