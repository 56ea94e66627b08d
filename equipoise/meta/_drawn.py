"""What data sets that are drawn from a law have in common: a number of reals kept to train on, held-out ones fresh."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from equipoise.core.data import Batch, NoPreparation, Split
from equipoise.errors import SettingError


@dataclass(frozen=True, slots=True)
class Drawn(NoPreparation, ABC):
    """Reals without labels, of shape (N, ...) float32. Raises SettingError for fewer than two to train on."""

    reals: int
    """to train on; held-out ones are drawn anew without end"""
    draw: int
    """seed of the reals"""

    def __post_init__(self) -> None:
        if self.reals < 2:
            raise SettingError(f"reals = {self.reals}: there must be at least 2")

    @abstractmethod
    def drawn(self, count: int, generator: Generator) -> Tensor:
        """(count, ...) float32, fresh."""

    def count(self, split: Split) -> int | None:
        """Training reals; of the others there is no end."""
        return self.reals if split == "train" else None

    def stream(self, split: Split, batch_size: int, seed: int) -> "DrawnStream":
        """Training reals, drawn with replacement; held-out ones, fresh. Raises SettingError for a batch of none."""
        if batch_size < 1:
            raise SettingError(f"batch_size = {batch_size} is too small; use 1 or more")
        kept = self.drawn(self.reals, generator_for(self.draw, "reals", 0)) if split == "train" else None
        return DrawnStream(self, kept, batch_size, seed)


@dataclass(frozen=True, slots=True, eq=False)
class DrawnStream:
    """Batches by number: rows of `kept` (N, ...), or fresh reals where it is None."""

    source: Drawn
    kept: Tensor | None
    batch_size: int
    seed: int

    def batch(self, index: int) -> Batch:
        """Batch number `index`: real (B, ...) float32."""
        generator = generator_for(self.seed, "held_out" if self.kept is None else "train", index)
        if self.kept is None:
            return Batch(self.source.drawn(self.batch_size, generator))
        return Batch(self.kept[torch.randint(len(self.kept), (self.batch_size,), generator=generator)])


def generator_for(seed: int, kind: str, index: int) -> Generator:
    """For draw number `index` of a kind of draws; torch looks at 32 bits of a seed, so within a kind none repeats."""
    offset = int.from_bytes(hashlib.blake2b(f"{seed} {kind}".encode(), digest_size=4).digest())
    return Generator().manual_seed((index * 0x9E3779B1 ^ offset) & 0xFFFFFFFF)
