"""Kernel distance to held-out reals, on values and spectra of sequences: lower is better.

The kernel distance of Bińkowski et al. 2018, without a network, because none is suited to any series of numbers. It
compares level and slow changes by averages of the values, and fast changes by the power in bands of the spectrum.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _kernel
from equipoise.metrics._feature_metric import FeatureMetricMixin

__all__ = ["KdSequences"]

POSITIONS, BANDS = 64, 16
"""Largest number of averaged values, and of bands of the spectrum, of each channel."""
MIN_POWER = 1e-4
"""Power below which bands are not distinguished: that of a rounding to 1 % of the range."""


@dataclass(frozen=True, slots=True)
class SequenceFeatures:
    """Averages of the values of each channel, and the logarithm of its power in bands of equal width."""

    @property
    def digest(self) -> None:
        """None, because there is no network."""

    def __call__(self, samples: Tensor) -> Tensor:
        """Return (N, D) float32 of sequences (N, C, T) in [-1, 1]."""
        sequences = samples.detach().float().cpu()
        length = sequences.shape[2]
        values = adaptive_avg_pool1d(sequences, min(POSITIONS, length))
        centred = sequences - sequences.mean(dim=2, keepdim=True)
        power = torch.fft.rfft(centred, norm="ortho").abs().square()
        bands = adaptive_avg_pool1d(power, min(BANDS, power.shape[2]))
        return torch.cat([values, (bands + MIN_POWER).log10() / 2], dim=2).flatten(1)


@dataclass(frozen=True, slots=True)
class KdSequences(FeatureMetricMixin):
    """Kernel distance of sequences: about 0 for perfect samples. It can be negative.

    Values are comparable for the same data only.
    """

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    suited_to: ClassVar[str] = "sequences, such as time series"

    @property
    def features(self) -> SequenceFeatures:
        """Averages and spectra."""
        return SequenceFeatures()

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are sequences."""
        return spec.is_sequence

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from features (M, D) of reals and (N, D) of samples.

        Raises UndefinedMetricError for fewer than 2 samples or reals.
        """
        return _kernel.compute(real.real, fake, bootstrap)
