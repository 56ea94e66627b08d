"""How unevenly samples fall on the 1,000 stacks of three digits, in nats: lower is better.

KL(p || uniform) with p the share of each stack, as VEEGAN (Srivastava et al. 2017) and PacGAN (Lin et al. 2018) have
it. A perfect sampler has about 999 / (2 N): 0.02 for 26,000 samples, 0.05 for 10,000.
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

__all__ = ["StackedReverseKl"]

MODES = 1000


@dataclass(frozen=True, slots=True)
class StackedReverseKl(Compares):
    """ln 1000 = 6.91 if all samples show one stack."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"

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
        value = _mixture.tally(good, torch.ones(1, len(fake))).reverse_kl.item()
        if not draws.count:
            return MetricResult(value)
        return MetricResult(value, _mixture.tally(good, draws.weights(len(fake), 1)).reverse_kl)
