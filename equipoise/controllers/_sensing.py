"""Reading signals for a law: what is not there or no number is None, what scatters is smoothed. Pure."""

import math

LONGEST = 0.05
"""Share of a run: a signal that was away for longer counts no more than this when it is back."""


def known(value: float | None) -> float | None:
    """The value of a signal, None if it is missing or not finite."""
    return value if value is not None and math.isfinite(value) else None


def elapsed(progress: float, since: float) -> float:
    """The share of the run since a reading; not below 0, for a run may be resumed with more steps."""
    return min(max(progress - since, 0.0), LONGEST)


def smoothed(level: float | None, value: float, span: float, half_life: float) -> float:
    """The exponential mean, `span` after its last value; `half_life` in the same unit. The first value starts it."""
    return value if level is None else level + (1 - 0.5 ** (span / half_life)) * (value - level)


def outside(value: float, target: float, deadband: float) -> float:
    """How far a value lies beyond target ± deadband: 0 within, below 0 if it is too low."""
    return math.copysign(max(0.0, abs(value - target) - deadband), value - target)


def told(name: str, value: float, target: float, deadband: float) -> str:
    """A signal beside where it is wanted: "rank_train_fake 0.93 > 0.80"."""
    low, high = target - deadband, target + deadband
    if value > high:
        return f"{name} {value:.2f} > {high:.2f}"
    if value < low:
        return f"{name} {value:.2f} < {low:.2f}"
    return f"{name} {value:.2f}, wanted {low:.2f} to {high:.2f}"
