"""Parsing many lines of a log at once: the beginnings of readings, and changes of knobs, of which a log has most."""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from pydantic_core import from_json

SENSED, TURNED = b'{"event": "sensed"', b'{"event": "turned"'
"""Beginnings of the lines of readings and of changes of a knob, as :mod:`equipoise.runs.log` writes them."""
LOSS = b', "loss": {'
"""What follows the numbers of steps, images and seconds in the line of a reading."""


class ReadingHeads(NamedTuple):
    """Step, images and seconds of readings."""

    steps: list[int]
    images: list[int]
    seconds: "array[float]"


class TurnRow(NamedTuple):
    """A change of a knob: step, knob, values, the controller or person that made it, and the offset of its line."""

    step: int
    knob: str
    before: float
    after: float
    by: str
    offset: int


class Turns(NamedTuple):
    """Changes of knobs, and the images at each of them."""

    rows: list[TurnRow]
    images: list[int]


def parse_readings(lines: Sequence[bytes]) -> ReadingHeads | None:
    """Parse the beginnings of lines that begin with SENSED and end with a line break.

    None if one of them has not the form that the log writes, up to its losses; the rest is not looked at.
    """
    ends = [line.find(LOSS) for line in lines]
    if min(ends) < 0 or not all(line.endswith(b"}\n") for line in lines):
        return None
    heads = [line[:end] for line, end in zip(lines, ends, strict=True)]
    try:
        items = from_json(b"[" + b"},".join(heads) + b"}]", cache_strings="keys")
        steps, images = [item["step"] for item in items], [item["images"] for item in items]
        seconds = array("d", [item["seconds"] for item in items])
    except (ValueError, TypeError, KeyError, OverflowError):
        return None
    is_valid = len(items) == len(lines) and {int}.issuperset(map(type, steps + images))
    return ReadingHeads(steps, images, seconds) if is_valid else None


def parse_turns(lines: Sequence[bytes], offsets: Sequence[int]) -> Turns | None:
    """Parse lines that begin with TURNED; `offsets`: of each in the log. None if one of them is damaged."""
    try:
        items = from_json(b"[" + b",".join(lines) + b"]", cache_strings="all")
        rows = [
            TurnRow(
                *(item["step"], str(item["knob"]), float(item["from"]), float(item["to"]), str(item.get("by", ""))),
                offset,
            )
            for item, offset in zip(items, offsets, strict=True)
        ]
        images = [item.get("images") for item in items]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    is_valid = {int}.issuperset(type(row.step) for row in rows)
    return Turns(rows, [count if type(count) is int else 0 for count in images]) if is_valid else None
