"""How unevenly samples are distributed over the 1,000 stacks of three digits, in nats: lower is better.

KL(p || uniform), p the share of each stack, as in VEEGAN (Srivastava et al. 2017) and PacGAN (Lin et al. 2018). About
999 / (2 N) for a perfect generator: 0.02 for 26,000 samples, 0.05 for 10,000.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _mixture
from equipoise.metrics._feature_metric import FeatureMetricMixin
from equipoise.metrics._features_small import StackedDigitNumbers

__all__ = ["StackedReverseKl"]

MODES = 1000


@dataclass(frozen=True, slots=True)
class StackedReverseKl(FeatureMetricMixin):
    """Reverse KL divergence in nats, from 0 to ln 1000 = 6.91, which is reached if all samples show one stack."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    suited_to: ClassVar[str] = "images of three channels with 1,000 classes"

    @property
    def features(self) -> StackedDigitNumbers:
        """The number that the three channels form."""
        return StackedDigitNumbers()

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are images of three channels with 1,000 classes."""
        return spec.is_image and spec.shape[0] == 3 and spec.classes == MODES

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from the numbers (N, 1) that samples form; reals are not used."""
        good = torch.nn.functional.one_hot(fake[:, 0].long(), MODES).double()
        value = _mixture.mode_statistics(good, torch.ones(1, len(fake))).reverse_kl.item()
        if not bootstrap.count:
            return MetricResult(value)
        return MetricResult(value, _mixture.mode_statistics(good, bootstrap.weights(len(fake), 1)).reverse_kl)
