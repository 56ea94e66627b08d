"""Interpolation and arithmetic in the latent space of a generator."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from equipoise.errors import SettingError
from equipoise.inference.generator import Generator

Interpolation = Literal["linear", "spherical"]


class LatentDecoder(Protocol):
    """Maps latents, and labels or None, to samples: a generator, or one of its spaces (see `spaces.py`)."""

    def generate(self, latents: Tensor, conditions: Tensor | None, /) -> Tensor:
        """Generate samples (N, ...) from latents (N, ...), and labels (N,) or None."""


MAX_NUMBER = 100_000
"""Upper limit of the number of a selected sample."""
SPREAD = 0.25
"""Half the width of the uniform noise for neighbours of a latent (Radford 2016, figure 7)."""
OPPOSITE_TOLERANCE = 1e-9
"""Two directions count as opposite if their angle differs from pi by less than this, in radians: float64 cannot
represent the plane that they span."""


@dataclass(frozen=True, slots=True)
class SampleId:
    """A sample by its seed and its number among the samples of that seed, from 0, as `equipoise sample` orders them."""

    seed: int
    number: int

    def __str__(self) -> str:
        return f"{self.seed}/{self.number}"


@dataclass(frozen=True, slots=True)
class SelectedLatents:
    """Latents (N, ...) float32 of selected samples, and their labels (N,) int64; None for a model without labels."""

    latents: Tensor
    labels: Tensor | None


def select_latents(
    generator: Generator,
    samples: Sequence[SampleId],
    *,
    label: int | str | None = None,
    truncation: float | None = None,
) -> SelectedLatents:
    """Return the latents and labels of selected samples; `label`, `truncation`: as in `Generator.sample`.

    Raises SettingError for a number out of range.
    """
    for sample in samples:
        if not 0 <= sample.number < MAX_NUMBER:
            raise SettingError(f"sample number {sample.number} does not exist; numbers are 0 to {MAX_NUMBER - 1:,}")
    count = max((sample.number for sample in samples), default=0) + 1
    latents = {
        seed: generator.latents(count, truncation=truncation, seed=seed) for seed in {sample.seed for sample in samples}
    }
    labels = generator.labels(count, label)
    return SelectedLatents(
        torch.stack([latents[sample.seed][sample.number] for sample in samples]),
        None if labels is None else labels[[sample.number for sample in samples]],
    )


def lerp(start: Tensor, end: Tensor, t: float | Tensor) -> Tensor:
    """Interpolate linearly: (1 - t) start + t end, for tensors of the same shape; t in [0, 1], one or one per row."""
    return (1 - t) * start + t * end


def slerp(start: Tensor, end: Tensor, t: float | Tensor) -> Tensor:
    """Interpolate from start to end, both (N, ...), along great circles, with the length changing linearly.

    `t`: in [0, 1], one or one per row, (N, 1).

    With unit vectors a, b and the angle w between them: (sin((1 - t) w) a + sin(t w) b) / sin w (Shoemake 1985,
    section 3.3). White 2016 (Sampling Generative Networks, section 2.1) introduced it for latents: Gaussian latents of
    many dimensions lie near a sphere, which linear interpolation leaves. White weights the vectors without normalising
    them; then the length is unbounded for nearly opposite vectors of different lengths, which are common in few
    dimensions. Here the length stays between both, and for equal lengths the results are the same.

    Parallel vectors, and zero vectors, which have no direction, are interpolated linearly. Opposite vectors are joined
    by infinitely many great circles; the path goes through the axis that is most perpendicular to them.
    """
    a, b = start.flatten(1).double(), end.flatten(1).double()
    lengths = [vector.norm(dim=1, keepdim=True) for vector in (a, b)]
    zero = (lengths[0] == 0) | (lengths[1] == 0)
    a, b = (vector / length.where(length > 0, 1.0) for vector, length in zip((a, b), lengths, strict=True))
    # Kahan's angle: exact near 0 and pi, where the arc cosine of a product loses half the digits.
    angle = 2 * torch.atan2((a - b).norm(dim=1, keepdim=True), (a + b).norm(dim=1, keepdim=True))
    opposite = angle > math.pi - OPPOSITE_TOLERANCE
    b = torch.where(opposite, _perpendicular(a), b)
    partial_angle, whole_angle = (
        torch.where(opposite, t * math.pi, t * angle),
        torch.where(opposite, math.pi / 2, angle),
    )
    sine = whole_angle.sin()
    parallel = sine == 0
    direction = ((whole_angle - partial_angle).sin() * a + partial_angle.sin() * b) / sine.where(~parallel, 1.0)
    direction = torch.where(parallel, a, direction)
    spherical = lerp(lengths[0], lengths[1], t) * direction
    linear = lerp(start.flatten(1).double(), end.flatten(1).double(), t)
    return torch.where(zero, linear, spherical).to(start.dtype).reshape(start.shape)


INTERPOLATIONS: Mapping[Interpolation, Callable[[Tensor, Tensor, float], Tensor]] = {
    "linear": lerp,
    "spherical": slerp,
}


def interpolation_path(start: Tensor, end: Tensor, steps: int, kind: Interpolation = "spherical") -> Tensor:
    """Interpolate from start (N, ...) to end (N, ...), both included: (steps, N, ...).

    Raises SettingError for fewer than 2 steps.
    """
    if steps < 2:
        raise SettingError(f"steps = {steps}: it must be at least 2, because both ends are included")
    between = [INTERPOLATIONS[kind](start, end, step / (steps - 1)) for step in range(1, steps - 1)]
    return torch.stack([start, *between, end])


def interpolation_loop(stops: Tensor, steps: int, kind: Interpolation = "spherical") -> Tensor:
    """Interpolate through stops (S, N, ...) and back to the first, `steps` from each to the next: (S steps, N, ...).

    The first stop is not repeated at the end, so that a film can be played in a loop. Raises SettingError for fewer
    than 2 stops or 1 step.
    """
    if len(stops) < 2:
        raise SettingError(f"stops = {len(stops)}: it must be at least 2")
    if steps < 1:
        raise SettingError(f"steps = {steps}: it must be at least 1")
    pairs = zip(stops, stops.roll(-1, 0), strict=True)
    return torch.stack([INTERPOLATIONS[kind](a, b, step / steps) for a, b in pairs for step in range(steps)])


def generate_strip(
    generator: LatentDecoder,
    start: SelectedLatents,
    end: SelectedLatents,
    steps: int,
    kind: Interpolation = "spherical",
) -> Tensor:
    """Generate samples (N, steps, ...): a row from each start to each end, with the label of its start."""
    latents = interpolation_path(start.latents, end.latents, steps, kind).transpose(0, 1)
    labels = None if start.labels is None else start.labels.repeat_interleave(steps, dim=0)
    samples = generator.generate(latents.flatten(0, 1), labels)
    return samples.reshape(-1, steps, *samples.shape[1:])


def generate_film(
    generator: LatentDecoder, stops: Sequence[SelectedLatents], steps: int, kind: Interpolation = "spherical"
) -> Iterator[Tensor]:
    """Yield frames (N, ...) of samples that move along the loop of their stops, with the labels of the first stop."""
    path = interpolation_loop(torch.stack([stop.latents for stop in stops]), steps, kind)
    return (generator.generate(latents, stops[0].labels) for latents in path)


def combine_latents(plus: Sequence[Tensor], minus: Sequence[Tensor]) -> Tensor:
    """Add and subtract the means of groups of latents (N, ...): mean(A) - mean(B) + mean(C), (...).

    Radford 2016, section 6.3.2: single samples gave unstable results, means of three good ones. Three groups of three
    Gaussian latents give a result of the usual length: its variance is the sum of 1 / N over the groups.
    """
    signed = [(1, group) for group in plus] + [(-1, group) for group in minus]
    return torch.stack([sign * group.mean(0) for sign, group in signed]).sum(0)


def neighbouring_latents(latent: Tensor, count: int, generator: torch.Generator, spread: float = SPREAD) -> Tensor:
    """Add noise, uniform within [-spread, spread], to a latent: (count, ...) (Radford 2016, figure 7)."""
    noise = torch.rand(count, *latent.shape, generator=generator, device=latent.device)
    return latent + spread * (2 * noise - 1)


def _perpendicular(unit: Tensor) -> Tensor:
    """Return unit vectors perpendicular to unit vectors (N, D), towards the axis of their smallest entry; 0 if D =
    1."""
    axis = torch.zeros_like(unit).scatter_(1, unit.abs().argmin(1, keepdim=True), 1.0)
    remainder = axis - (axis * unit).sum(1, keepdim=True) * unit
    length: Tensor = remainder.norm(dim=1, keepdim=True)
    return remainder / length.where(length > 0, 1.0)
