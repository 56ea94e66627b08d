"""Bounds of options: what lies outside them, or is no number, is told when a plug is built, not what comes of it."""

import math

from equipoise.errors import SettingError

MOST_SEED = 2**63 - 1
"""What torch takes for a seed."""


def at_least(low: float, **values: float | None) -> None:
    """Raise SettingError for a value below `low`, or that is not finite; None is no value."""
    for name, value in _given(values):
        if not low <= value < math.inf:
            raise SettingError(f"{name} = {value:g}: it must be at least {low:g}")


def above(low: float, **values: float | None) -> None:
    """Raise SettingError for a value that is not above `low`, or not finite."""
    for name, value in _given(values):
        if not low < value < math.inf:
            raise SettingError(f"{name} = {value:g}: it must be above {low:g}")


def within(low: float, high: float, **values: float | None) -> None:
    """Raise SettingError for a value outside [low, high], or that is no number."""
    for name, value in _given(values):
        if not low <= value <= high:
            raise SettingError(f"{name} = {value:g}: it must be from {low:g} to {high:g}")


def seeds(**values: int) -> None:
    """Raise SettingError for what is no seed."""
    for name, value in values.items():
        if value < 0:
            raise SettingError(f"{name} = {value}: it must be at least 0")
        if value > MOST_SEED:
            raise SettingError(f"{name} = {value}: it must be below 2^63")


def _given(values: dict[str, float | None]) -> list[tuple[str, float]]:
    return [(name, value) for name, value in values.items() if value is not None]
