"""Lower learning rates and more augmentation when the metric has become worse and the discriminator overfits.

d <- min(d + 1, most) at each evaluation with level > best + margin and r - confidence · se > overfit
lr_g, lr_d = base · factor^d,  augment_p = base + step · d                       r: rank_train_held_out, smoothed
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from equipoise.controllers._evaluations import MetricLevel, next_history, with_age
from equipoise.controllers._feedback import (
    MAX_AUGMENT_P,
    actuator_base,
    elapsed_share,
    finite_or_none,
    moving_average,
    rank_standard_error,
)
from equipoise.core import validation
from equipoise.core.controller import RunFacts, Turn, request
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation

__all__ = ["Decline"]


@dataclass(frozen=True)
class DeclineState:
    """State of `decline`. `base`: the user's values. `history`: of the metric.

    `rank`: smoothed rank_train_held_out, None before the first reading. `progress`: of the run at the last reading of
    the rank. `degree`: d. `reason`: of the last change.
    """

    base: Mapping[str, float]
    history: MetricLevel
    rank: float | None
    progress: float
    degree: int
    reason: str


@dataclass(frozen=True)
class Decline:
    """Controller that responds to overfitting only if it harms: the metric is worse than its best, beyond the margin.

    A discriminator that overfits often still improves the generator; a change is then premature, because augmentation
    costs quality before it pays. At each evaluation that is worse and that rank_train_held_out confirms, both learning
    rates are multiplied by `factor` and augment_p rises by `step`. Nothing is undone within the run. The margin is
    `confidence` · noise + `tolerance` · |best|, as for `plateau`.

    Fails where harm is visible only at the end, where evaluations are few, and where a few held-out samples, which do
    not represent the data, make a better generator look worse while the discriminator overfits. Without a metric or
    held-out samples nothing is changed.

    `factor`: of both learning rates, for one degree. `step`: of augment_p, for one degree. `most`: largest degree.
    `overfit`: rank_train_held_out must exceed this by more than its error, else nothing changes; -1: no such test.
    `limit`: bound of augment_p, up to 0.8. `confidence`: of the margin and of the rank, in standard errors.
    `tolerance`: of the margin. `smoothing`: weight of the older values in the level of the metric. `half_life`: of the
    moving average of the rank, a share of the run. `held_out_samples`: number of different held-out samples; default:
    that of the run, or 64 in a custom loop. `training_samples`: the same of training samples; default: that of the run,
    or 256.
    """

    factor: float = 0.5
    step: float = 0.15
    most: int = 4
    overfit: float = 0.1
    limit: float = 0.6
    confidence: float = 0.5
    tolerance: float = 0.02
    smoothing: float = 0.0
    half_life: float = 0.025
    held_out_samples: int | None = None
    training_samples: int | None = None

    def __post_init__(self) -> None:
        validation.check_above(0, factor=self.factor, half_life=self.half_life)
        validation.check_at_least(1, held_out_samples=self.held_out_samples, training_samples=self.training_samples)
        validation.check_within(0, 1, factor=self.factor)
        validation.check_within(1, 20, most=self.most)
        validation.check_within(0, MAX_AUGMENT_P, step=self.step, limit=self.limit)
        validation.check_within(-1, 1, overfit=self.overfit)
        validation.check_at_least(0, confidence=self.confidence, tolerance=self.tolerance)
        validation.check_within(0, 0.95, smoothing=self.smoothing)

    def required_knobs(self) -> frozenset[str]:
        """Return both learning rates; augment_p is changed where it acts."""
        return frozenset({"lr_g", "lr_d"})

    def resolve(self, facts: RunFacts) -> "Decline":
        """Return the controller with the numbers of samples of the run."""
        held_out = facts.held_out_samples if self.held_out_samples is None else self.held_out_samples
        training = facts.training_samples if self.training_samples is None else self.training_samples
        return dataclasses.replace(self, held_out_samples=held_out or None, training_samples=training or None)

    def initial(self, knobs: Knobs) -> DeclineState:
        """Return the state before the first evaluation, with the user's values."""
        return DeclineState(actuator_base(knobs), MetricLevel(), rank=None, progress=0.0, degree=0, reason="")

    def update(self, state: DeclineState, observation: Observation) -> Turn[DeclineState]:
        """Decide after a new evaluation of the metric; keep the last decision otherwise."""
        if (rank := finite_or_none(observation.signals.rank_train_held_out)) is not None:
            span = elapsed_share(observation.progress, state.progress)
            level = moving_average(state.rank, rank, span, self.half_life)
            state = dataclasses.replace(state, rank=level, progress=observation.progress)
        history = next_history(state.history, observation.signals, 1 - self.smoothing)
        if history is None:
            state = dataclasses.replace(state, history=with_age(state.history, observation.signals))
        else:
            state = self._advance(state, history)
        values = {name: state.base[name] * self.factor**state.degree for name in ("lr_g", "lr_d")}
        if observation.acts("augment_p"):
            base = state.base["augment_p"]
            values["augment_p"] = max(base, min(base + self.step * state.degree, self.limit))
        reasons = dict.fromkeys(values, state.reason or "no harm")
        return Turn(request(observation.knobs, values), state, reasons)

    def _advance(self, state: DeclineState, history: MetricLevel) -> DeclineState:
        """Return the state after an evaluation: one degree further if it is worse and the rank confirms."""
        level, best = history.level or 0.0, history.best or 0.0
        margin = history.margin(self.confidence, self.tolerance)
        is_measurable = len(history.values) == 3 or not self.confidence  # the noise needs three evaluations
        if is_measurable and level > best + margin and state.degree < self.most and self._overfits(state.rank):
            rank = "" if state.rank is None else f", rank_train_held_out {state.rank:.2f}"
            reason = f"metric {level:.4g} is worse than its best, {best:.4g} ± {margin:.2g}{rank}"
            state = dataclasses.replace(state, degree=state.degree + 1, reason=reason)
        return dataclasses.replace(state, history=dataclasses.replace(history, best=min(level, best)))

    def _overfits(self, rank: float | None) -> bool:
        """Return whether the rank confirms overfitting, or no confirmation is needed."""
        if self.overfit <= -1:
            return True
        error = self.confidence * rank_standard_error(self.held_out_samples, self.training_samples)
        return rank is not None and rank - error > self.overfit
