"""The rules of thumb, by hand: slow the discriminator while it is right too often, or either that moves too fast."""

import dataclasses
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from equipoise.controllers._sensing import elapsed, known, smoothed
from equipoise.core import validation as bounds
from equipoise.core.knobs import Knobs
from equipoise.core.observations import ControllerState, Observation, Signals, Turn
from equipoise.errors import SettingError

__all__ = ["Balance"]

NORMAL = NormalDist()
CALM = "weights change as calmly again as before it was halved"
SURE = 1e-6
"""A rank this near to 1 or -1 counts as this near: the normal distribution has no end."""


def accuracy(rank: float) -> float:
    """The discriminator's accuracy at its best threshold, from its rank: Phi(Phi^-1(AUC) / sqrt 2).

    Exact where logits of reals and of fakes are normal with one spread: they lie d' apart, AUC = Phi(d' / sqrt 2),
    accuracy = Phi(d' / 2) (Green and Swets 1966, section 2). Needs no zero of the logits, so it serves every loss.
    """
    auc = min(max((1 + rank) / 2, SURE), 1 - SURE)
    return NORMAL.cdf(NORMAL.inv_cdf(auc) / 2**0.5)


@dataclass(frozen=True)
class Balance:
    """Halves and doubles learning rates by three rules, one decision every `pace` of the run.

    1. Discriminator right more often than `high`: halve lr_d (3D-GAN, Wu 2016, section 3.3, skips its update above
    0.8); less often than `low`: double it again, up to where the user set it.
    2. |change| / |weights| of one player more than `apart` times that of the other: halve the rate of the faster one.
    3. A player's weights change by more than `fastest` of themselves in a step: halve its rate. (The usual advice is
    0.001, Karpathy's CS231n notes; healthy runs of this package begin near 0.03.)
    What the last two have halved is doubled again, a decision at a time, once they have been quiet for a decision.

    `high`: accuracy of the discriminator, from the rank, above which it is slowed. `low`: accuracy below which it gets
    its rate back. `apart`: the ratio of update-to-weight ratios that is too much. `fastest`: the update-to-weight ratio
    that is too much. `most`: no rate falls below the user's by more than this factor, the quarter of hand-made recipes.
    `pace`: share of the run between two decisions. `warm_up`: share of the run before the first. `half_life`: of the
    running mean of the accuracy, a share of the run.
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
        bounds.within(0, 1, warm_up=self.warm_up)
        if not 0.5 <= self.low < self.high < 1:
            raise SettingError(f"low = {self.low:g}, high = {self.high:g}: accuracies, low below high, from 0.5 to 1")
        if not (self.apart > 1 and self.fastest > 0 and self.most >= 1):
            raise SettingError(f"apart = {self.apart:g}, most = {self.most:g}, fastest = {self.fastest:g}: too small")
        if not (self.pace > 0 and self.half_life > 0):
            raise SettingError(f"pace = {self.pace:g}, half_life = {self.half_life:g}: shares of the run, above 0")

    def turns(self) -> frozenset[str]:
        """Both learning rates."""
        return frozenset({"lr_g", "lr_d"})

    def initial(self, knobs: Knobs) -> ControllerState:
        """The user's rates, and nothing read."""
        rates = {"lr_g": knobs.lr_g, "lr_d": knobs.lr_d}
        return {**rates, "level": None, "progress": 0.0, "decided": 0.0, "slowed": dict.fromkeys(rates, 0), "quiet": []}

    def update(self, state: ControllerState, observation: Observation[Any]) -> Turn:
        """Read the accuracy; decide if it is time."""
        signals, progress, knobs = observation.signals, observation.progress, observation.knobs
        level = state["level"]
        if (rank := known(signals.rank_train_fake)) is not None:
            span = elapsed(progress, state["progress"])
            level = smoothed(level, accuracy(rank), span, self.half_life)
        decided = min(state["decided"], progress)  # progress goes back where a run is resumed with more steps
        state = {**state, "level": level, "progress": progress, "decided": decided}
        if progress < max(self.warm_up, decided + self.pace - 1e-9):
            return Turn(knobs, state)
        hurried, calm = self._by_updates(signals), self._calm(signals)
        back = {name: (2.0, CALM) for name in calm if name in state["quiet"] and state["slowed"][name]}
        factors = {**back, **self._by_accuracy(level), **hurried}
        values, slowed = {}, dict(state["slowed"])
        for name, (factor, _) in factors.items():
            base, stood = state[name], getattr(knobs, name)
            values[name] = min(max(stood * factor, base / self.most), base)
            if values[name] != stood and (name in hurried or factor > 1):
                slowed[name] = max(0, slowed[name] + (1 if name in hurried else -1))
        why = {name: text for name, (_, text) in factors.items()}
        state = {**state, "decided": progress, "slowed": slowed, "quiet": calm}
        return Turn(dataclasses.replace(knobs, **values), state, why)

    def _by_accuracy(self, level: float | None) -> dict[str, tuple[float, str]]:
        if level is not None and level > self.high:
            return {"lr_d": (0.5, f"discriminator right {level:.0%} of the time, more than {self.high:.0%}")}
        if level is not None and level < self.low:
            return {"lr_d": (2.0, f"discriminator right {level:.0%} of the time, less than {self.low:.0%}")}
        return {}

    def _by_updates(self, signals: Signals) -> dict[str, tuple[float, str]]:
        """Rules 2 and 3, which win over the first: a player that runs away is not sped up."""
        result: dict[str, tuple[float, str]] = {}
        moved = _moved(signals)
        for mine, other in (("lr_g", "lr_d"), ("lr_d", "lr_g")):
            here, there = moved[mine], moved[other]
            if here is not None and there is not None and here > self.apart * there:
                result[mine] = 0.5, f"weights change by {here:.2g} a step, those of the other player by {there:.2g}"
            if here is not None and here > self.fastest:
                result[mine] = 0.5, f"weights change by {here:.2g} of themselves a step, more than {self.fastest:g}"
        return result

    def _calm(self, signals: Signals) -> list[str]:
        """The rates of players that are seen to move, and about which rules 2 and 3 have nothing to say."""
        hurried = self._by_updates(signals)
        return [name for name, here in _moved(signals).items() if here is not None and name not in hurried]


def _moved(signals: Signals) -> dict[str, float | None]:
    """The update-to-weight ratio of each player by its rate."""
    return {"lr_g": known(signals.update_ratio_g), "lr_d": known(signals.update_ratio_d)}
