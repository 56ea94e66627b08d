"""A single point, 0 on the line: the data of the Dirac-GAN, whose dynamics can be computed by hand.

Mescheder, Geiger and Nowozin 2018, "Which training methods for GANs do actually converge?", section 2. The point is
computed, so there is no licence and no digest.
"""

from dataclasses import dataclass

import torch

from equipoise.core.data import Batch, DataSpec, NoPreparation, Split, Suggestion
from equipoise.data._arrays import check_batch_size

__all__ = ["Origin"]


@dataclass(frozen=True, slots=True)
class Origin(NoPreparation):
    """The number 0 as (1,) float32, without a label. Both splits are the same point."""

    @property
    def spec(self) -> DataSpec:
        """One number, no classes."""
        return DataSpec((1,))

    @property
    def suggestion(self) -> Suggestion:
        """Settings of the paper's figures; no metric, because the generator's parameter is the distance itself."""
        return Suggestion(model="dirac", steps=500, batch_size=1)

    def count(self, split: Split) -> None:
        """Return None: the data is endless."""

    def stream(self, split: Split, batch_size: int, seed: int) -> "PointStream":
        """Return endless batches of the point. Raises SettingError for an empty batch."""
        return PointStream(batch_size)


@dataclass(frozen=True, slots=True)
class PointStream:
    """Stream of batches of zeros."""

    batch_size: int

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)

    def batch(self, index: int) -> Batch:
        """Return batch number `index`, the same for all: real (B, 1) float32, no condition."""
        return Batch(torch.zeros(self.batch_size, 1))
