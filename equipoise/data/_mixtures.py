"""Endless fresh samples of equally likely Gaussians."""

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.base import Batch, Split
from equipoise.data._arrays import check_batch_size, generator_for
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


def check_positive(owner: str, **values: float) -> None:
    """Raise SettingError for the first value that is not a finite number above 0."""
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise SettingError(f"{name} = {value:g} does not suit '{owner}'; use a number above 0")
