"""Whether something beside the pilot undoes its turns: a scheduler that computes each learning rate anew."""

import math
import warnings
from collections.abc import Iterator, Mapping

from torch.optim import Optimizer

PROOF = 3
"""Turns in a row that were undone."""
NEARER = 10
"""A turn counts as undone if what followed it fits that better by this factor, in logarithms of the rate."""

WARNING = (
    "the learning rate of the {player} is put back each time that the pilot turns it: LambdaLR, CyclicLR, OneCycleLR, "
    "CosineAnnealingWarmRestarts, schedules of transformers or your own loop do so; let one of the two set it"
)


Key = tuple[str, int]
"""A player and the number of a group of its optimizer."""


class Watch:
    """Looks at the learning rates as others leave them in each step, between the turns of a pilot. Mutable.

    A rate that goes on from a turn at the pace of the step after it was left as it was turned to; one that goes on so
    from before the turn was computed anew. Turns in every step hide that, and so do schedulers that move by epoch.
    Rates that are tensors are not looked at: they may lie on a device.
    """

    def __init__(self, optimizers: Mapping[str, Optimizer]) -> None:
        self.optimizers = optimizers
        self.result, self.left = dict(self._rates()), dict(self._rates())
        self.after: dict[Key, tuple[float, float]] = {}
        self.undone: dict[Key, int] = {}
        self.warned = False

    def turned(self) -> None:
        """The pilot has written: how it leaves the rates."""
        self.left = dict(self._rates())

    def look(self) -> None:
        """Asked in every step; warns, once, of a learning rate that is put back turn after turn."""
        for key, rate in self._rates():
            result, left, after = self.result.get(key, rate), self.left.get(key, rate), self.after.pop(key, None)
            if left != result:
                self.after[key] = _pace(result, rate), _pace(left, rate)
            elif after:
                anew, on = (abs(pace - _pace(result, rate)) for pace in after)
                self.undone[key] = self.undone.get(key, 0) + 1 if NEARER * anew < on else 0
            self.result[key] = self.left[key] = rate
            if self.undone.get(key) == PROOF and not self.warned:
                self.warned = True
                warnings.warn(WARNING.format(player=key[0]), stacklevel=3)

    def _rates(self) -> Iterator[tuple[Key, float]]:
        for player, optimizer in self.optimizers.items():
            for number, group in enumerate(optimizer.param_groups):
                if isinstance(group["lr"], float):
                    yield (player, number), group["lr"]


def _pace(before: float, now: float) -> float:
    """log(now / before); NaN, which is near to nothing, where a rate is 0."""
    return math.log(now / before) if min(before, now) > 0 else math.nan
