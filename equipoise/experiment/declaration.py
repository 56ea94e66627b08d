"""Declaration of a setting: help, flags, range and choices, from which command line, schema and reference follow."""

import math
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import get_args

from equipoise.core.catalog import PlugKind
from equipoise.core.validation import MAX_SEED
from equipoise.errors import SettingError, UnknownNameError


@dataclass(frozen=True, slots=True)
class SettingSpec:
    """Declaration of a setting, in addition to its name and type.

    `flags`: its flags on the command line, of which the reference shows the first; empty if it has none. `flag_help`:
    help of the flag if it differs from `help`. `minimum`, `above` (exclusive) and `maximum`: range of a number.
    `choices`: valid names; `plug`: the kind of plug that it names.
    """

    help: str
    flags: tuple[str, ...] = ()
    flag_help: str | None = None
    metavar: str | None = None
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()
    plug: PlugKind | None = None

    def check(self, name: str, value: object) -> None:
        """Raise SettingError for a number outside the range, UnknownNameError for a name that is not a choice."""
        if isinstance(value, str) and self.choices and value not in self.choices:
            raise UnknownNameError(name, value, self.choices)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return
        is_whole = isinstance(value, int)
        for is_valid, bound in (
            (not is_whole or abs(value) <= MAX_SEED, f"at most {_number(MAX_SEED)}"),
            (is_whole or math.isfinite(value), "a finite number"),
            (self.minimum is None or value >= self.minimum, f"at least {_number(self.minimum)}"),
            (self.above is None or value > self.above, f"above {_number(self.above)}"),
            (self.maximum is None or value <= self.maximum, f"at most {_number(self.maximum)}"),
        ):
            if not is_valid:
                raise SettingError(f"{name} = {_value_text(value)}: it must be {bound}")

    def values(self) -> str:
        """Describe the valid values in a few words: "at least 1 (steps)", "auto, fp32"; empty if any value is valid."""
        bounds = {"at least": self.minimum, "above": self.above}
        if self.choices:
            return ", ".join(self.choices)
        parts = [f"{words} {_number(bound)}" for words, bound in bounds.items() if bound is not None]
        if self.maximum is not None and self.maximum != MAX_SEED:
            parts.append(f"at most {_number(self.maximum)}")
        return " ".join(filter(None, (", ".join(parts), f"({self.unit})" if self.unit else "")))


def _value_text(value: float) -> str:
    """Format a value that a setting cannot have; whole numbers may be larger than any float."""
    if isinstance(value, int):
        return str(value) if abs(value) < 10**40 else "a number of over 40 digits"
    return f"{value:g}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if value < MAX_SEED else "2^63 - 1"


def to_python(value: object, hint: object) -> object:
    """Convert a number of another library, such as numpy, to one of Python, a list to a tuple, and a path to text."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, Path):
        return str(value)
    if type(value) in (bool, int, float) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) and int in get_args(hint) else float(value)


def describe_wrong_plug(name: str, value: object) -> str:
    """Describe a value that is not the name of a plug, and what to give instead."""
    remedy = "give a name, or PlugSpec(name, options)"
    if name == "data":
        remedy = (
            "save an array as a .npy file, and give the path of that file or of a folder, or the name of a data set"
        )
    return f"{name} must be a string, not {type(value).__name__}; {remedy}"
