"""Parts of feedback controllers: filters of signals, and the actuators that map outputs to knobs.

Every output is bounded, so that a controller can change no more than a careful user would.
"""

import math
from collections.abc import Mapping

from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation

MAX_ELAPSED = 0.05
"""Longest time between two readings of a signal, as a share of the run; longer gaps are shortened to it."""

RATIO_OCTAVES = 2.0
"""Largest change of the learning-rate ratio to either side of the user's value, in octaves: a factor of 4."""
GAMMA_OCTAVES = 3.0
"""Largest increase of a penalty above the user's value, in octaves: a factor of 8."""
MAX_AUGMENT_P = 0.8
"""Above this value augmentations leak into the samples (Karras 2020, ADA, section 2.2 and figure 3)."""

RANK_LOGITS = 256
"""Most logits per side of rank_train_held_out."""
UNKNOWN_HELD_OUT = 64
"""Held-out samples assumed where their number is not known."""


def rank_standard_error(held_out: int | None, training: int | None) -> float:
    """Return the standard error of rank_train_held_out for a discriminator that has memorised nothing.

    2 sqrt((n + m + 1) / (12 n m)) for n held-out and m training samples (Mann and Whitney 1947, as rank =
    2 AUC - 1), at most RANK_LOGITS each. The held-out samples are the same at every reading: averages over
    readings have the same error.
    """
    n, m = min(held_out or UNKNOWN_HELD_OUT, RANK_LOGITS), min(training or RANK_LOGITS, RANK_LOGITS)
    return 2 * math.sqrt((n + m + 1) / (12 * n * m))


def log_share(value: float, first: float, last: float) -> float:
    """Return where a value lies between `first` (0) and `last` (1) on a logarithmic scale, within [0, 1]."""
    if value <= first:
        return 0.0
    return min(math.log(value / first) / math.log(last / first), 1.0)


def finite_or_none(value: float | None) -> float | None:
    """Return the value of a signal, or None if it is missing or not finite."""
    return value if value is not None and math.isfinite(value) else None


def elapsed_share(progress: float, since: float) -> float:
    """Return the share of the run since an earlier progress, within [0, MAX_ELAPSED].

    Progress decreases where a run is resumed with more steps.
    """
    return min(max(progress - since, 0.0), MAX_ELAPSED)


def moving_average(level: float | None, value: float, span: float, half_life: float) -> float:
    """Update an exponential moving average, `level`, with a value that is `span` newer; `half_life` in the same unit.

    The first value initialises the average (`level` is None).
    """
    return value if level is None else level + (1 - 0.5 ** (span / half_life)) * (value - level)


def deadband_error(value: float, target: float, deadband: float) -> float:
    """Return how far a value lies outside target ± deadband: 0 within, negative below."""
    return math.copysign(max(0.0, abs(value - target) - deadband), value - target)


def format_comparison(name: str, value: float, target: float, deadband: float) -> str:
    """Return a signal compared with its target range, such as "rank_train_fake 0.93 > 0.80"."""
    low, high = target - deadband, target + deadband
    if value > high:
        return f"{name} {value:.2f} > {high:.2f}"
    if value < low:
        return f"{name} {value:.2f} < {low:.2f}"
    return f"{name} {value:.2f}, within {low:.2f} to {high:.2f}"


def actuator_base(knobs: Knobs) -> dict[str, float]:
    """Return the user's values of the knobs that :func:`learning_rates` and :func:`regularization` change."""
    names = ("lr_g", "lr_d", "augment_p", "r1_gamma")
    return {name: value for name, value in knobs.values().items() if name in names}


def learning_rates(base: Mapping[str, float], octaves: float) -> dict[str, float]:
    """Return learning rates with lr_d / lr_g lowered by `octaves`; their geometric mean is unchanged."""
    half = 2.0 ** (octaves / 2)
    return {"lr_g": base["lr_g"] * half, "lr_d": base["lr_d"] / half}


def regularization(base: Mapping[str, float], observation: Observation, strength: float) -> dict[str, float]:
    """Return the regularisation of the discriminator at a strength from 0 (the base) to 1: one knob, or none.

    Augmentation where it acts, otherwise R1 if the user has enabled it (Karras 2020, section 3, prefers augmentation).
    Never both: two knobs driven by one signal would correct it twice.
    """
    if observation.acts("augment_p"):
        start = base["augment_p"]
        return {"augment_p": start + strength * max(0.0, MAX_AUGMENT_P - start)}
    if observation.acts("r1_gamma") and base["r1_gamma"] > 0:
        return {"r1_gamma": base["r1_gamma"] * 2.0 ** (GAMMA_OCTAVES * strength)}
    return {}
