"""Open-loop control: a schedule per knob, a function of the progress of the run alone.

knob = base · schedule(progress)        for `factors`, base: the user's value
knob = schedule(progress)               for `schedules`
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from equipoise.core.controller import Turn, request
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation
from equipoise.core.schedules import parse

__all__ = ["Annealed"]

RATES = ("lr_g", "lr_d")
PENALTIES = ("r1_gamma", "r2_gamma")


def _decay(shape: str) -> dict[str, object]:
    """Return options that decay learning rates to 1/50, penalties to 1/10 and noise to 1/100, all along one shape.

    Noise decays to 1/100 because an exponential cannot reach 0; all three shapes start and end at the same values.
    """
    ends = dict.fromkeys(RATES, 0.02) | dict.fromkeys(PENALTIES, 0.1) | {"instance_noise": 0.01}
    factors = {knob: f"{shape}(1, {end:g})" for knob, end in ends.items()}
    return {"factors": factors, "optional": ("lr_d", *PENALTIES, "instance_noise")}


@dataclass(frozen=True)
class AnnealedState:
    """State of `annealed`. `base`: the user's values of the knobs that have a factor."""

    base: Mapping[str, float]


@dataclass(frozen=True)
class Annealed:
    """Controller that sets each knob to the value of its schedule at the current progress.

    Without options both learning rates decay to 1/50 along a cosine: the part of the R3GAN recipe (Huang 2024,
    appendix E) that suits every GAN, with the final value that gave the best digits. That of a discriminator is
    ignored in models that have none.

    `schedules`: knob -> schedule of its value, in the notation of :mod:`equipoise.core.schedules`. `factors`: knob ->
    schedule of a factor on the user's value. `optional`: knobs whose schedules are ignored where the knob does not act;
    every other knob must act, or an error is raised before the run starts.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "linear": _decay("linear"),
        "exponential": _decay("exponential"),
        "cosine": _decay("cosine"),
        # The five schedules of R3GAN (Huang 2024, appendix E and the CIFAR-10 preset of its code), over the run, not
        # 20M images: lr 2e-4 to 5e-5, gamma 0.05 to 0.005, beta2 0.9 to 0.99, p 0 to 0.55. There the half-life of the
        # average goes from 0 to 5M images; here to the user's value, because a controller does not know the number of
        # images.
        "r3gan": {
            "factors": {
                **dict.fromkeys(RATES, "cosine(1, 0.25)"),
                **dict.fromkeys(PENALTIES, "cosine(1, 0.1)"),
                "ema_half_life": "cosine(0, 1)",
            },
            "schedules": {"beta2": "cosine(0.9, 0.99)", "augment_p": "cosine(0, 0.55)"},
            "optional": (*PENALTIES, "ema_half_life", "beta2", "augment_p"),
        },
        # Zhu 2017, section 4: half of the run at the user's rate, then linearly to 0 (the knob's lowest value).
        "cyclegan": {"factors": dict.fromkeys(RATES, "join(constant(1), 0.5, linear(1, 0))")},
    }

    schedules: Mapping[str, str | float] = field(default_factory=dict)
    factors: Mapping[str, str | float] = field(default_factory=dict)
    optional: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.schedules and not self.factors:
            object.__setattr__(self, "factors", dict.fromkeys(RATES, "cosine(1, 0.02)"))
            object.__setattr__(self, "optional", tuple(dict.fromkeys(("lr_d", *self.optional))))
        for text in (*self.schedules.values(), *self.factors.values()):
            parse(text)

    def required_knobs(self) -> frozenset[str]:
        """Return the knobs that have a schedule, except the optional ones."""
        return (frozenset(self.schedules) | frozenset(self.factors)) - frozenset(self.optional)

    def scheduled_knobs(self) -> frozenset[str]:
        """Return all knobs with a schedule."""
        return frozenset(self.schedules) | frozenset(self.factors)

    def initial(self, knobs: Knobs) -> AnnealedState:
        """Return the state with the user's values, which the factors multiply."""
        return AnnealedState({name: value for name, value in knobs.values().items() if name in self.factors})

    def update(self, state: AnnealedState, observation: Observation) -> Turn[AnnealedState]:
        """Evaluate every schedule at the current progress."""
        progress = observation.progress
        values = {name: state.base.get(name, 0) * parse(text)(progress) for name, text in self.factors.items()}
        values |= {name: parse(text)(progress) for name, text in self.schedules.items()}
        texts = {**self.factors, **self.schedules}
        ignored = sorted(name for name in self.optional if name in texts and not observation.acts(name))
        note = f"; ignored, since they do not act here: {', '.join(ignored)}" if ignored else ""
        active = [name for name in texts if name not in ignored]
        reasons = {name: f"{texts[name]} at {progress:.0%} of the run{note}" for name in active}
        requested = {name: value for name, value in values.items() if name not in ignored}
        return Turn(request(observation.knobs, requested), state, reasons)
