"""Rows and arms of the benchmark of the model family."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SEEDS = (0, 1, 2)
RELATIVISTIC = {"loss": "relativistic"}
BOTH_PENALTIES = {"r1_gamma": 1.0, "r2_gamma": 1.0}
CHEAP_KNOBS = frozenset({"lr_g", "lr_d", "beta1", "beta2", "ema_half_life"})
"""Knobs whose value does not change the cost of a step."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One setting of one model on one data set.

    `seconds`: CPU seconds of training. `options`, `knobs`: what differs from the model's defaults. `measures`: names of
    functions in _family_measures.py. `seeds`: number of seeds.
    """

    row: str
    name: str
    model: str
    seconds: float
    measures: tuple[str, ...]
    data: str = "openmoji"
    data_options: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    knobs: Mapping[str, float] = field(default_factory=dict)
    batch_size: int = 16
    seeds: int = len(SEEDS)

    @property
    def key(self) -> str:
        """Return the name of the arm in results."""
        return f"{self.row}/{self.name}"

    @property
    def picture(self) -> str:
        """Return the name of the file of its samples."""
        words = f"{self.row} {self.name}".replace("=", " ").replace(",", " ").replace(".", " ").replace("'", "").split()
        return "_".join(words) + ".png"

    @property
    def cost_key(self) -> str:
        """Return what the cost of a step depends on, the same for arms with equally expensive steps."""
        size = self.data_options.get("image_size")
        knobs = {name: value for name, value in self.knobs.items() if name not in CHEAP_KNOBS}
        return json.dumps([self.model, self.data, size, self.batch_size, dict(self.options), knobs])


def emoji_arms() -> list[Arm]:
    """Return models on 1,952 emoji of 32 pixels, 150 s each."""

    def arm(name: str, *measures: str, model: str | None = None, **rest: Any) -> Arm:
        measures = ("quality", *measures)
        return Arm(row="emoji", name=name, model=model or name, seconds=150, measures=measures, **rest)

    return [
        arm("dcgan"),
        arm("progan"),
        arm("stylegan2", "psi", "path_length"),
        arm("stylegan", "psi"),
        arm("r3gan"),
        arm("dcgan, R3GAN's loss", model="dcgan", options=RELATIVISTIC, knobs=BOTH_PENALTIES),
        arm("sagan", "attention"),
        arm("sngan", options={"conditional": True}),
        arm("biggan", "truncation", "orthogonality"),
        arm("stylegan3", "equivariance"),
        arm("stylegan2, path length", "path_length", model="stylegan2", knobs={"path_length_weight": 2.0}),
        arm("biggan, beta 0", "truncation", "orthogonality", model="biggan", knobs={"orthogonal_weight": 0.0}),
    ]


def few_arms() -> list[Arm]:
    """Return models on 100 emoji of 32 pixels, 100 s each."""

    def arm(name: str, model: str, **rest: Any) -> Arm:
        few = {"training_images": 100}
        measures = ("quality", "copies")
        return Arm(row="100 emoji", name=name, model=model, seconds=100, data_options=few, measures=measures, **rest)

    return [
        arm("fastgan", "fastgan"),
        arm("dcgan", "dcgan"),
        arm("fastgan, no decoder", "fastgan", knobs={"reconstruction_weight": 0.0}),
        arm("fastgan, no excitation", "fastgan", options={"excitation": 0}),
    ]


def digit_arms() -> list[Arm]:
    """Return models with labels on 4,000 digits, 75 s each."""

    def arm(name: str, *measures: str, model: str | None = None, **rest: Any) -> Arm:
        measures = ("digits", *measures)
        rest = {"seconds": 75, "data": "digits", "batch_size": 64, **rest}
        return Arm(row="digits", name=name, model=model or name, measures=measures, **rest)

    return [
        arm("projection", model="dcgan"),
        arm("acgan"),
        arm("cgan"),
        arm("stylegan2", "swap"),
    ]


def large_arms() -> list[Arm]:
    """Return models on emoji of 64 pixels, 150 s each, not measured by features that one of them was trained with."""
    rest: dict[str, Any] = {"data_options": {"image_size": 64}, "measures": ("mobilenet",), "seconds": 150}
    return [
        Arm(row="emoji 64", name="projected", model="projected", **rest),
        Arm(row="emoji 64", name="dcgan", model="dcgan", **rest),
    ]


def loss_arms() -> list[Arm]:
    """Return R3GAN's loss on modes that can be counted."""
    without = {"r2_gamma": 0.0}
    plane: dict[str, Any] = {"model": "mlp", "measures": ("modes",), "batch_size": 256}
    return [
        Arm(row="modes", name="grid, R1 + R2", data="grid", seconds=30, **plane),
        *(
            Arm(row="modes", name=name, data="ring", seconds=15, knobs=knobs, seeds=5, **plane)
            for name, knobs in (("ring, R1 + R2", {}), ("ring, R1", without))
        ),
        Arm(
            row="modes",
            name="stacked digits",
            model="dcgan",
            data="stacked_digits",
            options={**RELATIVISTIC, "conditional": False},
            knobs=BOTH_PENALTIES,
            seconds=75,
            measures=("stacked",),
        ),
    ]


FIRST = (
    *("emoji/dcgan", "emoji/progan", "emoji/stylegan2", "100 emoji/fastgan", "emoji/stylegan", "emoji/r3gan"),
    *("digits/projection", "digits/acgan", "digits/cgan", "emoji/sagan", "emoji/biggan", "emoji 64/projected"),
    *("emoji/stylegan3", "emoji/sngan", "100 emoji/dcgan", "emoji 64/dcgan"),
)
"""Arms that come first in the queue for each seed, so that an early end leaves no model without a run."""


def queue(arms: Sequence[Arm], seeds: int) -> list[tuple[Arm, int]]:
    """Return all runs: the first seed of every arm, those in FIRST before the others, then the second seed."""
    ranks = {key: rank for rank, key in enumerate(FIRST)}
    runs = [(arm, seed) for arm in arms for seed in range(min(arm.seeds, seeds))]
    return sorted(runs, key=lambda run: (run[1], ranks.get(run[0].key, len(ranks))))


def all_arms() -> list[Arm]:
    """Return all arms, in the order of the page."""
    return [*emoji_arms(), *few_arms(), *large_arms(), *digit_arms(), *loss_arms()]
