"""Eight narrow Gaussians on a circle: points in the plane on which missing modes can be counted.

The means are those of PacGAN (Lin et al. 2018): (cos 2πk/8, sin 2πk/8). Other code divides the circle into seven and
counts one mode twice. Computed, so without a licence or a digest.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from equipoise.core.data import DataSpec, NoPreparation, Split, Suggestion
from equipoise.data._mixtures import FewPoints, MixtureStream, check_positive, stream

__all__ = ["Ring"]


@dataclass(frozen=True, slots=True)
class Ring(NoPreparation):
    """Points (2,) float32, not bounded, around [-radius, radius]; the label is the number of the mode.

    Raises SettingError for a field that is not above 0.
    """

    of_distribution: ClassVar[tuple[str, ...]] = ("modes", "radius", "std")
    """Options that make another distribution."""

    modes: int = 8
    """how many Gaussians, all equally likely"""
    radius: float = 1.0
    """distance of the means from the origin"""
    std: float = 0.01
    """standard deviation of each Gaussian in both directions"""
    training_points: int | None = None
    """so many to train on, for every seed the same; left out: fresh ones without end"""

    def __post_init__(self) -> None:
        check_positive("ring", modes=self.modes, radius=self.radius, std=self.std)
        if self.training_points is not None:
            check_positive("ring", training_points=self.training_points)

    @property
    def spec(self) -> DataSpec:
        """Points in the plane, a class for each mode."""
        return DataSpec((2,), classes=self.modes)

    @property
    def suggestion(self) -> Suggestion:
        """A few minutes on one core."""
        return Suggestion(model="mlp", steps=5000, batch_size=256, metric="mixture_modes", controller="annealed")

    def count(self, split: Split) -> int | None:
        """There is no end of them, unless few are wanted to train on."""
        return self.training_points if split == "train" else None

    def stream(self, split: Split, batch_size: int, seed: int) -> MixtureStream | FewPoints:
        """Endless batches. Raises SettingError for a batch of none, DataError for one of more points than there are."""
        angles = [2 * math.pi * mode / self.modes for mode in range(self.modes)]
        means = self.radius * torch.tensor([(math.cos(angle), math.sin(angle)) for angle in angles])
        return stream(means, self.std, self.training_points, split, batch_size, seed)
