"""A plane of latents: samples of seeds at integer points, interpolated latents between them.

The integer point (x, y) is sample 0 of seed x + 100 y, modulo 2^32, as in the viewer of StyleGAN 3 (Karras 2021).
Between four of them latents are interpolated bilinearly: first along x, then along y; on the sphere for z, linearly
for w.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from equipoise.errors import SettingError
from equipoise.inference.latent_space import INTERPOLATIONS, Interpolation, SampleId, SelectedLatents
from equipoise.inference.spaces import Space

ROW = 100
"""Difference of the seeds of two points that lie above each other."""
SEEDS = 2**32
MAX_COORDINATE = 1e6

Point = tuple[float, float]
"""Coordinates x, to the right, and y, down."""


def seed_at(x: int, y: int) -> int:
    """Return the seed of an integer point."""
    return (x + ROW * y) % SEEDS


def select_plane(space: Space, points: Sequence[Point], label: int | str | None = None) -> SelectedLatents:
    """Return the latents (N, ...) of points of the plane in a space; `label`: class of all, None for the first one.

    At an integer point they are those of its sample, bit for bit. Raises SettingError for a point too far away.
    """
    for point in points:
        if not all(math.isfinite(value) and abs(value) <= MAX_COORDINATE for value in point):
            raise SettingError(f"point {point[0]:g}, {point[1]:g}: coordinates must be within ±{MAX_COORDINATE:,.0f}")
    cells = [(math.floor(x), math.floor(y)) for x, y in points]
    corners = list(dict.fromkeys(seed_at(x + dx, y + dy) for x, y in cells for dx in (0, 1) for dy in (0, 1)))
    selected = space.select([SampleId(seed, 0) for seed in corners], label)
    latents = dict(zip(corners, selected.latents, strict=True))
    mixed = []
    for (x, y), (left, top) in zip(points, cells, strict=True):
        rows = [
            _between(latents[seed_at(left, row)], latents[seed_at(left + 1, row)], x - left, space.interpolation)
            for row in (top, top + 1)
        ]
        mixed.append(_between(rows[0], rows[1], y - top, space.interpolation))
    labels = None if selected.labels is None else selected.labels[:1].repeat_interleave(len(points), dim=0)
    return SelectedLatents(torch.stack(mixed), labels)


def _between(start: Tensor, end: Tensor, share: float, kind: Interpolation) -> Tensor:
    return start if share == 0 else INTERPOLATIONS[kind](start[None], end[None], share)[0]
