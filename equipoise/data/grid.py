"""Twenty-five narrow Gaussians on a square grid: points in the plane, for counting missing modes.

The means are those of PacGAN (Lin et al. 2018): {-4, -2, 0, 2, 4} in both directions. The points are computed, so there
is no licence and no digest.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from equipoise.core.data import DataSpec, NoPreparation, Split, Suggestion
from equipoise.core.validation import check_within
from equipoise.data._mixtures import (
    MAX_MODES,
    MAX_POINTS,
    FinitePointStream,
    MixtureStream,
    check_positive,
    mixture_stream,
)

__all__ = ["Grid"]


@dataclass(frozen=True, slots=True)
class Grid(NoPreparation):
    """Points (2,) float32, unbounded, around [-4, 4]; the label is the index of the mode, row by row.

    Raises SettingError for an option that is not above 0.
    """

    distribution_options: ClassVar[tuple[str, ...]] = ("side", "spacing", "std")
    """Options that change the distribution."""

    side: int = 5
    """Gaussians per side; side² in total, all equally likely"""
    spacing: float = 2.0
    """distance between neighbouring means"""
    std: float = 0.05
    """standard deviation of each Gaussian in both directions"""
    training_points: int | None = None
    """number of training points, equal for all seeds; default: endless new ones"""

    def __post_init__(self) -> None:
        check_positive("grid", side=self.side, spacing=self.spacing, std=self.std)
        if self.training_points is not None:
            check_positive("grid", training_points=self.training_points)
        check_within(1, math.isqrt(MAX_MODES), side=self.side)
        check_within(1, MAX_POINTS, training_points=self.training_points)

    @property
    def spec(self) -> DataSpec:
        """Points in the plane, one class per mode."""
        return DataSpec((2,), classes=self.side**2)

    @property
    def suggestion(self) -> Suggestion:
        """Settings for a run of a few minutes on one core."""
        return Suggestion(model="mlp", steps=5000, batch_size=256, metric="mixture_modes", controller="annealed")

    def count(self, split: Split) -> int | None:
        """Return `training_points` for training; None, for endless data, without them and held out."""
        return self.training_points if split == "train" else None

    def stream(self, split: Split, batch_size: int, seed: int) -> MixtureStream | FinitePointStream:
        """Return endless batches. Raises SettingError for an empty batch, DataError for fewer points than a batch."""
        line = (torch.arange(self.side) - (self.side - 1) / 2) * self.spacing
        return mixture_stream(torch.cartesian_prod(line, line), self.std, self.training_points, split, batch_size, seed)
