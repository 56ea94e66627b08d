"""Projection of an image: the styles whose sample is most similar to it, found by optimisation.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", appendix D: Adam from the mean style, with
noise on the styles that fades, and a perceptual distance. Here styles may differ between layers (W+), and the noise
maps of the generator stay fixed: with maps of its own, almost any image can be reproduced.
"""

import math
from collections.abc import Generator as Steps
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from equipoise.core import validation
from equipoise.core.data import Preparation
from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.errors import DataError, MissingPackageError, SettingError
from equipoise.inference.generator import Generator
from equipoise.inference.image_distance import Distance, DistanceName, distance_to
from equipoise.inference.style_space import StyleStatistics, measure_styles, require_styles, sample_styles, synthesize

TASK = "projecting the image"
RAMP_UP, RAMP_DOWN = 0.05, 0.25
"""Shares of the steps in which the learning rate rises linearly at the start, and falls as a cosine at the end."""
NOISE_SCALE, NOISE_SHARE = 0.05, 0.75
"""Noise at the start as a multiple of the deviation of w, and the share of the steps after which it is 0."""

ProjectionSpace = Literal["w", "w+"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionSettings:
    """Settings of a projection; the defaults are those of Karras 2020, appendix D.

    `steps`: of the optimiser. `space`: w+ for a style per layer, w for one style in all layers, whose sample is less
    similar, but more like those that the generator was trained for. `distance`: see `image_distance.py`; pixels if the
    weights of another are missing. `lr`: highest learning rate. `seed`: of the noise. `label`: class whose mean style
    is the start; None for that of all classes.
    """

    steps: int = 1000
    space: ProjectionSpace = "w+"
    distance: DistanceName = "efficientnet_lite0"
    lr: float = 0.1
    seed: int = 0
    label: int | str | None = None

    def __post_init__(self) -> None:
        validation.check_at_least(1, steps=self.steps)
        validation.check_above(0, lr=self.lr)
        validation.check_seeds(seed=self.seed)
        if self.space not in get_args(ProjectionSpace):
            raise SettingError(f"space '{self.space}' does not exist; use w+ or w")
        if self.distance not in get_args(DistanceName):
            raise SettingError(f"distance '{self.distance}' does not exist; use one of: {_names()}")


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """Result of a projection.

    `styles`: (layers, D). `sample`: (C, H, W), of these styles. `distance`, `start_distance`: of the sample, and of
    that of the mean style, by `distance_name`. `pixel_error`: root mean squared error of the sample, on [-1, 1].
    """

    styles: Tensor
    sample: Tensor
    distance: float
    start_distance: float
    distance_name: DistanceName
    pixel_error: float


def project(
    generator: Generator,
    image: Tensor,
    settings: ProjectionSettings,
    sampling: Sampling = DEFAULT_SAMPLING,
) -> Steps[Preparation, None, Projection]:
    """Find the styles whose sample resembles an image (C, H, W), float32 in [-1, 1]. Yields progress and notes.

    The same inputs give the same bytes. `sampling`: only its noise acts. Raises SettingError for a model without
    styles, for an image of another shape than samples, and for psi.
    """
    require_styles(generator)
    generator.check_sampling(sampling)
    if sampling.psi is not None:
        raise SettingError("psi has no effect in a projection, which finds the styles themselves; omit psi")
    check_shape(generator, image)
    target = image[None].float()
    name, distance, note = _open_distance(target, settings.distance)
    if note:
        yield Preparation(TASK, 0, settings.steps, note)
    statistics = measure_styles(sample_styles(generator, settings.label))
    layers = generator.count_layers()
    start = statistics.mean.expand(1, layers, -1)
    styles = yield from _optimise(generator, distance, statistics, settings, sampling)
    samples = [synthesize(generator, point, sampling) for point in (start, styles)]
    with torch.no_grad():
        start_distance, end_distance = (float(distance(sample)) for sample in samples)
    error = float((samples[1] - target).square().mean().sqrt())
    return Projection(styles[0], samples[1][0], end_distance, start_distance, name, error)


def check_shape(generator: Generator, image: Tensor) -> None:
    """Raise SettingError for an image (C, H, W) of another shape than samples, and for a generator of other samples."""
    if not generator.spec.is_image:
        raise SettingError(f"{generator.model.name} was trained on other samples than images; use a run with images")
    expected, actual = generator.spec.shape, tuple(image.shape)
    if actual == expected:
        return
    if actual[1:] == expected[1:]:
        raise SettingError(f"the image has {actual[0]} channels, but samples of this generator have {expected[0]}")
    own, other = (f"{shape[-1]} x {shape[-2]}" for shape in (expected, actual))
    raise SettingError(
        f"the image has {other} pixels, but samples of this generator have {own}; resize it, or use --fit crop"
    )


def learning_rate(progress: float, highest: float) -> float:
    """Return the learning rate at a share of the steps, 0 to 1: Karras 2020, appendix D."""
    up, down = min(1.0, progress / RAMP_UP), min(1.0, (1 - progress) / RAMP_DOWN)
    return highest * up * (0.5 - 0.5 * math.cos(math.pi * down))


def noise_scale(progress: float, deviation: float) -> float:
    """Return the standard deviation of the noise of styles at a share of the steps, 0 to 1: 0.05 sigma_w t^2."""
    return NOISE_SCALE * deviation * max(0.0, 1 - progress / NOISE_SHARE) ** 2


def _optimise(
    generator: Generator,
    distance: Distance,
    statistics: StyleStatistics,
    settings: ProjectionSettings,
    sampling: Sampling,
) -> Steps[Preparation, None, Tensor]:
    """Return the optimised styles (1, layers, D)."""
    space, layers = require_styles(generator), generator.count_layers()
    free_layers = layers if settings.space == "w+" else 1
    styles = statistics.mean.expand(1, free_layers, -1).clone().requires_grad_(True)
    optimizer = torch.optim.Adam([styles], lr=settings.lr)
    source = torch.Generator().manual_seed(settings.seed)
    for step in range(settings.steps):
        optimizer.param_groups[0]["lr"] = learning_rate((step + 1) / (settings.steps + 1), settings.lr)
        scale = noise_scale(step / settings.steps, statistics.deviation)
        with torch.enable_grad():
            noisy = styles + scale * torch.randn(styles.shape, generator=source)
            # Clamped, with no gradient at pixels beyond the range: with one, the distance decreases more slowly.
            samples = space.synthesize(generator.networks, noisy.expand(-1, layers, -1), sampling).clamp(-1, 1)
            (styles.grad,) = torch.autograd.grad(distance(samples).sum(), styles)
        optimizer.step()
        yield Preparation(TASK, step + 1, settings.steps)
    return styles.detach().expand(-1, layers, -1).clone()


def _open_distance(target: Tensor, name: DistanceName) -> tuple[DistanceName, Distance, str]:
    """Open a distance, or that of pixels if its weights are missing; with a note on it for the user."""
    try:
        return name, distance_to(target, name), ""
    except (DataError, MissingPackageError) as error:
        return "pixels", distance_to(target, "pixels"), f"pixels are compared instead of features: {error}"


def _names() -> str:
    return ", ".join(get_args(DistanceName))
