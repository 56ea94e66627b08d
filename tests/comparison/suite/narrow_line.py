"""Data for the Dirac-GAN in a suite: numbers close to 0, so that the distance of one point to them has a width."""

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.comparison.suite.data import RowStream
from equipoise.core.data import DataSpec, NoPreparation, Split, Suggestion

__all__ = ["NarrowLine"]


@dataclass(frozen=True, slots=True)
class NarrowLine(NoPreparation):
    """Numbers (1,) of a normal distribution of width 0.2 around 0."""

    source: str = "line"
    image_size: int = 16
    training_images: int | None = None
    draw: int = 0

    @property
    def spec(self) -> DataSpec:
        return DataSpec((1,))

    @property
    def suggestion(self) -> Suggestion:
        return Suggestion(model="dirac", steps=100, batch_size=8)

    def count(self, split: Split) -> int:
        return 64

    def rows(self, seed: int) -> Tensor:
        return 0.2 * torch.randn(64, 1, generator=torch.Generator().manual_seed(3 * self.draw + seed))

    def test_reals(self) -> Tensor:
        return self.rows(0)

    def stream(self, split: Split, batch_size: int, seed: int) -> RowStream:
        return RowStream(self.rows(1 + (split == "held_out")), batch_size, seed)
