"""Checks of ranges and types of settings.

Plugs check their numbers when they are built, so that errors are reported before training. Values from files are not
converted: `repair = "yes"` is an error, not true.
"""

import math
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from types import NoneType
from typing import Literal, Union, get_args, get_origin

from equipoise.errors import SettingError

MAX_SEED = 2**63 - 1
"""The largest seed that torch accepts."""


def check_at_least(low: float, **values: float | None) -> None:
    """Raise SettingError for a value that is below `low` or not finite; None is skipped."""
    for name, value in _without_none(values):
        if not low <= value < math.inf:
            raise SettingError(f"{name} = {value:g}: it must be at least {low:g}")


def check_above(low: float, **values: float | None) -> None:
    """Raise SettingError for a value that is not above `low`, or not finite; None is skipped."""
    for name, value in _without_none(values):
        if not low < value < math.inf:
            raise SettingError(f"{name} = {value:g}: it must be above {low:g}")


def check_within(low: float, high: float, **values: float | None) -> None:
    """Raise SettingError for a value outside [low, high], or that is NaN; None is skipped."""
    for name, value in _without_none(values):
        if not low <= value <= high:
            raise SettingError(f"{name} = {value:g}: it must be from {low:g} to {high:g}")


def check_seeds(**values: int) -> None:
    """Raise SettingError for an integer that torch does not accept as a seed."""
    for name, value in values.items():
        if value < 0:
            raise SettingError(f"{name} = {value}: it must be at least 0")
        if value > MAX_SEED:
            raise SettingError(f"{name} = {value}: it must be below 2^63")


def _without_none(values: dict[str, float | None]) -> list[tuple[str, float]]:
    return [(name, value) for name, value in values.items() if value is not None]


TYPE_WORDS: Mapping[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    tuple: "a list",
    Mapping: "a table",
}
"""Words for the types of settings, for users who write TOML."""


def check_type(name: str, value: object, hint: object) -> None:
    """Raise SettingError for a value that is not of the type `hint`, or None where that is allowed.

    A whole number is a valid `float`. Of other types than those in TYPE_WORDS, nothing is checked.
    """
    options = _alternatives(hint)
    kinds = [get_origin(option) or option for option in options]
    if any(kind not in (*TYPE_WORDS, Literal, NoneType) for kind in kinds):
        return
    for option, kind in zip(options, kinds, strict=True):
        if _is_kind(value, kind):
            _check_items(name, value, option)
            return
    words = [TYPE_WORDS[kind] for kind in kinds if kind in TYPE_WORDS] or [TYPE_WORDS[str]]
    raise SettingError(f"{name} = {_short(value)}: it must be {' or '.join(words)}, not {_kind_of(value)}")


def whole_number(name: str, value: object) -> int:
    """Return a whole number, also one of numpy, as an int. Raises SettingError for anything else, such as true."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise SettingError(f"{name} = {_short(value)}: it must be {TYPE_WORDS[int]}, not {_kind_of(value)}")
    return int(value)


def as_path(value: object, name: str) -> Path:
    """Return a path, `~` expanded. Raises SettingError, naming it, for a value that is neither a text nor a Path."""
    if not isinstance(value, str | Path):
        raise SettingError(f"{name} must be a string or a Path, not {type(value).__name__}")
    return Path(value).expanduser()


def _alternatives(hint: object) -> tuple[object, ...]:
    """Return the members of a union, or the type itself."""
    is_union = get_origin(hint) is Union or type(hint).__name__ == "UnionType"
    return get_args(hint) if is_union else (hint,)


def _is_kind(value: object, kind: object) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is NoneType:
        return value is None
    if kind in (str, Literal):
        return isinstance(value, str)
    if kind is tuple:
        return isinstance(value, list | tuple)
    if kind is Mapping:
        return isinstance(value, Mapping)
    return isinstance(value, int | float if kind is float else int)


def _check_items(name: str, value: object, hint: object) -> None:
    """Check the items of a list, or the values of a table."""
    arguments = get_args(hint)
    if isinstance(value, Mapping) and len(arguments) == 2:
        for key, item in value.items():
            check_type(f"{name}.{key}", item, arguments[1])
    elif isinstance(value, list | tuple) and len(arguments) == 2 and arguments[1] is Ellipsis:
        for item in value:
            check_type(name, item, arguments[0])


def _short(value: object) -> str:
    """Return a value as text of at most 60 characters, on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}…"


def _kind_of(value: object) -> str:
    if isinstance(value, float):
        return "a decimal number"
    words = next((words for kind, words in TYPE_WORDS.items() if _is_kind(value, kind)), None)
    return words or ("a list" if isinstance(value, list | tuple) else type(value).__name__)
