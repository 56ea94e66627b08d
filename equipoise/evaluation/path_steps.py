"""Samples at both ends of short steps between latents, for path lengths."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.core.metric import PathMetric
from equipoise.core.sampling import DEFAULT_SAMPLING, NOISY_SAMPLERS, Sampling
from equipoise.errors import SettingError, UndefinedMetricError
from equipoise.evaluation.samples import choose_labels
from equipoise.inference.generator import Generator
from equipoise.inference.latent_space import lerp, slerp
from equipoise.inference.style_space import map_to_styles, synthesize

Interpolate = Callable[[Tensor, Tensor, Tensor], Tensor]


class PathSteps(NamedTuple):
    """Samples (N, ...) at the start and at the end of N steps."""

    starts: Tensor
    ends: Tensor


def sample_path_steps(
    generator: Generator,
    count: int,
    seed: int,
    labels: Tensor | None,
    metric: PathMetric,
    sampling: Sampling = DEFAULT_SAMPLING,
) -> PathSteps:
    """Generate samples at both ends of `count` steps, as the metric defines them.

    A step has one label, one of `labels` (M,), at both ends, and the same noise in all layers. Raises SettingError for
    a model without latents, and for steps between styles of a model that has none; UndefinedMetricError for a sampler
    that adds noise in every step.
    """
    model = generator.model
    if model.source is not None:
        raise SettingError(f"{model.name} has no latents: it translates images; remove the metric")
    sampler = None if model.denoising is None else model.denoising.sampler(sampling)
    if sampler in NOISY_SAMPLERS:
        raise UndefinedMetricError(
            f"the sampler {sampler} adds other noise for every latent, so near latents have no near samples; use "
            "--sampler ddim"
        )
    latents = [generator.latents(count, truncation=sampling.truncation, seed=number) for number in (seed, seed + 1)]
    shares = torch.rand(count, 1, generator=torch.Generator().manual_seed(seed + 2)).double()
    if metric.sampling == "end":
        shares = torch.zeros_like(shares)
    step_labels = choose_labels(generator, count, seed, labels)
    if metric.space == "z":
        ends = [_between(latents, shares + offset, slerp) for offset in (0.0, metric.epsilon)]
        return PathSteps(*(generator.generate(points, step_labels, sampling) for points in ends))
    if model.styles is None:
        raise SettingError(f"{model.name} has no mapping network, so it has no path lengths in w; use ppl:z_full")
    styles = [map_to_styles(generator, part, step_labels, sampling) for part in latents]
    ends = [_between(styles, shares + offset, lerp) for offset in (0.0, metric.epsilon)]
    return PathSteps(*(synthesize(generator, points, sampling) for points in ends))


def _between(points: Sequence[Tensor], shares: Tensor, interpolate: Interpolate) -> Tensor:
    """Return the points (N, ...) on the paths between two sets of N points, after shares (N, 1) of the paths."""
    start, end = points
    return interpolate(start.flatten(1).double(), end.flatten(1).double(), shares).view(start.shape).to(start.dtype)
