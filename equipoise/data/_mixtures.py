"""Streams over mixtures of equally likely Gaussians: endless new samples, or a finite set."""

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.core.data import Batch, Split
from equipoise.data._arrays import batch_indices, check_batch_size, check_split_size, generator_for
from equipoise.errors import SettingError


@dataclass(frozen=True, slots=True, eq=False)
class MixtureStream:
    """Stream of x = mean_k + std * n, k uniform and n standard normal, sampled independently for every index.

    `means`: (K, D) float32. Raises SettingError for an empty batch.
    """

    means: Tensor
    std: float
    batch_size: int
    seed: int
    split: Split

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)

    def batch(self, index: int) -> Batch:
        """Return batch number `index`: real (B, D) float32, condition (B,) int64, the index of the mode."""
        generator = generator_for(self.seed, self.split, index)
        modes, dimensions = self.means.shape
        mode = torch.randint(modes, (self.batch_size,), generator=generator)
        noise = torch.randn(self.batch_size, dimensions, generator=generator)
        return Batch(self.means[mode] + self.std * noise, mode)


@dataclass(frozen=True, slots=True, eq=False)
class FinitePointStream:
    """Endless epochs over a finite set of samples, each in a new random order, split into batches.

    `points`: (N, D) float32, `modes`: (N,) int64. Raises DataError if there are fewer than a batch.
    """

    points: Tensor
    modes: Tensor
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        check_split_size(len(self.points), self.batch_size, "train", "points")

    def batch(self, index: int) -> Batch:
        """Return batch number `index`: real (B, D) float32, condition (B,) int64, the index of the mode."""
        rows = batch_indices(len(self.points), self.batch_size, self.seed, "train", index)
        return Batch(self.points[rows], self.modes[rows])


def mixture_stream(
    means: Tensor, std: float, training_points: int | None, split: Split, batch_size: int, seed: int
) -> MixtureStream | FinitePointStream:
    """Return a stream of new samples, or, for training with `training_points`, of a finite set equal for all seeds."""
    if training_points is None or split == "held_out":
        return MixtureStream(means, std, batch_size, seed, split)
    batch = MixtureStream(means, std, training_points, 0, "train").batch(0)
    assert batch.condition is not None
    return FinitePointStream(batch.real, batch.condition, batch_size, seed)


MAX_MODES = 100_000
"""Largest number of Gaussians: more than points in any run, and 100 times as many take gigabytes."""
MAX_POINTS = 100_000_000
"""Largest number of training points, which are held in memory: 2 GB."""


def check_positive(owner: str, **values: float) -> None:
    """Raise SettingError for the first value that is not finite and positive."""
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise SettingError(f"{name} = {value:g} must be above 0 for '{owner}'")
