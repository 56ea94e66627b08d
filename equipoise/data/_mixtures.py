"""Samples of equally likely Gaussians: fresh ones without end, or few that are seen again and again."""

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.core.data import Batch, Split
from equipoise.data._arrays import check_batch_size, check_enough, generator_for, places_of
from equipoise.errors import SettingError


@dataclass(frozen=True, slots=True, eq=False)
class MixtureStream:
    """Batches of x = mean_k + std * n with k uniform and n standard normal, drawn anew for every index.

    `means`: (K, D) float32. Raises SettingError for a batch of none.
    """

    means: Tensor
    std: float
    batch_size: int
    seed: int
    split: Split

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)

    def batch(self, index: int) -> Batch:
        """Batch number `index`: real (B, D) float32, condition (B,) int64, the index of the mode."""
        generator = generator_for(self.seed, self.split, index)
        modes, dimensions = self.means.shape
        mode = torch.randint(modes, (self.batch_size,), generator=generator)
        noise = torch.randn(self.batch_size, dimensions, generator=generator)
        return Batch(self.means[mode] + self.std * noise, mode)


@dataclass(frozen=True, slots=True, eq=False)
class FewPoints:
    """Endless epochs over the same few samples, each in a fresh order, cut into batches: all that there is to train on.

    `points`: (N, D) float32, `modes`: (N,) int64. Raises DataError if there are fewer than a batch takes.
    """

    points: Tensor
    modes: Tensor
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        check_enough(len(self.points), self.batch_size, "train", "points")

    def batch(self, index: int) -> Batch:
        """Batch number `index`: real (B, D) float32, condition (B,) int64, the index of the mode."""
        rows = places_of(len(self.points), self.batch_size, self.seed, "train", index)
        return Batch(self.points[rows], self.modes[rows])


def stream(
    means: Tensor, std: float, training_points: int | None, split: Split, batch_size: int, seed: int
) -> MixtureStream | FewPoints:
    """Fresh samples; for training no more than `training_points`, the same for every seed, if that is given."""
    if training_points is None or split == "held_out":
        return MixtureStream(means, std, batch_size, seed, split)
    drawn = MixtureStream(means, std, training_points, 0, "train").batch(0)
    assert drawn.condition is not None
    return FewPoints(drawn.real, drawn.condition, batch_size, seed)


def check_positive(owner: str, **values: float) -> None:
    """Raise SettingError for the first value that is not a finite number above 0."""
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise SettingError(f"{name} = {value:g} does not suit '{owner}'; use a number above 0")
