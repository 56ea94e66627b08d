"""Whether samples lie nearer to the training reals than held-out reals do: higher is better, 0 enough.

C_T of Meehan, Chaudhuri and Dasgupta 2020, "A Non-Parametric Test to Detect Data-Copying in Generative Models". Below
-3, samples are copies to a degree that chance does not explain; far above 0, they lie further off than reals do.

Distances are to the nearest of all training reals. The authors' program takes the nearest in the sample's own cell, and
corrects the mean of U by a half for continuity: of 1,000 points in five clusters, fresh, copied, half copied and noisy,
the scores were -0.27, -16.1, -8.97 and 8.94 here, and -0.25, -16.0, -8.95 and 8.94 by those two rules.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core import validation as bounds
from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, Features, MetricResult, ReferenceSet
from equipoise.errors import DataError
from equipoise.metrics import _choice
from equipoise.metrics._comparing import Compares
from equipoise.metrics._memorisation import Nearness, cells, copying, nearness

__all__ = ["CT"]


@dataclass(frozen=True, slots=True)
class CT(Compares):
    """A z-score over the cells that k-means divides the training reals into."""

    features_from: _choice.Kind = "efficientnet_lite0"
    """digits, efficientnet_lite0, inception or samples"""
    cells: int = 5
    """how many cells; each should hold a hundred held-out reals"""
    least: int = 20
    """cells with fewer samples are left out"""
    seed: int = 0
    """of the cells"""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    needs_train: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, str]]] = _choice.PRESETS

    def __post_init__(self) -> None:
        bounds.at_least(1, cells=self.cells, least=self.least)
        bounds.seeds(seed=self.seed)

    @property
    def features(self) -> Features:
        """As chosen."""
        return _choice.KINDS[self.features_from]()

    def suits(self, spec: DataSpec) -> bool:
        """Images, or points for features from the samples themselves."""
        return _choice.suits(self.features_from, spec)

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Features (M, D) and (T, D) of reals, (N, D) of samples. Raises DataError without training reals."""
        if real.train is None:
            raise DataError("c_t needs the reals that were trained on, too; name the data with --against")
        if not fake.isfinite().all():
            return MetricResult(math.nan)
        means = cells(real.train, self.cells, self.seed)
        ours, theirs = (nearness(features, real.train, means) for features in (real.real, fake))
        value = copying(theirs, ours, self.least)
        if not draws.count:
            return MetricResult(value)
        pairs = zip(draws.weights(len(real.real), 0).long(), draws.weights(len(fake), 1).long(), strict=True)
        drawn = [copying(_counted(theirs, second), _counted(ours, first), self.least) for first, second in pairs]
        return MetricResult(value, torch.tensor(drawn, dtype=torch.float64))


def _counted(rows: Nearness, times: Tensor) -> Nearness:
    """Each row as often as it was drawn."""
    return Nearness(rows.distance.repeat_interleave(times), rows.cell.repeat_interleave(times))
