"""How samples are laid out to be looked at: alone, or each beside its input and the sample that it should be."""

from dataclasses import dataclass

import torch
from torch import Tensor

WIDE = 9
"""Images in a row at the most where several belong together: a film has room for ten of 32 pixels, twice as large."""


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """What stands where. `count`: so many of the preview are shown, None for all. `columns`: of the grid, None for any.

    `source`, `truth`: (count, C, H, W) in [-1, 1], left and right of each sample; None for nothing there.
    """

    count: int | None = None
    columns: int | None = None
    source: Tensor | None = None
    truth: Tensor | None = None

    @property
    def shows(self) -> tuple[str, ...]:
        """What each group of images holds, in order; empty where samples stand alone."""
        parts = (("input", self.source), ("output", self), ("truth", self.truth))
        named = tuple(name for name, part in parts if part is not None)
        return named if len(named) > 1 else ()

    def laid_out(self, made: Tensor) -> Tensor:
        """Samples (count, ...) and what belongs beside each, in the order of a grid."""
        return side_by_side([part for part in (self.source, made, self.truth) if part is not None])


def side_by_side(parts: list[Tensor]) -> Tensor:
    """(N, C, H, W) each, in turn: the first of all, the second of all. Grey images become colour ones beside such."""
    if len(parts) == 1:
        return parts[0]
    channels = max(part.shape[1] for part in parts)
    return torch.stack([part.expand(-1, channels, -1, -1) for part in parts], dim=1).flatten(0, 1)


def columns_of(parts: int) -> int:
    """Columns of a grid of groups of so many, which no row breaks."""
    return WIDE // parts * parts
