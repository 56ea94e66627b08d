"""Eight narrow Gaussians on a circle: points in the plane, for counting missing modes.

The means are those of PacGAN (Lin et al. 2018): (cos 2πk/8, sin 2πk/8). Other code divides the circle into seven and
counts one mode twice. The points are computed, so there is no licence and no digest.
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

__all__ = ["Ring"]


@dataclass(frozen=True, slots=True)
class Ring(NoPreparation):
    """Points (2,) float32, unbounded, around [-radius, radius]; the label is the index of the mode.

    Raises SettingError for an option that is not above 0.
    """

    distribution_options: ClassVar[tuple[str, ...]] = ("modes", "radius", "std")
    """Options that change the distribution."""

    modes: int = 8
    """number of Gaussians, all equally likely"""
    radius: float = 1.0
    """distance of the means from the origin"""
    std: float = 0.01
    """standard deviation of each Gaussian in both directions"""
    training_points: int | None = None
    """number of training points, equal for all seeds; default: endless new ones"""

    def __post_init__(self) -> None:
        check_positive("ring", modes=self.modes, radius=self.radius, std=self.std)
        if self.training_points is not None:
            check_positive("ring", training_points=self.training_points)
        check_within(1, MAX_MODES, modes=self.modes)
        check_within(1, MAX_POINTS, training_points=self.training_points)

    @property
    def spec(self) -> DataSpec:
        """Points in the plane, one class per mode."""
        return DataSpec((2,), classes=self.modes)

    @property
    def suggestion(self) -> Suggestion:
        """Settings for a run of a few minutes on one core."""
        return Suggestion(model="mlp", steps=5000, batch_size=256, metric="mixture_modes", controller="annealed")

    def count(self, split: Split) -> int | None:
        """Return `training_points` for training; None, for endless data, without them and held out."""
        return self.training_points if split == "train" else None

    def stream(self, split: Split, batch_size: int, seed: int) -> MixtureStream | FinitePointStream:
        """Return endless batches. Raises SettingError for an empty batch, DataError for fewer points than a batch."""
        angles = [2 * math.pi * mode / self.modes for mode in range(self.modes)]
        means = self.radius * torch.tensor([(math.cos(angle), math.sin(angle)) for angle in angles])
        return mixture_stream(means, self.std, self.training_points, split, batch_size, seed)
