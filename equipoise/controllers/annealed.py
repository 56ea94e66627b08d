"""Open loop: a schedule per knob, of the run's progress alone."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from equipoise.core.knobs import Knobs
from equipoise.core.observations import ControllerState, Observation, Turn
from equipoise.core.schedules import parse

__all__ = ["Annealed"]

RATES = ("lr_g", "lr_d")
PENALTIES = ("r1_gamma", "r2_gamma")


def _falling(shape: str) -> dict[str, object]:
    """Learning rates to a fiftieth, penalties to a tenth, noise to a hundredth, all along one shape.

    A hundredth, since an exponential cannot reach 0; the three shapes begin and end at the same values.
    """
    ends = dict.fromkeys(RATES, 0.02) | dict.fromkeys(PENALTIES, 0.1) | {"instance_noise": 0.01}
    factors = {knob: f"{shape}(1, {end:g})" for knob, end in ends.items()}
    return {"factors": factors, "optional": (*PENALTIES, "instance_noise")}


@dataclass(frozen=True)
class Annealed:
    """Sets each knob that has a schedule to schedule(progress).

    Without options both learning rates fall to a fiftieth along a cosine: the part of the R3GAN recipe (Huang 2024,
    appendix E) that suits every GAN, with the end that drew the best digits.

    `schedules`: knob -> schedule of its value, as :mod:`equipoise.core.schedules` writes it. `factors`: knob -> schedule of
    a factor on the value that the user set. `optional`: knobs whose schedules are left out where they do not act; that
    another does not act is an error.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "linear": _falling("linear"),
        "exponential": _falling("exponential"),
        "cosine": _falling("cosine"),
        # R3GAN's five (Huang 2024, appendix E and the CIFAR-10 preset of its code), over the run instead of 20M images:
        # lr 2e-4 to 5e-5, gamma 0.05 to 0.005, beta2 0.9 to 0.99, p 0 to 0.55. Its average's half-life goes from 0 to
        # 5M images; ours to what the user set, for a controller does not know how many images the run has.
        "r3gan": {
            "factors": {
                **dict.fromkeys(RATES, "cosine(1, 0.25)"),
                **dict.fromkeys(PENALTIES, "cosine(1, 0.1)"),
                "ema_half_life": "cosine(0, 1)",
            },
            "schedules": {"beta2": "cosine(0.9, 0.99)", "augment_p": "cosine(0, 0.55)"},
            "optional": (*PENALTIES, "ema_half_life", "beta2", "augment_p"),
        },
        # Zhu 2017, section 4: half of the run at the rate that is set, then evenly to 0 (the lowest a knob goes).
        "cyclegan": {"factors": dict.fromkeys(RATES, "join(constant(1), 0.5, linear(1, 0))")},
    }

    schedules: Mapping[str, str | float] = field(default_factory=dict)
    factors: Mapping[str, str | float] = field(default_factory=dict)
    optional: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.schedules and not self.factors:
            object.__setattr__(self, "factors", dict.fromkeys(RATES, "cosine(1, 0.02)"))
        for text in (*self.schedules.values(), *self.factors.values()):
            parse(text)

    def turns(self) -> frozenset[str]:
        """The knobs that have a schedule, but for the optional ones."""
        return (frozenset(self.schedules) | frozenset(self.factors)) - frozenset(self.optional)

    def initial(self, knobs: Knobs) -> ControllerState:
        """The values that the user set, which the factors multiply."""
        return {name: value for name, value in knobs.values().items() if name in self.factors}

    def update(self, state: ControllerState, observation: Observation[Any]) -> Turn:
        """Each schedule at this progress."""
        progress = observation.progress
        values = {name: state.get(name, 0) * parse(text)(progress) for name, text in self.factors.items()}
        values |= {name: parse(text)(progress) for name, text in self.schedules.items()}
        texts = {**self.factors, **self.schedules}
        idle = sorted(name for name in self.optional if name in texts and not observation.acts(name))
        left = f"; left alone, for it does not act here: {', '.join(idle)}" if idle else ""
        why = {name: f"{text} at {progress:.0%} of the run{left}" for name, text in texts.items() if name not in idle}
        turned = {name: value for name, value in values.items() if name not in idle}
        return Turn(dataclasses.replace(observation.knobs, **turned), state, why)
