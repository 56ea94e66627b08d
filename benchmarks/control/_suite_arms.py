"""Arms of the suite: the 24 constants of the gate."""

import numpy as np
from typing import Any

CONSTANTS = 24
SEED = 16


def constants(count: int = CONSTANTS) -> list[dict[str, Any]]:
    """Return constant settings: the published one, then random ones; both rates, their ratio, penalty, augmentation.

    Every second one has no augmentation, since the best constant often has none.
    """
    generator = np.random.default_rng(SEED)
    settings = [base_settings(0.0, 0.0, 0.0, 0.0)]
    for number in range(1, count):
        rate, ratio, penalty, p = generator.random(4)
        settings.append(base_settings(3 * rate - 1.5, 3 * ratio - 1.5, 2 * penalty - 1, 0.7 * p * (number % 2)))
    return settings


def base_settings(rate: float, ratio: float, penalty: float, augment_p: float) -> dict[str, Any]:
    """Return settings of knobs. `rate`: octaves of both rates. `ratio`: octaves of lr_d / lr_g. `penalty`: decades."""
    factors = {
        "lr_g": 2 ** (rate - ratio / 2),
        "lr_d": 2 ** (rate + ratio / 2),
        "r1_gamma": 10**penalty,
        "gp_weight": 10**penalty,
    }
    return {
        "controller": "fixed",
        "factors": {name: float(f"{value:.4g}") for name, value in factors.items()},
        "knobs": {"augment_p": round(augment_p, 3)},
    }
