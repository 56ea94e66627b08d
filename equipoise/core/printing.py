"""Text for people, from names that may hold any character: escapes for what a terminal or a page must not interpret."""

import re

BIDIRECTIONAL = "\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Characters that reverse the direction of text: a name with them can imitate another one."""
CONTROLS = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{BIDIRECTIONAL}]")
"""What is escaped: control characters, line separators, changes of direction, and surrogates, by which Python
represents the bytes of a file name that is not UTF-8."""
SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str, *, keep: str = "") -> str:
    """Return text with control characters, and bytes that are not UTF-8, as escapes such as \\x1b, \\n and \\xff.

    `keep`: control characters that remain, such as the line breaks of a text of several lines. The result can be
    encoded in UTF-8, and changes neither the colours nor the title of a terminal.
    """
    return CONTROLS.sub(lambda match: match[0] if match[0] in keep else _escape(match[0]), text)


def _escape(character: str) -> str:
    code = ord(character)
    if character in SHORT_ESCAPES:
        return SHORT_ESCAPES[character]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8 (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
