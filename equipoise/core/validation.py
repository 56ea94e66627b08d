"""Range checks of numeric options. Plugs call them when they are built, so that errors are reported before training."""

import math

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
