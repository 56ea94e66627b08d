"""Open-loop control by epochs: the more often the discriminator has seen each sample, the more augmentation.

passes(t) = epochs · t · discriminator updates per step                        t: progress of the run
s(t) = clip(log(passes(t) / first) / log(last / first), 0, 1)
augment_p = max(base, most · s(t + ahead (1 - t)))
lr_g, lr_d = base · final^s(t), or base · (final + (1 - final) (1 + cos(π t)) / 2)
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from equipoise.controllers._feedback import MAX_AUGMENT_P, actuator_base, log_share
from equipoise.core import validation
from equipoise.core.controller import RunFacts, Turn, request
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation
from equipoise.errors import SettingError

__all__ = ["Epochs"]

RATES = ("lr_g", "lr_d")


@dataclass(frozen=True)
class EpochsState:
    """State of `epochs`. `base`: the user's values. `steps`: discriminator updates per step."""

    base: Mapping[str, float]
    steps: float


@dataclass(frozen=True)
class Epochs:
    """Controller that sets augment_p, and optionally the learning rates, by the passes over the training samples.

    A discriminator overfits by repetition: the same schedule serves 64 samples and a million, since with few passes it
    does nothing. It observes no signal. In a custom loop without `epochs` only a cosine of the learning rates acts.

    Fails where overfitting depends on more than repetition, such as on the size of the discriminator or on a penalty,
    and where augmentation harms at any strength.

    `most`: augment_p after `last` passes; 0 switches it off; at most 0.8, above which augmentations leak. `first`,
    `last`: passes at which control begins, and reaches its bound. `ahead`: 0: augment_p follows the passes so far; 1:
    those of the whole run, from its start. `final`: factor of both learning rates at the end; 1: no decay. `decay`: of
    the learning rates: along a cosine over the run, or with the passes. `epochs`: how often the run sees each training
    sample; default: that of the run.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "cosine": {"final": 0.1},
    }

    most: float = 0.5
    first: float = 30.0
    last: float = 300.0
    ahead: float = 0.0
    final: float = 1.0
    decay: Literal["cosine", "passes"] = "cosine"
    epochs: float | None = None

    def __post_init__(self) -> None:
        validation.check_above(0, first=self.first, final=self.final, epochs=self.epochs)
        validation.check_within(0, MAX_AUGMENT_P, most=self.most)
        validation.check_within(0, 1, ahead=self.ahead, final=self.final)
        if not self.first < self.last:
            raise SettingError(f"first = {self.first:g}, last = {self.last:g}: first must be below last")

    def required_knobs(self) -> frozenset[str]:
        """Return both learning rates if they decay; augment_p is changed where it acts."""
        return frozenset(RATES if self.final < 1 else ())

    def scheduled_knobs(self) -> frozenset[str]:
        """Return all knobs that are changed: they depend on progress alone."""
        return self.required_knobs() | frozenset({"augment_p"} if self.most else ())

    def resolve(self, facts: RunFacts) -> "Epochs":
        """Return the controller with the epochs of the run."""
        return dataclasses.replace(self, epochs=facts.epochs if self.epochs is None else self.epochs)

    def initial(self, knobs: Knobs) -> EpochsState:
        """Return the state with the user's values."""
        return EpochsState(actuator_base(knobs), knobs.discriminator_steps)

    def update(self, state: EpochsState, observation: Observation) -> Turn[EpochsState]:
        """Set every knob for the current progress."""
        progress, base = observation.progress, state.base
        values: dict[str, float] = {}
        reasons: dict[str, str] = {}
        if self.most and self.epochs is not None and observation.acts("augment_p"):
            passes = self._passes(progress + self.ahead * (1 - progress), state.steps)
            values["augment_p"] = max(base["augment_p"], self.most * log_share(passes, self.first, self.last))
            reasons["augment_p"] = f"{passes:.1f} passes over the training samples"
        if self.final < 1 and self.decay == "cosine":
            factor = self.final + (1 - self.final) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
            values |= {name: base[name] * factor for name in RATES}
            reasons |= dict.fromkeys(RATES, f"cosine at {progress:.0%} of the run: factor {factor:.3g}")
        elif self.final < 1 and self.epochs is not None:
            passes = self._passes(progress, state.steps)
            factor = self.final ** log_share(passes, self.first, self.last)
            values |= {name: base[name] * factor for name in RATES}
            reasons |= dict.fromkeys(RATES, f"{passes:.1f} passes over the training samples: factor {factor:.3g}")
        return Turn(request(observation.knobs, values), state, reasons)

    def _passes(self, progress: float, steps: float) -> float:
        return (self.epochs or 0.0) * progress * steps
