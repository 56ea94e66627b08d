"""Points in the plane with shapes that no other data set of the package has, for the training of policies.

Controllers are compared on other data sets, such as ring and grid. There are few training reals, so that a
discriminator can memorise them. The points are computed, so there is no licence and no digest.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from equipoise.core.data import DataSpec, Suggestion
from equipoise.meta._synthetic import SyntheticData, generator_for

__all__ = ["Points"]

Shape = Literal["moons", "spirals", "pinwheel", "checkerboard", "clusters", "cross"]


@dataclass(frozen=True, slots=True)
class Points(SyntheticData):
    """Points (2,) float32 within about [-1.5, 1.5]. Raises SettingError for fewer than two reals.

    `shape`: moons (two half circles), spirals (two arms), pinwheel (five bent arms), checkerboard (eight squares),
    clusters (seven Gaussians of different position, width and weight), cross (two thin bars).
    """

    distribution_options: ClassVar[tuple[str, ...]] = ("shape", "noise", "draw")
    """Options that define the distribution."""

    shape: Shape = "moons"
    """shape of the distribution"""
    reals: int = 512
    """number of training reals; held-out reals are unlimited"""
    noise: float = 0.03
    """standard deviation of the noise on each coordinate"""
    draw: int = 0
    """seed of the reals, and of the positions of clusters"""

    @property
    def spec(self) -> DataSpec:
        """Shape of the points: two coordinates, without labels."""
        return DataSpec((2,))

    @property
    def suggestion(self) -> Suggestion:
        """Defaults for a run of seconds on one core."""
        return Suggestion(model="mlp", steps=500, batch_size=64, metric="equipoise.meta.held_out")

    def sample(self, count: int, generator: Generator) -> Tensor:
        """Sample (count, 2) float32."""
        points = SHAPES[self.shape](count, generator, self.draw)
        return points + self.noise * torch.randn(count, 2, generator=generator)


def _moons(count: int, generator: Generator, draw: int) -> Tensor:
    angle = math.pi * torch.rand(count, generator=generator)
    lower = torch.rand(count, generator=generator) < 0.5
    upper = torch.stack([torch.cos(angle) - 0.5, torch.sin(angle) - 0.25], 1)
    return torch.where(lower[:, None], -upper, upper)


def _spirals(count: int, generator: Generator, draw: int) -> Tensor:
    along = torch.rand(count, generator=generator).sqrt()
    side = 2.0 * (torch.rand(count, generator=generator) < 0.5) - 1
    angle = 3 * math.pi * along
    return (side * 1.2 * along)[:, None] * torch.stack([torch.cos(angle), torch.sin(angle)], 1)


def _pinwheel(count: int, generator: Generator, draw: int) -> Tensor:
    along = 0.2 + torch.rand(count, generator=generator)
    arm = torch.randint(5, (count,), generator=generator)
    angle = 2 * math.pi * arm / 5 + along
    across = 0.08 * torch.randn(count, generator=generator)
    radial = torch.stack([torch.cos(angle), torch.sin(angle)], 1)
    return along[:, None] * radial + across[:, None] * torch.stack([-torch.sin(angle), torch.cos(angle)], 1)


def _checkerboard(count: int, generator: Generator, draw: int) -> Tensor:
    row = torch.randint(4, (count,), generator=generator)
    column = 2 * torch.randint(2, (count,), generator=generator) + row % 2
    return (torch.stack([column, row], 1) + torch.rand(count, 2, generator=generator)) * 0.6 - 1.2


def _clusters(count: int, generator: Generator, draw: int) -> Tensor:
    positions = generator_for(draw, "places", 0)
    means = 2.4 * torch.rand(7, 2, generator=positions) - 1.2
    stds = 0.02 + 0.15 * torch.rand(7, generator=positions)
    which = torch.multinomial(0.3 + torch.rand(7, generator=positions), count, replacement=True, generator=generator)
    return means[which] + stds[which, None] * torch.randn(count, 2, generator=generator)


def _cross(count: int, generator: Generator, draw: int) -> Tensor:
    long = 2.4 * torch.rand(count, generator=generator) - 1.2
    upright = torch.rand(count, generator=generator) < 0.5
    bar = torch.stack([long, torch.zeros_like(long)], 1)
    return torch.where(upright[:, None], bar.flip(1), bar)


SHAPES: Mapping[Shape, Callable[[int, Generator, int], Tensor]] = {
    "moons": _moons,
    "spirals": _spirals,
    "pinwheel": _pinwheel,
    "checkerboard": _checkerboard,
    "clusters": _clusters,
    "cross": _cross,
}
