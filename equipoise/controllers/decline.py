"""Acts on harm alone: if the metric has become worse and the discriminator overfits, lower rates and more augmentation.

d <- min(d + 1, most) at each evaluation with level > best + margin and rank_train_held_out > overfit
lr_g, lr_d = base · factor^d,  augment_p = base + step · d
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from equipoise.controllers._evaluations import MetricCourse, next_course, with_age
from equipoise.controllers._feedback import MAX_AUGMENT_P, actuator_base, finite_or_none
from equipoise.core import validation
from equipoise.core.controller import Turn, request
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation

__all__ = ["Decline"]


@dataclass(frozen=True)
class DeclineState:
    """State of `decline`. `base`: the user's values. `course`: of the metric. `rank`: last rank_train_held_out, None
    before the first. `degree`: d. `reason`: of the last change."""

    base: Mapping[str, float]
    course: MetricCourse
    rank: float | None
    degree: int
    reason: str


@dataclass(frozen=True)
class Decline:
    """Controller that responds to overfitting only if it harms: the metric is worse than its best, beyond the margin.

    A discriminator that overfits often still improves the generator; a change is then premature, because augmentation
    costs quality before it pays. At each evaluation that is worse and that rank_train_held_out confirms, both learning
    rates are multiplied by `factor` and augment_p rises by `step`. Nothing is undone within the run. The margin is
    `confidence` · noise + `tolerance` · |best|, as for `plateau`.

    Fails where harm is visible only in the end, where evaluations are few, and where the metric becomes worse for
    another reason while the discriminator overfits. Without a metric or held-out samples nothing is changed.

    `factor`: of both learning rates, for one degree. `step`: of augment_p, for one degree. `most`: largest degree.
    `overfit`: smallest rank_train_held_out that confirms; -1: no confirmation. `limit`: bound of augment_p, up to 0.8.
    `confidence`, `tolerance`: of the margin. `smoothing`: weight of the older values in the level of the metric.
    """

    factor: float = 0.5
    step: float = 0.15
    most: int = 4
    overfit: float = 0.2
    limit: float = 0.6
    confidence: float = 0.5
    tolerance: float = 0.02
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        validation.check_above(0, factor=self.factor)
        validation.check_within(0, 1, factor=self.factor)
        validation.check_within(1, 20, most=self.most)
        validation.check_within(0, MAX_AUGMENT_P, step=self.step, limit=self.limit)
        validation.check_within(-1, 1, overfit=self.overfit)
        validation.check_at_least(0, confidence=self.confidence, tolerance=self.tolerance)
        validation.check_within(0, 0.95, smoothing=self.smoothing)

    def required_knobs(self) -> frozenset[str]:
        """Return both learning rates; augment_p is changed where it acts."""
        return frozenset({"lr_g", "lr_d"})

    def initial(self, knobs: Knobs) -> DeclineState:
        """Return the state before the first evaluation, with the user's values."""
        return DeclineState(actuator_base(knobs), MetricCourse(), rank=None, degree=0, reason="")

    def update(self, state: DeclineState, observation: Observation) -> Turn[DeclineState]:
        """Decide after a new evaluation of the metric; keep the last decision otherwise."""
        rank = finite_or_none(observation.signals.rank_train_held_out)
        state = dataclasses.replace(state, rank=state.rank if rank is None else rank)
        course = next_course(state.course, observation.signals, 1 - self.smoothing)
        if course is None:
            state = dataclasses.replace(state, course=with_age(state.course, observation.signals))
        else:
            state = self._advance(state, course)
        values = {name: state.base[name] * self.factor**state.degree for name in ("lr_g", "lr_d")}
        if observation.acts("augment_p"):
            base = state.base["augment_p"]
            values["augment_p"] = max(base, min(base + self.step * state.degree, self.limit))
        reasons = dict.fromkeys(values, state.reason or "no harm")
        return Turn(request(observation.knobs, values), state, reasons)

    def _advance(self, state: DeclineState, course: MetricCourse) -> DeclineState:
        level, best = course.level or 0.0, course.best or 0.0
        margin = course.margin(self.confidence, self.tolerance)
        confirmed = self.overfit <= -1 or (state.rank is not None and state.rank > self.overfit)
        if level > best + margin and confirmed and state.degree < self.most:
            rank = "" if state.rank is None else f" and rank_train_held_out {state.rank:.2f} > {self.overfit:.2f}"
            reason = f"metric {level:.4g} is worse than its best, {best:.4g} ± {margin:.2g}{rank}"
            state = dataclasses.replace(state, degree=state.degree + 1, reason=reason)
        return dataclasses.replace(state, course=dataclasses.replace(course, best=min(level, best)))
