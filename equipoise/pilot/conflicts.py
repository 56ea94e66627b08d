"""Detection of schedulers that overwrite the learning rates of a pilot."""

import math
import warnings
from collections.abc import Iterator, Mapping

from torch.optim import Optimizer

CHANGES_BEFORE_WARNING = 3
"""Number of consecutive changes of the pilot that are overwritten before a warning is issued."""
MIN_FIT_RATIO = 10
"""A change counts as overwritten if that hypothesis fits the next log rate this many times better than acceptance."""

WARNING = (
    "the learning rate of the {player} is reset after every change by the pilot, for instance by LambdaLR, CyclicLR, "
    "OneCycleLR, CosineAnnealingWarmRestarts, a schedule of transformers or your own loop; let only one of them set it"
)

GroupKey = tuple[str, int]
"""A player and the index of a parameter group of its optimizer."""


class LearningRateConflicts:
    """Compares the learning rates in every step with those that the pilot wrote. Mutable.

    A rate that continues from the value of the pilot, with the ratio of the next step, was accepted; a rate that
    continues from the value before it was overwritten. Conflicts are not detected if the pilot changes the rate in
    every step, or if the scheduler steps once per epoch. Rates that are tensors are ignored, as they may be on a
    device.
    """

    def __init__(self, optimizers: Mapping[str, Optimizer]) -> None:
        self.optimizers = optimizers
        self.before, self.written = dict(self._rates()), dict(self._rates())
        self.log_ratios: dict[GroupKey, tuple[float, float]] = {}
        self.overwritten: dict[GroupKey, int] = {}
        self.has_warned = False

    def record_rates(self) -> None:
        """Record the rates that the pilot has written."""
        self.written = dict(self._rates())

    def check(self) -> None:
        """Compare the rates, once per step; warn once if a learning rate is reset after every change."""
        for key, rate in self._rates():
            before, written = self.before.get(key, rate), self.written.get(key, rate)
            log_ratios = self.log_ratios.pop(key, None)
            if written != before:
                self.log_ratios[key] = _log_ratio(before, rate), _log_ratio(written, rate)
            elif log_ratios:
                if_recomputed, if_accepted = (abs(log_ratio - _log_ratio(before, rate)) for log_ratio in log_ratios)
                is_overwritten = MIN_FIT_RATIO * if_recomputed < if_accepted
                self.overwritten[key] = self.overwritten.get(key, 0) + 1 if is_overwritten else 0
            self.before[key] = self.written[key] = rate
            if self.overwritten.get(key) == CHANGES_BEFORE_WARNING and not self.has_warned:
                self.has_warned = True
                warnings.warn(WARNING.format(player=key[0]), stacklevel=3)

    def _rates(self) -> Iterator[tuple[GroupKey, float]]:
        for player, optimizer in self.optimizers.items():
            for number, group in enumerate(optimizer.param_groups):
                if isinstance(group["lr"], float):
                    yield (player, number), group["lr"]


def _log_ratio(before: float, after: float) -> float:
    """Return log(after / before); NaN if a rate is 0."""
    return math.log(after / before) if min(before, after) > 0 else math.nan
