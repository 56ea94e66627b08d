"""Ways through the latent space of a generator: interpolation, and arithmetic with the latents of chosen samples."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from equipoise.errors import SettingError
from equipoise.inference.generator import Generator

Interpolation = Literal["linear", "spherical"]

BLOCK = 64
"""Latents are drawn in so many or a multiple of it: torch's normal numbers come in blocks of 16, and a last block that
is not full is drawn otherwise, so that a latent would depend on how many follow it."""
MAX_SAMPLE_NUMBER = 100_000
"""Samples that can be chosen by number."""
SPREAD = 0.25
"""Half the width of the uniform noise that makes neighbours of a latent (Radford 2016, figure 7)."""
OPPOSITE = 1e-9
"""Directions this close to opposite, in radians, count as opposite; closer, float64 loses the plane they span."""


@dataclass(frozen=True, slots=True)
class SampleId:
    """A sample by its number among those of a seed, as `equipoise sample --seed` counts them, from 0."""

    seed: int
    number: int

    def __str__(self) -> str:
        return f"{self.seed}/{self.number}"


@dataclass(frozen=True, slots=True)
class SelectedLatents:
    """`latents`: (N, ...) float32. `labels`: (N,) int64, None for a GAN without."""

    latents: Tensor
    labels: Tensor | None


def select_latents(
    generator: Generator, picks: Sequence[SampleId], *, label: int | None = None, truncation: float | None = None
) -> SelectedLatents:
    """The latents and labels of samples chosen by number; `label`, `truncation`: as `Generator.sample` has them.

    Raises SettingError for a number below 0 or above any sheet.
    """
    for each in picks:
        if not 0 <= each.number < MAX_SAMPLE_NUMBER:
            raise SettingError(f"there is no sample {each.number}; numbers run from 0 to {MAX_SAMPLE_NUMBER - 1:,}")
    last = max((each.number for each in picks), default=0)
    count = math.ceil((last + 1) / BLOCK) * BLOCK
    drawn = {seed: generator.latents(count, truncation=truncation, seed=seed) for seed in {p.seed for p in picks}}
    labels = generator.labels(count, label)
    return SelectedLatents(
        torch.stack([drawn[each.seed][each.number] for each in picks]),
        None if labels is None else labels[[each.number for each in picks]],
    )


def lerp(start: Tensor, end: Tensor, t: float) -> Tensor:
    """(1 - t) start + t end."""
    return (1 - t) * start + t * end


def slerp(start: Tensor, end: Tensor, t: float) -> Tensor:
    """From start to end, both (N, ...), along great circles: the direction turns evenly, the length changes evenly.

    With unit vectors a, b and the angle w between them: (sin((1 - t) w) a + sin(t w) b) / sin w (Shoemake 1985,
    section 3.3). White 2016 (Sampling Generative Networks, section 2.1) brought it to latents: Gaussian ones of many
    dimensions lie near a sphere, which the straight way leaves. He weighs the vectors as they are; then the length has
    no bound where they are nearly opposite and of different length, which in few dimensions they often are. Here it
    stays between the two, and for equal lengths both are the same.

    Between parallel vectors the way is straight, and to or from zero, which has no direction. Between opposite ones,
    which any great circle joins, it goes by the axis that they are most perpendicular to.
    """
    a, b = start.flatten(1).double(), end.flatten(1).double()
    lengths = [vector.norm(dim=1, keepdim=True) for vector in (a, b)]
    zero = (lengths[0] == 0) | (lengths[1] == 0)
    a, b = (vector / length.where(length > 0, 1.0) for vector, length in zip((a, b), lengths, strict=True))
    # Kahan's angle: exact near 0 and pi, where the arc cosine of a product loses half the digits.
    angle = 2 * torch.atan2((a - b).norm(dim=1, keepdim=True), (a + b).norm(dim=1, keepdim=True))
    opposite = angle > math.pi - OPPOSITE
    b = torch.where(opposite, _perpendicular(a), b)
    turned, whole = torch.where(opposite, t * math.pi, t * angle), torch.where(opposite, math.pi / 2, angle)
    sine = whole.sin()
    parallel = sine == 0
    direction = ((whole - turned).sin() * a + turned.sin() * b) / sine.where(~parallel, 1.0)
    direction = torch.where(parallel, a, direction)
    way = lerp(lengths[0], lengths[1], t) * direction
    straight = lerp(start.flatten(1).double(), end.flatten(1).double(), t)
    return torch.where(zero, straight, way).to(start.dtype).reshape(start.shape)


INTERPOLATIONS: Mapping[Interpolation, Callable[[Tensor, Tensor, float], Tensor]] = {"linear": lerp, "spherical": slerp}


def interpolation_path(start: Tensor, end: Tensor, steps: int, kind: Interpolation = "spherical") -> Tensor:
    """(steps, N, ...): from start (N, ...) to end (N, ...), both included. Raises SettingError for under 2 steps."""
    if steps < 2:
        raise SettingError(f"steps = {steps}: it must be at least 2, for both ends are shown")
    between = [INTERPOLATIONS[kind](start, end, step / (steps - 1)) for step in range(1, steps - 1)]
    return torch.stack([start, *between, end])


def interpolation_loop(stops: Tensor, steps: int, kind: Interpolation = "spherical") -> Tensor:
    """(S steps, N, ...): through stops (S, N, ...) and back to the first, `steps` from each to the next.

    Played again and again nothing is shown twice. Raises SettingError for one stop, or for no steps.
    """
    if len(stops) < 2:
        raise SettingError(f"stops = {len(stops)}: it must be at least 2, for a loop goes from one to the next")
    if steps < 1:
        raise SettingError(f"steps = {steps}: it must be at least 1")
    onward = zip(stops, stops.roll(-1, 0), strict=True)
    return torch.stack([INTERPOLATIONS[kind](a, b, step / steps) for a, b in onward for step in range(steps)])


def generate_strip(generator: Generator, start: SelectedLatents, end: SelectedLatents, steps: int, kind: Interpolation = "spherical") -> Tensor:
    """(N, steps, ...) samples: a row from each of `start` to each of `end`, in the class of its start."""
    latents = interpolation_path(start.latents, end.latents, steps, kind).transpose(0, 1)
    labels = None if start.labels is None else start.labels.repeat_interleave(steps)
    made = generator.make(latents.flatten(0, 1), labels)
    return made.reshape(-1, steps, *made.shape[1:])


def generate_film(generator: Generator, stops: Sequence[SelectedLatents], steps: int, kind: Interpolation = "spherical") -> Iterator[Tensor]:
    """Frames (N, ...) of samples that walk the loop of their stops, each in the class that it has at the first."""
    way = interpolation_loop(torch.stack([stop.latents for stop in stops]), steps, kind)
    return (generator.make(latents, stops[0].labels) for latents in way)


def combine_latents(plus: Sequence[Tensor], minus: Sequence[Tensor]) -> Tensor:
    """Means of groups of latents (N, ...), added and subtracted: mean(A) - mean(B) + mean(C), (...).

    Radford 2016, section 6.3.2: single samples gave unstable results, means of three good ones. Three groups of three
    Gaussian latents give a result as long as any latent is: its variance is the sum of 1 / N over the groups.
    """
    signed = [(1, group) for group in plus] + [(-1, group) for group in minus]
    return torch.stack([sign * group.mean(0) for sign, group in signed]).sum(0)


def neighbouring_latents(latent: Tensor, count: int, generator: torch.Generator, spread: float = SPREAD) -> Tensor:
    """(count, ...): the latent plus noise, uniform within [-spread, spread] (Radford 2016, figure 7)."""
    noise = torch.rand(count, *latent.shape, generator=generator, device=latent.device)
    return latent + spread * (2 * noise - 1)


def _perpendicular(unit: Tensor) -> Tensor:
    """A unit vector perpendicular to each of (N, D), from the axis of its smallest number; zeros where D is 1."""
    axis = torch.zeros_like(unit).scatter_(1, unit.abs().argmin(1, keepdim=True), 1.0)
    left = axis - (axis * unit).sum(1, keepdim=True) * unit
    length: Tensor = left.norm(dim=1, keepdim=True)
    return left / length.where(length > 0, 1.0)
