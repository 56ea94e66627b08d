"""Number of the 1,000 stacks of three digits that samples show: higher is better.

Counted as in VEEGAN (Srivastava et al. 2017) and PacGAN (Lin et al. 2018), of 26,000 samples; digits are classified by
the network shipped with the package, so published values give context only.
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

__all__ = ["StackedModes"]

MODES = 1000


@dataclass(frozen=True, slots=True)
class StackedModes(FeatureMetricMixin):
    """Number of covered stacks, at most 1,000. One sample covers a stack; noise covers many by chance."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
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
        value = _mixture.mode_statistics(good, torch.ones(1, len(fake))).modes.item()
        if not bootstrap.count:
            return MetricResult(value)
        return MetricResult(value, _mixture.mode_statistics(good, bootstrap.weights(len(fake), 1)).modes)
