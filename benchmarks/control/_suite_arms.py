"""Arms of the suite, their search spaces, and the settings that tuning tries.

Every arm starts from the same sequence of base settings (both learning rates, their ratio, penalty, augmentation), so
that no arm is lucky in its draw; its own options are drawn from a generator seeded by its name.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

CONSTANTS = 24
SEED = 16

Space = Mapping[str, Any]
"""Option -> list of values, or (low, high, "log" | "linear")."""
Settings = dict[str, Any]


@dataclass(frozen=True)
class SuiteArm:
    """An arm. `settings`: what is fixed. `search`: options of its controller or method that are tuned.

    `augments`: whether the base has augmentation; False for arms that set it themselves, which start from 0.
    """

    settings: Settings
    search: Space = field(default_factory=dict)
    augments: bool = True


ARMS: dict[str, SuiteArm] = {
    "constant": SuiteArm({"controller": "fixed"}),
    "annealed": SuiteArm(
        {"controller": "annealed"},
        {"shape": ["cosine", "linear", "exponential", "r3gan"]},
    ),
    "ada": SuiteArm(
        {"controller": "ada"},
        {"target": (0.05, 0.5, "linear"), "share": (0.1, 1.0, "log"), "most": [0.3, 0.5, 0.8]},
        augments=False,
    ),
    "rank": SuiteArm(
        {"controller": "rank"},
        {"balance": [0.3, 0.5, 0.65], "overfit": (0.05, 0.5, "linear"), "span": (0.1, 1.0, "log")},
        augments=False,
    ),
    "gap_aware": SuiteArm({"controller": "gap_aware"}, {"band": (0.05, 0.5, "log"), "slowest": [0.1, 0.25, 0.5]}),
    "balance": SuiteArm({"controller": "balance"}, {"high": (0.7, 0.95, "linear"), "most": [2.0, 4.0, 8.0]}),
    "chain": SuiteArm(
        {"controller": "chain"},
        {"of": [["annealed", "rank"], ["annealed", "ada"], ["annealed", "ada", "gap_aware"], ["annealed", "balance"]]},
        augments=False,
    ),
    "repair": SuiteArm({"controller": "fixed", "repair": True}),
}


def constants(count: int = CONSTANTS) -> list[Settings]:
    """Return constant settings: the published one, then random ones; both rates, their ratio, penalty, augmentation.

    Every second one has no augmentation, since the best constant often has none.
    """
    return [{"controller": "fixed", **base_settings(number)} for number in range(count)]


def base_settings(number: int, augments: bool = True) -> Settings:
    """Return base setting `number` as factors of the task's values and as knobs; number 0 changes nothing."""
    rate, ratio, penalty, p = _draw(number)
    factors = {
        "lr_g": 2 ** (rate - ratio / 2),
        "lr_d": 2 ** (rate + ratio / 2),
        "r1_gamma": 10**penalty,
        "gp_weight": 10**penalty,
    }
    return {
        "factors": {name: float(f"{value:.4g}") for name, value in factors.items()},
        "knobs": {"augment_p": round(float(p), 3) if augments else 0.0},
    }


def _draw(number: int) -> tuple[float, float, float, float]:
    """Return octaves of both rates, octaves of lr_d / lr_g, decades of the penalty, and augment_p."""
    if number == 0:
        return 0.0, 0.0, 0.0, 0.0
    rows = np.random.default_rng(SEED).random((number, 4))
    rate, ratio, penalty, p = rows[-1]
    return 3 * rate - 1.5, 3 * ratio - 1.5, 2 * penalty - 1, 0.7 * p * (number % 2)


def candidate(name: str, number: int) -> Settings:
    """Return setting `number` of an arm; number 0 is the arm as it is shipped, on the published base."""
    arm = ARMS[name]
    options = {} if number == 0 else _draw_options(name, number)
    settings = {**arm.settings, **base_settings(number, arm.augments)}
    if "method" in settings:
        return {**settings, **options}
    return apply_shape({**settings, "options": {**settings.get("options", {}), **options}})


def apply_shape(settings: Settings) -> Settings:
    """Replace the option `shape` of `annealed` by its preset."""
    options = dict(settings["options"])
    shape = options.pop("shape", None)
    name = f"{settings['controller']}:{shape}" if shape else settings["controller"]
    return {**settings, "controller": name, "options": options}


def _draw_options(name: str, number: int) -> dict[str, Any]:
    seed = int.from_bytes(hashlib.blake2b(f"{name} {number}".encode(), digest_size=4).digest())
    generator = np.random.default_rng(seed)
    return {option: _sample(space, generator) for option, space in ARMS[name].search.items()}


def _sample(space: Any, generator: np.random.Generator) -> Any:
    if isinstance(space, list):
        return space[int(generator.integers(len(space)))]
    low, high, scale = space
    value = np.exp(generator.uniform(np.log(low), np.log(high))) if scale == "log" else generator.uniform(low, high)
    return float(f"{value:.3g}")
