"""How many of the 1,000 stacks of three digits samples show: higher is better.

As VEEGAN (Srivastava et al. 2017) and PacGAN (Lin et al. 2018) count, of 26,000 samples; digits are named by the
network that is shipped with the package, so that published figures are context, not a comparison.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _mixture
from equipoise.metrics._comparing import Compares
from equipoise.metrics._features_digits import StackedDigits

__all__ = ["StackedModes"]

MODES = 1000


@dataclass(frozen=True, slots=True)
class StackedModes(Compares):
    """A stack counts with a single sample; noise covers many stacks by chance."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"

    @property
    def features(self) -> StackedDigits:
        """The number that the three channels read."""
        return StackedDigits()

    def suits(self, spec: DataSpec) -> bool:
        """Three digits in three channels, of 1,000 classes."""
        return spec.is_image and spec.shape[0] == 3 and spec.classes == MODES

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Numbers (N, 1) that the samples read; the reals are not looked at."""
        good = torch.nn.functional.one_hot(fake[:, 0].long(), MODES).double()
        value = _mixture.tally(good, torch.ones(1, len(fake))).modes.item()
        if not draws.count:
            return MetricResult(value)
        return MetricResult(value, _mixture.tally(good, draws.weights(len(fake), 1)).modes)
