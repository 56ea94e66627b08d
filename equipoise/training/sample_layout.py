"""Layout of sample grids: samples only, or each sample next to its input and its target."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

MAX_COLUMNS = 9
"""Largest number of images per row in grids of groups: a film has room for ten images of 32 pixels at double size."""


@dataclass(frozen=True, slots=True, eq=False)
class SampleLayout:
    """Layout of a sample grid. `count`: number of samples, None for all. `columns`: of the grid, None for automatic.

    `source`, `target`: inputs and targets, (count, C, H, W) in [-1, 1], left and right of each sample; None for none.
    """

    count: int | None = None
    columns: int | None = None
    source: Tensor | None = None
    target: Tensor | None = None

    @property
    def image_roles(self) -> tuple[str, ...]:
        """The role of each image in a group, in order: input, output, truth. Empty if there are only samples."""
        parts = (("input", self.source), ("output", self), ("truth", self.target))
        roles = tuple(role for role, part in parts if part is not None)
        return roles if len(roles) > 1 else ()

    def arrange(self, samples: Tensor) -> Tensor:
        """Return samples (count, ...) together with their inputs and targets, in the order of the grid."""
        return interleave_images([part for part in (self.source, samples, self.target) if part is not None])


def interleave_images(parts: list[Tensor]) -> Tensor:
    """Interleave image tensors (N, C, H, W): the first of each, the second of each, …

    Grey images are expanded to three channels if others are in colour, the pixels of smaller ones are repeated.
    """
    if len(parts) == 1:
        return parts[0]
    channels, height, width = (max(part.shape[axis] for part in parts) for axis in (1, 2, 3))
    resized = [part if part.shape[2:] == (height, width) else interpolate(part, (height, width)) for part in parts]
    return torch.stack([part.expand(-1, channels, -1, -1) for part in resized], dim=1).flatten(0, 1)


def columns_for_groups(size: int) -> int:
    """Return the number of columns for groups of `size` images, so that no row splits a group."""
    return MAX_COLUMNS // size * size
