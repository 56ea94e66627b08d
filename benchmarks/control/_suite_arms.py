"""Arms of the suite, their search spaces, and the settings that tuning tries.

Tuning has two stages of equal length. The first, shared by all arms, races wide base settings: both learning rates,
their ratio, penalty, augmentation. In the second, every arm races its own options, on the base setting that won and on
settings near it, which are the same for all arms; the constant refines the base setting itself.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from equipoise.comparison.suite.checks import ArmKind

CONSTANTS = 24
SEED = 16

Space = Mapping[str, Any]
"""Option -> list of values, or (low, high, "log" | "linear")."""
Settings = dict[str, Any]


@dataclass(frozen=True)
class SuiteArm:
    """An arm. `settings`: what is fixed. `search`: options of its controller or method that are tuned.

    `augments`: whether the base has augmentation; False for arms that set it themselves, which start from 0. `kind`:
    how it decides; see :class:`ArmInfo`. `training_runs`: runs that trained its weights.
    """

    settings: Settings
    search: Space = field(default_factory=dict)
    augments: bool = True
    kind: ArmKind = "feedback"
    training_runs: int = 0


SLOWER = {"factors": {"lr_g": 0.4, "lr_d": 0.4}}
FASTER = {"factors": {"lr_g": 2.5, "lr_d": 2.5}}
MORE_AUGMENTED = {"offsets": {"augment_p": 0.3}}

ARMS: dict[str, SuiteArm] = {
    "base": SuiteArm({"controller": "fixed"}, kind="constant"),
    "constant": SuiteArm({"controller": "fixed"}, kind="constant"),
    "annealed": SuiteArm(
        {"controller": "annealed"},
        {"shape": ["cosine", "linear", "exponential", "r3gan"]},
        kind="schedule",
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
    "confident_ada": SuiteArm(
        {"controller": "confident_ada"},
        {
            "target": (0.0, 0.3, "linear"),
            "confidence": [0.0, 0.5, 1.0],
            "share": (0.15, 1.0, "log"),
            "limit": (0.2, 0.8, "linear"),
        },
        augments=False,
    ),
    "constraint": SuiteArm(
        {"controller": "constraint"},
        {
            "target": (0.0, 0.4, "linear"),
            "octaves": (2.0, 8.0, "linear"),
            "span": (0.05, 0.4, "log"),
            "confidence": [0.0, 0.5, 1.0],
        },
    ),
    "epochs": SuiteArm(
        {"controller": "epochs"},
        {
            "most": (0.2, 0.7, "linear"),
            "first": (5.0, 80.0, "log"),
            "last": (150.0, 1000.0, "log"),
            "final": [1.0, 0.3, 0.1, 0.02],
        },
        augments=False,
        kind="schedule",
    ),
    "update_balance": SuiteArm(
        {"controller": "update_balance"},
        {
            "target": (-1.0, 1.5, "linear"),
            "hold": ["mean", "lr_g"],
            "octaves": [1.0, 2.0, 3.0],
            "span": (0.03, 0.3, "log"),
        },
    ),
    "update_size": SuiteArm(
        {"controller": "update_size"},
        {
            "target_g": (0.01, 0.08, "log"),
            "target_d": (0.01, 0.08, "log"),
            "final": [1.0, 0.3, 0.1],
            "span": [0.03, 0.1],
        },
    ),
    "plateau": SuiteArm(
        {"controller": "plateau"},
        {
            "factor": [0.25, 0.5, 0.7],
            "patience": (0.1, 0.4, "linear"),
            "confidence": [0.0, 0.5, 1.0],
            "augment": [0.0, 0.1, 0.2],
        },
    ),
    "decline": SuiteArm(
        {"controller": "decline"},
        {
            "factor": [0.25, 0.5, 0.7, 1.0],
            "step": [0.0, 0.1, 0.2],
            "overfit": (0.0, 0.3, "linear"),
            "confidence": [0.0, 0.5, 1.0],
        },
        augments=False,
    ),
    "chain_new": SuiteArm(
        {"controller": "chain"},
        {
            "of": [
                ["annealed", "confident_ada"],
                ["annealed", "epochs"],
                ["annealed", "decline"],
                ["annealed", "constraint"],
                ["annealed", "update_balance"],
                ["annealed", "update_balance", "epochs"],
            ]
        },
        augments=False,
    ),
    "learnable": SuiteArm({"controller": "learnable:suite"}, augments=False, kind="learned", training_runs=104),
    "ppo": SuiteArm({"controller": "ppo:suite"}, augments=False, kind="learned"),
    "halving": SuiteArm(
        {"method": "halving"},
        {
            "controller": ["fixed", "annealed"],
            "candidates": [[SLOWER, MORE_AUGMENTED], [SLOWER, FASTER], [SLOWER, FASTER, MORE_AUGMENTED]],
            "start": [0.15, 0.2, 0.3],
            "threshold": [0.0, 1.0, 2.0],
        },
        kind="search",
    ),
    "population": SuiteArm(
        {"method": "population", "members": 2},
        {
            "controller": ["fixed", "annealed"],
            "members": [2, 3, 4],
            "threshold": [0.0, 1.0, 2.0],
            "history": ["all", "result"],
        },
        kind="search",
    ),
    "probes": SuiteArm(
        {"method": "probes"},
        {
            "controller": ["fixed", "annealed"],
            "times": [[0.06, 0.18, 0.32, 0.5], [0.15, 0.3, 0.45, 0.6], [0.1, 0.3]],
            "changes": [[FASTER, SLOWER], [FASTER, FASTER, SLOWER, MORE_AUGMENTED], [SLOWER, MORE_AUGMENTED]],
            "threshold": [0.5, 1.0, 2.0],
        },
        kind="search",
    ),
    "repair": SuiteArm({"controller": "fixed", "repair": True}, kind="repair"),
}

UNTUNED: dict[str, SuiteArm] = {
    "learnable_published": SuiteArm({"controller": "learnable:suite"}, kind="learned", training_runs=104),
}
"""Arms that are not tuned: the policy on the published base, on which suite_policies.py trained it."""


def constants(count: int = CONSTANTS) -> list[Settings]:
    """Return constant settings: the published one, then random ones; both rates, their ratio, penalty, augmentation.

    Every second one has no augmentation, since the best constant often has none.
    """
    return [{"controller": "fixed", **base_settings(_draw(number))} for number in range(count)]


class BasePoint(NamedTuple):
    """A base setting. `rate`: octaves of both learning rates. `ratio`: octaves of lr_d / lr_g. `penalty`: decades."""

    rate: float = 0.0
    ratio: float = 0.0
    penalty: float = 0.0
    augment_p: float = 0.0


def base_settings(point: BasePoint) -> Settings:
    """Return a base setting as factors of the task's values, and as knobs."""
    factors = {
        "lr_g": 2 ** (point.rate - point.ratio / 2),
        "lr_d": 2 ** (point.rate + point.ratio / 2),
        "r1_gamma": 10**point.penalty,
        "gp_weight": 10**point.penalty,
    }
    return {
        "factors": {name: float(f"{value:.4g}") for name, value in factors.items()},
        "knobs": {"augment_p": round(float(point.augment_p), 3)},
    }


def _draw(number: int) -> BasePoint:
    """Return wide base setting `number`; number 0 is the published one."""
    if number == 0:
        return BasePoint()
    rate, ratio, penalty, p = np.random.default_rng(SEED).random((number, 4))[-1]
    return BasePoint(3 * rate - 1.5, 3 * ratio - 1.5, 2 * penalty - 1, 0.7 * p * (number % 2))


def _near(centre: BasePoint, number: int) -> BasePoint:
    """Return base setting `number` of the second stage: the centre for even numbers, near it for odd ones."""
    if number % 2 == 0:
        return centre
    rate, ratio, penalty, p = np.random.default_rng(SEED + 1).uniform(-1, 1, (number, 4))[-1]
    augment_p = min(max(centre.augment_p + 0.2 * p, 0.0), 0.8)
    return BasePoint(centre.rate + 0.5 * rate, centre.ratio + 0.5 * ratio, centre.penalty + 0.4 * penalty, augment_p)


def candidate(name: str, number: int, centre: int = 0) -> Settings:
    """Return setting `number` of an arm. `centre`: the wide base setting that the first stage selected.

    Number 0 has the options of the arm as it is shipped. The arm `base` is the first stage itself. The constant has no
    options, so all of its settings but the first are near the centre.
    """
    arm = ARMS[name]
    if name == "base":
        return {**arm.settings, **base_settings(_draw(number)), "options": {}}
    point = _near(_draw(centre), 2 * number - 1 if name == "constant" and number else number)
    if not arm.augments:
        point = point._replace(augment_p=0.0)
    options = {} if number == 0 else _draw_options(name, number)
    settings = {**arm.settings, **base_settings(point)}
    if "method" in settings:
        return apply_count({"controller": "fixed", **settings, **options})
    return apply_shape({**settings, "options": {**settings.get("options", {}), **options}})


def apply_count(settings: Settings) -> Settings:
    """Set the number of settings of `halving` by its list of candidates, if it has one."""
    return {**settings, "count": 1 + len(settings["candidates"])} if "candidates" in settings else settings


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
