"""Base class of data sets sampled from a distribution: a fixed number of training reals, fresh held-out reals."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from equipoise.core.data import Batch, NoPreparation, Split
from equipoise.errors import SettingError


@dataclass(frozen=True, slots=True)
class SyntheticData(NoPreparation, ABC):
    """Unlabelled reals (N, ...) float32 of a distribution. Raises SettingError for fewer than two training reals."""

    reals: int
    """number of training reals; held-out reals are unlimited"""
    draw: int
    """seed of the reals"""

    def __post_init__(self) -> None:
        if self.reals < 2:
            raise SettingError(f"reals = {self.reals}: it must be at least 2")

    @abstractmethod
    def sample(self, count: int, generator: Generator) -> Tensor:
        """Sample (count, ...) float32 from the distribution."""

    def count(self, split: Split) -> int | None:
        """Return the number of training reals; None for held-out reals, which are unlimited."""
        return self.reals if split == "train" else None

    def stream(self, split: Split, batch_size: int, seed: int) -> "SyntheticStream":
        """Return a stream of training reals, sampled with replacement, or of fresh held-out reals.

        Raises SettingError for a batch size below 1.
        """
        if batch_size < 1:
            raise SettingError(f"batch_size = {batch_size} is too small; use 1 or more")
        reals = self.sample(self.reals, generator_for(self.draw, "reals", 0)) if split == "train" else None
        return SyntheticStream(self, reals, batch_size, seed)


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticStream:
    """Batches by number: rows of `reals` (N, ...), or fresh samples if it is None."""

    source: SyntheticData
    reals: Tensor | None
    batch_size: int
    seed: int

    def batch(self, index: int) -> Batch:
        """Return batch number `index`: real (B, ...) float32."""
        generator = generator_for(self.seed, "held_out" if self.reals is None else "train", index)
        if self.reals is None:
            return Batch(self.source.sample(self.batch_size, generator))
        return Batch(self.reals[torch.randint(len(self.reals), (self.batch_size,), generator=generator)])


def generator_for(seed: int, kind: str, index: int) -> Generator:
    """Return the random generator of draw number `index` of a kind; all seeds differ in the 32 bits that PyTorch
    uses."""
    offset = int.from_bytes(hashlib.blake2b(f"{seed} {kind}".encode(), digest_size=4).digest())
    return Generator().manual_seed((index * 0x9E3779B1 ^ offset) & 0xFFFFFFFF)
