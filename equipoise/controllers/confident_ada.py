"""Augmentation by the confidence interval of the held-out rank, within a budget: no more than few samples can justify.

p <- p + Δt most / share     if r - confidence · se > target, and time is left      se: standard error of the rank
p <- p - Δt most / share     if r + confidence · se < target
most = limit · clip(log(epochs / few) / log(many / few), 0, 1)                   p: augment_p, in [0, most]
"""

import dataclasses
from dataclasses import dataclass

from equipoise.controllers._feedback import (
    MAX_AUGMENT_P,
    elapsed_share,
    finite_or_none,
    log_share,
    moving_average,
    rank_standard_error,
)
from equipoise.core import validation
from equipoise.core.controller import RunFacts, Turn, request
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation
from equipoise.errors import SettingError

__all__ = ["ConfidentADA"]


@dataclass(frozen=True)
class ConfidentADAState:
    """State of `confident_ada`. `base`: the user's augment_p. `steps`: discriminator updates per step.

    `level`: smoothed rank, None before the first reading. `p`: the requested value. `progress`: progress of the run at
    the last reading.
    """

    base: float
    steps: float
    level: float | None
    p: float
    progress: float


@dataclass(frozen=True)
class ConfidentADA:
    """Adaptive augmentation (Karras 2020, section 3) for few held-out samples and short runs.

    Three differences from `ada`. The rank must differ from the target by more than its sampling error, which averaging
    over readings does not reduce, because the held-out samples are the same. p does not rise in the last `horizon` of
    the run, because augmentation costs quality before it pays. And its bound depends on how often the run sees each
    sample: with few epochs there is nothing to overfit. p never falls below the user's value.

    Fails with 16 held-out samples and weak overfitting, which lies within the interval, and where augmentation harms at
    any strength, such as where transformed samples are unlike any real.

    `target`: of rank_train_held_out. `confidence`: half-width of the interval, in standard errors. `share`: share of
    the run in which p can rise from 0 to its bound. `horizon`: last share of the run, in which p does not rise.
    `limit`: bound of p with many epochs; at most 0.8, above which augmentations leak into the samples. `few`: epochs of
    the run at which the bound begins to rise from 0. `many`: epochs at which it reaches `limit`. `half_life`: of the
    moving average of the rank, a share of the run. `warm_up`: share of the run before the first change. `epochs`: how
    often the run sees each training sample; default: that of the run; unknown in a custom loop, where the bound is
    `limit`. `held_out_samples`: number of different held-out samples; default: that of the run, or 64 in a custom loop.
    `training_samples`: the same of training samples; default: that of the run, or 256.
    """

    target: float = 0.15
    confidence: float = 1.0
    share: float = 0.3
    horizon: float = 0.2
    limit: float = 0.6
    few: float = 50.0
    many: float = 200.0
    half_life: float = 0.025
    warm_up: float = 0.05
    epochs: float | None = None
    held_out_samples: int | None = None
    training_samples: int | None = None

    def __post_init__(self) -> None:
        validation.check_above(0, share=self.share, half_life=self.half_life, few=self.few, epochs=self.epochs)
        validation.check_at_least(0, confidence=self.confidence)
        validation.check_within(-1, 1, target=self.target)
        validation.check_within(0, 1, horizon=self.horizon, warm_up=self.warm_up)
        validation.check_within(0, MAX_AUGMENT_P, limit=self.limit)
        validation.check_at_least(1, held_out_samples=self.held_out_samples, training_samples=self.training_samples)
        if not self.few < self.many:
            raise SettingError(f"few = {self.few:g}, many = {self.many:g}: few must be below many")

    def required_knobs(self) -> frozenset[str]:
        """Return no knob: augment_p is changed where it acts."""
        return frozenset()

    def resolve(self, facts: RunFacts) -> "ConfidentADA":
        """Return the controller with the epochs and the numbers of samples of the run."""
        held_out = facts.held_out_samples if self.held_out_samples is None else self.held_out_samples
        training = facts.training_samples if self.training_samples is None else self.training_samples
        epochs = facts.epochs if self.epochs is None else self.epochs
        return dataclasses.replace(
            self, epochs=epochs, held_out_samples=held_out or None, training_samples=training or None
        )

    def initial(self, knobs: Knobs) -> ConfidentADAState:
        """Return the state before the first reading, with the user's augment_p."""
        base = knobs.values().get("augment_p", 0.0)
        return ConfidentADAState(base, knobs.discriminator_steps, level=None, p=base, progress=0.0)

    def update(self, state: ConfidentADAState, observation: Observation) -> Turn[ConfidentADAState]:
        """Move augment_p, if the interval of the rank does not contain the target."""
        rank = finite_or_none(observation.signals.rank_train_held_out)
        if rank is None or not observation.acts("augment_p"):
            return Turn(observation.knobs, state)
        span = elapsed_share(observation.progress, state.progress)
        level = moving_average(state.level, rank, span, self.half_life)
        width = self.confidence * rank_standard_error(self.held_out_samples, self.training_samples)
        most, p = max(self.bound(state.steps), state.base), state.p
        move = span * self.limit / self.share if observation.progress >= self.warm_up else 0.0
        if level - width > self.target and observation.progress <= 1 - self.horizon:
            p = max(min(p + move, most), p)
        elif level + width < self.target:
            p = max(p - move, state.base)
        state = dataclasses.replace(state, level=level, p=p, progress=observation.progress)
        reason = f"rank_train_held_out {level:.2f} ± {width:.2f}, target {self.target:.2f}; p at most {most:.2f}"
        return Turn(request(observation.knobs, {"augment_p": p}), state, {"augment_p": reason})

    def bound(self, discriminator_steps: float = 1.0) -> float:
        """Return the largest p for the epochs of the run."""
        if self.epochs is None:
            return self.limit
        return self.limit * log_share(self.epochs * discriminator_steps, self.few, self.many)
