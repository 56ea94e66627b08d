"""Adaptive discriminator augmentation (Karras 2020): more augmentation while the discriminator overfits.

    p <- p + sign(r - target) · min((t - t_last) / share, step) · unit,  p in [least, most]   (Karras 2020, section 3.1)

p is the knob `augment_p`, in units of 1, or `diffusion_steps`, the length T of the diffusion of Diffusion-GAN, in units
of 1,000 (Wang 2022, section 3.3); r is a measure of overfitting, t the progress of the run from 0 to 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from equipoise.controllers._feedback import (
    MAX_AUGMENT_P,
    deadband_error,
    elapsed_share,
    finite_or_none,
    format_comparison,
)
from equipoise.core import validation
from equipoise.core.controller import Turn, request
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation
from equipoise.errors import SettingError

__all__ = ["ADA"]

AdaptedKnob = Literal["augment_p", "diffusion_steps"]
UNITS: Mapping[AdaptedKnob, float] = {"augment_p": 1.0, "diffusion_steps": 1000.0}
BOUNDS: Mapping[AdaptedKnob, float] = {"augment_p": MAX_AUGMENT_P, "diffusion_steps": 1000.0}
OverfittingSignal = Literal["rank_train_held_out", "sign_real"]
TARGETS: Mapping[OverfittingSignal, float] = {"rank_train_held_out": 0.2, "sign_real": 0.6}
"""0.6: Karras 2020, section 3.1, and Wang 2022, section 3.3. 0.2 is our choice: four standard errors of 256 logits
against 256."""


@dataclass(frozen=True)
class ADAState:
    """State of ADA. `progress`: progress of the run at the last reading of the signal."""

    progress: float


@dataclass(frozen=True)
class ADA:
    """Controller of `augment_p` or `diffusion_steps` by an overfitting signal (Karras 2020, section 3.1).

    Two differences from the paper make it suit short runs and little data. The time from p = 0 to p = 1 is a share of
    the run instead of the paper's 500 kimg of 25,000. Within a deadband around the target, p does not change. p is
    itself the integral and is bounded, so there is no integrator windup.

    `signal`: r. rank_train_held_out has the same meaning for every loss; sign_real is the paper's r_t, for losses whose
    logits have a zero. `target`: of the signal; default: 0.6 for sign_real, 0.2 for rank_train_held_out. `deadband`:
    half-width of the range around the target in which p does not change. `share`: share of the run in which p can rise
    from 0 to 1 unit. `step`: the largest change of p in one reading, in units, since short runs have few readings.
    `knob`: the knob p. `least`: lower bound of p. `most`: upper bound of p; default and maximum: 0.8 for augment_p,
    above which augmentations leak into the samples, 1,000 for diffusion_steps.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "sign": {"signal": "sign_real"},  # r_t
        # Wang 2022, section 3.3: r_d = E sign(D(x_t, t) - 0.5) of probabilities; T from 10 to 1,000 as in its code.
        "diffusion": {"signal": "sign_real", "knob": "diffusion_steps", "least": 10.0},
    }

    signal: OverfittingSignal = "rank_train_held_out"
    target: float | None = None
    deadband: float = 0.05
    share: float = 0.2
    step: float = 0.1
    knob: AdaptedKnob = "augment_p"
    least: float = 0.0
    most: float | None = None

    def __post_init__(self) -> None:
        validation.check_above(0, share=self.share, step=self.step)
        validation.check_at_least(0, deadband=self.deadband)
        validation.check_within(-1, 1, target=self.target)
        bound = BOUNDS[self.knob]
        if self.most is not None and not 0 <= self.most <= bound:
            why = ": more would leak" if self.knob == "augment_p" else ""
            raise SettingError(f"most = {self.most:g} is out of range; choose 0 to {bound:g}{why}")
        if not 0 <= self.least <= self.upper_bound:
            raise SettingError(f"least = {self.least:g} is out of range; choose 0 to {self.upper_bound:g}")

    @property
    def upper_bound(self) -> float:
        """The upper bound of p."""
        return BOUNDS[self.knob] if self.most is None else self.most

    def required_knobs(self) -> frozenset[str]:
        """Return the knob."""
        return frozenset({self.knob})

    def initial(self, knobs: Knobs) -> ADAState:
        """Return the state before the first reading."""
        return ADAState(progress=0.0)

    def update(self, state: ADAState, observation: Observation) -> Turn[ADAState]:
        """Move the knob by one step, if the signal is available."""
        value = finite_or_none(getattr(observation.signals, self.signal))
        if value is None:
            return Turn(observation.knobs, state)
        target = TARGETS[self.signal] if self.target is None else self.target
        error = deadband_error(value, target, self.deadband)
        move = min(elapsed_share(observation.progress, state.progress) / self.share, self.step) * UNITS[self.knob]
        p = observation.knobs.values()[self.knob] + (move if error > 0 else -move if error < 0 else 0.0)
        knobs = request(observation.knobs, {self.knob: min(max(p, self.least), self.upper_bound)})
        reason = format_comparison(self.signal, value, target, self.deadband)
        return Turn(knobs, ADAState(observation.progress), {self.knob: reason})
