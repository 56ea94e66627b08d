"""The space W of a generator with a mapping network: styles of samples, style mixing, and principal components.

A mapping network turns a latent z into a style w, which every layer of the synthesis network receives (Karras 2019,
section 2). W+ is the space of styles that differ between layers: (layers, D) per sample (Abdal 2019, "Image2StyleGAN").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.core.model import StyleSpace
from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.errors import SettingError
from equipoise.inference.generator import Generator, apply_in_batches

STATISTICS_COUNT = 10_000
"""Number of latents from which mean, deviation and components of w are estimated (Karras 2020, appendix D)."""


def require_styles(generator: Generator) -> StyleSpace:
    """Return the space of styles. Raises SettingError for a model without one."""
    if generator.model.styles is None:
        generator.count_layers()  # raises the error
    assert generator.model.styles is not None
    return generator.model.styles


@torch.no_grad()
def map_to_styles(
    generator: Generator, latents: Tensor, labels: Tensor | None, sampling: Sampling = DEFAULT_SAMPLING
) -> Tensor:
    """Compute styles (N, layers, D), float32, of latents (N, ...), and labels (N,) or None; psi of `sampling` acts.

    A style is the same, bit for bit, whatever it is computed with. Raises SettingError for a model without styles, and
    for an option of `sampling` that has no effect.
    """
    styles = require_styles(generator)
    generator.check_sampling(sampling)
    return apply_in_batches(
        lambda latent, condition: styles.map(generator.networks, latent, condition, sampling), latents, labels
    )


@torch.no_grad()
def synthesize(generator: Generator, styles: Tensor, sampling: Sampling = DEFAULT_SAMPLING) -> Tensor:
    """Generate samples (N, ...) from styles (N, layers, D); the noise of `sampling` has an effect, its psi does not.

    Styles of a latent give the sample of the latent, bit for bit. Raises SettingError for styles of another
    shape, which are those of another model.
    """
    space = require_styles(generator)
    generator.check_sampling(sampling)
    expected = (generator.count_layers(), *space.mean(generator.networks).shape)
    if tuple(styles.shape[1:]) != expected:
        actual, own = (" x ".join(map(str, shape)) for shape in (styles.shape[1:], expected))
        raise SettingError(f"these styles are {actual}, of another model: {generator.model.name} has {own}")
    samples = apply_in_batches(
        lambda batch, _: space.synthesize(generator.networks, batch, sampling), styles, None
    ).float()
    return samples.clamp(-1, 1) if generator.spec.is_image else samples


@dataclass(frozen=True, slots=True)
class StyleStatistics:
    """Statistics of w = f(z), of latents z as they are drawn for samples, and of one class or of each in turn.

    `mean`: (D,). `deviation`: root of the mean squared distance from the mean, sigma_w of Karras 2020, appendix D.
    `spread`: (D,) standard deviation of each number.
    """

    mean: Tensor
    deviation: float
    spread: Tensor


def sample_styles(generator: Generator, label: int | str | None = None, count: int = STATISTICS_COUNT) -> Tensor:
    """Map `count` latents of seed 0 to styles w (count, D): those of the first layer, which all layers share."""
    latents = generator.latents(count)
    return map_to_styles(generator, latents, generator.labels(count, label))[:, 0].clone()


def measure_styles(styles: Tensor) -> StyleStatistics:
    """Compute statistics of styles (N, D)."""
    mean = styles.double().mean(dim=0)
    squares = (styles.double() - mean).square()
    deviation = float(squares.sum(dim=1).mean().sqrt())
    return StyleStatistics(mean.float(), deviation, squares.mean(dim=0).sqrt().float())


@dataclass(frozen=True, slots=True)
class StyleDirections:
    """Principal components of w: the directions in which styles of samples differ most.

    `mean`: (D,) of w. `directions`: (K, D), of unit length and perpendicular. `deviations`: (K,) standard deviation of
    w along each. `shares`: (K,) share of the variance of w.
    """

    mean: Tensor
    directions: Tensor
    deviations: Tensor
    shares: Tensor


def find_directions(styles: Tensor, count: int) -> StyleDirections:
    """Compute the first `count` principal components of styles (N, D) (Härkönen 2020, "GANSpace", section 2.2).

    The sign of a direction is arbitrary: its entry of largest size is positive. Raises SettingError for more components
    than there are dimensions.
    """
    dimensions = styles.shape[1]
    if not 1 <= count <= dimensions:
        raise SettingError(f"components = {count}: it must be from 1 to {dimensions}, the dimensions of w")
    mean = styles.double().mean(dim=0)
    centred = styles.double() - mean
    variances, vectors = torch.linalg.eigh(centred.T @ centred / len(styles))
    variances, directions = variances.flip(0).clamp(min=0), vectors.T.flip(0)
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    directions = directions * torch.where(largest < 0, -1.0, 1.0)
    total = variances.sum()
    shares = variances / total.where(total > 0, torch.ones(()))
    return StyleDirections(
        mean.float(), directions[:count].float(), variances[:count].sqrt().float(), shares[:count].float()
    )


def move_along(
    styles: Tensor, directions: StyleDirections, steps: int, extent: float, layers: Sequence[int] | None = None
) -> Tensor:
    """Move styles (L, D) along each direction, by -extent to +extent standard deviations: (K, steps, L, D).

    w' = w + x v_k, in the layers of `layers` only, None for all (Härkönen 2020, section 2.3). Raises SettingError for
    fewer than 2 steps.
    """
    if steps < 2:
        raise SettingError(f"steps = {steps}: it must be at least 2, because both ends are included")
    positions = torch.linspace(-extent, extent, steps)
    changes = (directions.deviations[:, None] * directions.directions)[:, None] * positions[None, :, None]
    mask = torch.zeros(len(styles), 1)
    mask[list(range(len(styles)) if layers is None else layers)] = 1
    return styles + mask * changes[:, :, None]


def mix_styles(rows: Tensor, columns: Tensor, layers: Sequence[int]) -> Tensor:
    """Mix styles (R, L, D) with styles (C, L, D): (R, C, L, D), `layers` of the row, the others of the column.

    Style mixing of Karras 2019, section 3.1: the first layers hold coarse features, the last ones fine features.
    """
    is_row = torch.zeros(rows.shape[1], 1, dtype=torch.bool)
    is_row[list(layers)] = True
    return torch.where(is_row, rows[:, None], columns[None])


def layer_range(first: int, last: int, count: int) -> range:
    """Return the layers `first` to `last`, both included, counted from 0. Raises SettingError if they do not exist."""
    if not first <= last < count:
        reason = "the first is after the last" if first > last else f"this generator has layers 0 to {count - 1}"
        raise SettingError(f"layers {first}-{last}: {reason}")
    return range(first, last + 1)
