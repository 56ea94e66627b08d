"""Twenty-five narrow Gaussians on a square grid: points in the plane on which missing modes can be counted.

The means are those of PacGAN (Lin et al. 2018): {-4, -2, 0, 2, 4} in both directions. Computed, so without a licence
or a digest.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from equipoise.core.data import DataSpec, NoPreparation, Split, Suggestion
from equipoise.data._mixtures import FewPoints, MixtureStream, check_positive, stream

__all__ = ["Grid"]


@dataclass(frozen=True, slots=True)
class Grid(NoPreparation):
    """Points (2,) float32, not bounded, around [-4, 4]; the label is the number of the mode, row by row.

    Raises SettingError for a field that is not above 0.
    """

    of_distribution: ClassVar[tuple[str, ...]] = ("side", "spacing", "std")
    """Options that make another distribution."""

    side: int = 5
    """Gaussians along a side; side times side of them, all equally likely"""
    spacing: float = 2.0
    """distance of neighbouring means"""
    std: float = 0.05
    """standard deviation of each Gaussian in both directions"""
    training_points: int | None = None
    """so many to train on, for every seed the same; left out: fresh ones without end"""

    def __post_init__(self) -> None:
        check_positive("grid", side=self.side, spacing=self.spacing, std=self.std)
        if self.training_points is not None:
            check_positive("grid", training_points=self.training_points)

    @property
    def spec(self) -> DataSpec:
        """Points in the plane, a class for each mode."""
        return DataSpec((2,), classes=self.side**2)

    @property
    def suggestion(self) -> Suggestion:
        """A few minutes on one core."""
        return Suggestion(model="mlp", steps=5000, batch_size=256, metric="mixture_modes", controller="annealed")

    def count(self, split: Split) -> int | None:
        """There is no end of them, unless few are wanted to train on."""
        return self.training_points if split == "train" else None

    def stream(self, split: Split, batch_size: int, seed: int) -> MixtureStream | FewPoints:
        """Endless batches. Raises SettingError for a batch of none, DataError for one of more points than there are."""
        line = (torch.arange(self.side) - (self.side - 1) / 2) * self.spacing
        return stream(torch.cartesian_prod(line, line), self.std, self.training_points, split, batch_size, seed)
