"""Eight narrow Gaussians on a circle: points in the plane on which missing modes can be counted.

The means are those of PacGAN (Lin et al. 2018): (cos 2πk/8, sin 2πk/8). Other code divides the circle into seven and
counts one mode twice. Computed, so without a licence or a digest.
"""

import math
from dataclasses import dataclass

import torch

from equipoise.base import AtHand, DataSpec, Split, Suggestion
from equipoise.data._mixtures import MixtureStream, check_positive

__all__ = ["Ring"]


@dataclass(frozen=True, slots=True)
class Ring(AtHand):
    """Points (2,) float32, not bounded, around [-radius, radius]; the label is the number of the mode.

    Raises SettingError for a field that is not above 0.
    """

    modes: int = 8
    """how many Gaussians, all equally likely"""
    radius: float = 1.0
    """distance of the means from the origin"""
    std: float = 0.01
    """standard deviation of each Gaussian in both directions"""

    def __post_init__(self) -> None:
        check_positive("ring", modes=self.modes, radius=self.radius, std=self.std)

    @property
    def spec(self) -> DataSpec:
        """Points in the plane, a class for each mode."""
        return DataSpec((2,), classes=self.modes)

    @property
    def suggestion(self) -> Suggestion:
        """A few minutes on one core."""
        return Suggestion(gan="mlp", steps=5000, batch_size=256, metric="mixture_modes", controller="annealed")

    def count(self, split: Split) -> None:
        """There is no end of them."""

    def stream(self, split: Split, batch_size: int, seed: int) -> MixtureStream:
        """Endless fresh samples. Raises SettingError for a batch of none."""
        angles = [2 * math.pi * mode / self.modes for mode in range(self.modes)]
        means = self.radius * torch.tensor([(math.cos(angle), math.sin(angle)) for angle in angles])
        return MixtureStream(means, self.std, batch_size, seed, split)
