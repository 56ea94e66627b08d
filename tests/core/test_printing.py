"""Escapes of text that a terminal or a page must not interpret."""

import os

import pytest

from equipoise.core.printing import printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain – ünï çødé 猫 👩‍👧", "plain – ünï çødé 猫 👩‍👧"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31mred\x1b[0m\x07", "\\x1b[31mred\\x1b[0m\\x07"),
        ("\x9b31m", "\\x9b31m"),
        (os.fsdecode(b"caf\xe9.png"), "caf\\xe9.png"),
        ("\ud83d", "\\ud83d"),
        ("gnp.\u202eexe", "gnp.\\u202eexe"),
        ("a\u2028b", "a\\u2028b"),
    ],
)
def test_controls_are_escaped(text: str, expected: str) -> None:
    assert printable(text) == expected
    printable(text).encode("utf-8")


def test_line_breaks_can_be_kept() -> None:
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"
