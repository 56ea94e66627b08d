"""Rules of thumb: halve the rate of a discriminator that is right too often, or of a player that moves too fast."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, NamedTuple

from equipoise.controllers._feedback import elapsed_share, finite_or_none, moving_average
from equipoise.core import validation
from equipoise.core.controller import Turn, renamed, request
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation, Signals
from equipoise.errors import SettingError

__all__ = ["Balance"]

NORMAL = NormalDist()
MIN_TAIL = 1e-6
"""An AUC nearer to 0 or 1 than this is clamped: the inverse of the normal distribution is unbounded."""
RECOVERED = "doubled: neither rule that halved it applies any longer"


def accuracy(rank: float) -> float:
    """Return the accuracy of the discriminator at its best threshold, from its rank: Phi(Phi^-1(AUC) / sqrt 2).

    Exact where the logits of reals and of fakes are normal with equal variance and lie d' apart: AUC = Phi(d' / sqrt 2)
    and accuracy = Phi(d' / 2) (Green and Swets 1966, section 2). Logits need no zero, so it holds for every loss.
    """
    auc = min(max((1 + rank) / 2, MIN_TAIL), 1 - MIN_TAIL)
    return NORMAL.cdf(NORMAL.inv_cdf(auc) / 2**0.5)


class RateChange(NamedTuple):
    """A factor on a learning rate, and the reason for it."""

    factor: float
    reason: str


@dataclass(frozen=True)
class BalanceState:
    """State of `balance`. `lr_g`, `lr_d`: the user's values. `level`: moving average of the accuracy, None at first.

    `progress`, `last_decision`: progress of the run at the last reading and at the last decision. `halvings`: learning
    rate -> net number of halvings by rules 2 and 3. `calm`: learning rates to which neither of these rules applied at
    the last decision.
    """

    lr_g: float
    lr_d: float
    level: float | None
    progress: float
    last_decision: Annotated[float, renamed("last_decision", "decided")]
    halvings: Annotated[Mapping[str, int], renamed("halvings", "slowed")]
    calm: Annotated[tuple[str, ...], renamed("calm", "quiet")]


@dataclass(frozen=True)
class Balance:
    """Controller that halves and doubles learning rates by three rules, with one decision every `pace` of the run.

    1. Accuracy of the discriminator above `high`: halve lr_d (3D-GAN, Wu 2016, section 3.3, skips its update above
    0.8); below `low`: double it, up to the user's value.
    2. |change| / |weights| of one player more than `apart` times that of the other: halve the rate of the faster one.
    3. |change| / |weights| of a player above `fastest`: halve its rate. (The usual advice is 0.001, Karpathy's CS231n
    notes; healthy runs of this package start near 0.03.)
    Halvings by rules 2 and 3 are undone, one per decision, once neither rule has applied for a whole decision.

    `high`: accuracy above which the discriminator is slowed. `low`: accuracy below which its rate is restored.
    `apart`: the largest ratio of update-to-weight ratios. `fastest`: the largest update-to-weight ratio. `most`: no
    rate falls below the user's by more than this factor; a quarter is usual in published recipes. `pace`: share of the
    run between two decisions. `warm_up`: share of the run before the first decision. `half_life`: of the moving average
    of the accuracy, a share of the run.
    """

    high: float = 0.8
    low: float = 0.6
    apart: float = 5.0
    fastest: float = 0.1
    most: float = 4.0
    pace: float = 0.025
    warm_up: float = 0.05
    half_life: float = 0.0125

    def __post_init__(self) -> None:
        validation.check_within(0, 1, warm_up=self.warm_up)
        if not 0.5 <= self.low < self.high < 1:
            raise SettingError(
                f"low = {self.low:g}, high = {self.high:g}: accuracies must satisfy 0.5 <= low < high < 1"
            )
        if not (self.apart > 1 and self.fastest > 0 and self.most >= 1):
            raise SettingError(
                f"apart = {self.apart:g}, most = {self.most:g}, fastest = {self.fastest:g}: too small; apart must be "
                "above 1, most at least 1 and fastest above 0"
            )
        if not (self.pace > 0 and self.half_life > 0):
            raise SettingError(f"pace = {self.pace:g}, half_life = {self.half_life:g}: both must be above 0")

    def required_knobs(self) -> frozenset[str]:
        """Return both learning rates."""
        return frozenset({"lr_g", "lr_d"})

    def initial(self, knobs: Knobs) -> BalanceState:
        """Return the state before the first reading."""
        halvings = {"lr_g": 0, "lr_d": 0}
        return BalanceState(
            knobs.lr_g, knobs.lr_d, level=None, progress=0.0, last_decision=0.0, halvings=halvings, calm=()
        )

    def update(self, state: BalanceState, observation: Observation) -> Turn[BalanceState]:
        """Update the accuracy; apply the rules if a decision is due."""
        signals, progress = observation.signals, observation.progress
        level = state.level
        if (rank := finite_or_none(signals.rank_train_fake)) is not None:
            span = elapsed_share(progress, state.progress)
            level = moving_average(level, accuracy(rank), span, self.half_life)
        last = min(state.last_decision, progress)  # progress decreases where a run is resumed with more steps
        state = dataclasses.replace(state, level=level, progress=progress, last_decision=last)
        if progress < max(self.warm_up, last + self.pace - 1e-9):
            return Turn(observation.knobs, state)
        return self._decide(state, observation)

    def _decide(self, state: BalanceState, observation: Observation) -> Turn[BalanceState]:
        """Return the turn after applying the three rules."""
        knobs, by_updates = observation.knobs, self._by_updates(observation.signals)
        ratios = _update_ratios(observation.signals)
        calm = tuple(name for name, ratio in ratios.items() if ratio is not None and name not in by_updates)
        recovered = [name for name in calm if name in state.calm and state.halvings[name]]
        changes = {name: RateChange(2.0, RECOVERED) for name in recovered}
        changes |= self._by_accuracy(state.level) | by_updates
        values, halvings = {}, dict(state.halvings)
        for name, change in changes.items():
            base, current = getattr(state, name), getattr(knobs, name)
            values[name] = min(max(current * change.factor, base / self.most), base)
            if values[name] != current and (name in by_updates or change.factor > 1):
                halvings[name] = max(0, halvings[name] + (1 if name in by_updates else -1))
        reasons = {name: change.reason for name, change in changes.items() if values[name] != getattr(knobs, name)}
        state = dataclasses.replace(state, last_decision=observation.progress, halvings=halvings, calm=calm)
        return Turn(request(knobs, values), state, reasons)

    def _by_accuracy(self, level: float | None) -> dict[str, RateChange]:
        """Return the changes by rule 1."""
        if level is not None and level > self.high:
            return {"lr_d": RateChange(0.5, f"halved: discriminator accuracy {level:.0%} > {self.high:.0%}")}
        if level is not None and level < self.low:
            return {"lr_d": RateChange(2.0, f"doubled: discriminator accuracy {level:.0%} < {self.low:.0%}")}
        return {}

    def _by_updates(self, signals: Signals) -> dict[str, RateChange]:
        """Return the changes by rules 2 and 3, which override rule 1: the rate of a diverging player is not raised."""
        result: dict[str, RateChange] = {}
        ratios = _update_ratios(signals)
        for name, other_name in (("lr_g", "lr_d"), ("lr_d", "lr_g")):
            ratio, other = ratios[name], ratios[other_name]
            if ratio is not None and other is not None and ratio > self.apart * other:
                limit = f"{self.apart:g} times that of the other network, {other:.2g}"
                result[name] = RateChange(0.5, f"halved: update-to-weight ratio {ratio:.2g} > {limit}")
            if ratio is not None and ratio > self.fastest:
                result[name] = RateChange(0.5, f"halved: update-to-weight ratio {ratio:.2g} > {self.fastest:g}")
        return result


def _update_ratios(signals: Signals) -> dict[str, float | None]:
    """Return the update-to-weight ratio of each player, by the name of its learning rate."""
    return {"lr_g": finite_or_none(signals.update_ratio_g), "lr_d": finite_or_none(signals.update_ratio_d)}
