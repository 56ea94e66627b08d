"""Learning-rate decay without a schedule: both rates fall when the metric no longer improves beyond its noise.

k <- k + 1 if level >= best - margin for `patience` of the run       level, best: of the smoothed live metric
lr_g, lr_d = base · max(factor^k, least)
augment_p = base + augment · j, at most `most`                       j: worse evaluations that the rank confirms
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from equipoise.controllers._evaluations import MetricLevel, next_history, with_age
from equipoise.controllers._feedback import MAX_AUGMENT_P, actuator_base, finite_or_none
from equipoise.core import validation
from equipoise.core.controller import Turn, request
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation

__all__ = ["Plateau"]


@dataclass(frozen=True)
class PlateauState:
    """State of `plateau`. `base`: the user's values. `history`: of the metric.

    `since`: progress of the last improvement or decay. `decays`: k. `raises`: j. `reason`: of the last decision.
    """

    base: Mapping[str, float]
    history: MetricLevel
    since: float
    decays: int
    raises: int
    reason: str


@dataclass(frozen=True)
class Plateau:
    """Controller that multiplies both learning rates by `factor` when the run's metric stops improving.

    The metric is measured on the averaged generator. An improvement counts if the smoothed level falls below the best
    one by more than the margin: `confidence` · noise + `tolerance` · |best|; the noise is estimated from second
    differences, which no trend enlarges. If the level is above the best one by more than the margin, and
    rank_train_held_out is above `overfit`, augmentation rises too.

    Fails where the metric is evaluated fewer than about eight times in a run, and where the metric is noisy: then rates
    fall too early, and do not rise again. Without a metric nothing is changed.

    `factor`: of one decay. `patience`: share of the run without an improvement before a decay. `least`: smallest factor
    of the rates. `confidence`, `tolerance`: of the margin. `smoothing`: weight of the older values in the level; 0: the
    level is the last value. `augment`: increase of augment_p at one evaluation that is worse; 0: never. `overfit`:
    smallest rank_train_held_out for it. `most`: bound of augment_p, at most 0.8.
    """

    factor: float = 0.5
    patience: float = 0.2
    least: float = 0.02
    confidence: float = 0.5
    tolerance: float = 0.02
    smoothing: float = 0.0
    augment: float = 0.0
    overfit: float = 0.3
    most: float = 0.6

    def __post_init__(self) -> None:
        validation.check_above(0, factor=self.factor, least=self.least, patience=self.patience)
        validation.check_within(0, 1, factor=self.factor, least=self.least, patience=self.patience)
        validation.check_at_least(0, confidence=self.confidence, tolerance=self.tolerance)
        validation.check_within(0, 0.95, smoothing=self.smoothing)
        validation.check_within(-1, 1, overfit=self.overfit)
        validation.check_within(0, MAX_AUGMENT_P, augment=self.augment, most=self.most)

    def required_knobs(self) -> frozenset[str]:
        """Return both learning rates; augment_p is changed where it acts."""
        return frozenset({"lr_g", "lr_d"})

    def initial(self, knobs: Knobs) -> PlateauState:
        """Return the state before the first evaluation, with the user's values."""
        return PlateauState(actuator_base(knobs), MetricLevel(), since=0.0, decays=0, raises=0, reason="")

    def update(self, state: PlateauState, observation: Observation) -> Turn[PlateauState]:
        """Decide after a new evaluation of the metric; keep the last decision otherwise."""
        history = next_history(state.history, observation.signals, 1 - self.smoothing)
        if history is None:
            state = dataclasses.replace(state, history=with_age(state.history, observation.signals))
        else:
            state = self._advance(dataclasses.replace(state, history=history), observation)
        return Turn(request(observation.knobs, self._values(state, observation)), state, self._reasons(state))

    def _advance(self, state: PlateauState, observation: Observation) -> PlateauState:
        """Return the state after an evaluation: improved, worse, or neither."""
        history, progress = state.history, observation.progress
        level, best = history.level or 0.0, history.best or 0.0
        margin, since = history.margin(self.confidence, self.tolerance), min(state.since, progress)
        text = f"{level:.4g}, best {best:.4g} ± {margin:.2g}"
        if level < best - margin or len(history.values) == 1:
            improved = dataclasses.replace(history, best=min(level, best))
            return dataclasses.replace(state, history=improved, since=progress)
        rank = finite_or_none(observation.signals.rank_train_held_out)
        raises = state.raises
        if self.augment and level > best + margin and rank is not None and rank > self.overfit:
            raises += 1
        if progress - since >= self.patience - 1e-9:
            reason = f"no improvement for {progress - since:.0%} of the run (metric {text}): rates x {self.factor:g}"
            return dataclasses.replace(state, since=progress, decays=state.decays + 1, raises=raises, reason=reason)
        reason = f"metric worse: {text}" if raises > state.raises else state.reason
        return dataclasses.replace(state, since=since, raises=raises, reason=reason)

    def _values(self, state: PlateauState, observation: Observation) -> dict[str, float]:
        factor = max(self.factor**state.decays, self.least)
        values = {name: state.base[name] * factor for name in ("lr_g", "lr_d")}
        if self.augment and observation.acts("augment_p"):
            base = state.base["augment_p"]
            values["augment_p"] = max(base, min(base + self.augment * state.raises, self.most))
        return values

    def _reasons(self, state: PlateauState) -> dict[str, str]:
        names = ("lr_g", "lr_d", *(("augment_p",) if self.augment else ()))
        return dict.fromkeys(names, state.reason or "the metric improves, or is not known yet")
