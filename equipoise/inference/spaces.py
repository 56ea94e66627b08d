"""The spaces in which samples are interpolated and added: Z, of latents, and W, of styles.

Both share one interface. Z: latents are Gaussian and the mapping network normalises their length, if there is one, so
that a sum of latents is a rotation at most. W: a linear space that the mapping network has learned, in which features
are less entangled (Karras 2019, section 4); it has no origin of its own, so differences from the mean are added.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.errors import SettingError
from equipoise.inference import latent_space
from equipoise.inference.generator import Generator
from equipoise.inference.latent_space import SPREAD, Interpolation, SampleId, SelectedLatents, select_latents
from equipoise.inference.style_files import holds_styles, read_latents, read_styles
from equipoise.inference.style_space import map_to_styles, measure_styles, require_styles, sample_styles, synthesize

SpaceName = Literal["z", "w"]
SampleReference = SampleId | Path
"""A sample: by seed and number, or a file of styles or latents, as `equipoise project` and the studio write it."""


class Space(Protocol):
    """A space of latents in the wider sense: latents z, or styles w."""

    @property
    def name(self) -> SpaceName:
        """The name, z or w."""

    @property
    def interpolation(self) -> Interpolation:
        """The kind of interpolation that suits the space."""

    def select(self, samples: Sequence[SampleReference], label: int | str | None = None) -> SelectedLatents:
        """Return the latents of selected samples, see `latent_space.select_latents`."""

    def generate(self, latents: Tensor, conditions: Tensor | None, /) -> Tensor:
        """Generate samples (N, ...) from latents of this space (N, ...), and labels (N,) or None."""

    def combine(self, plus: Sequence[Tensor], minus: Sequence[Tensor]) -> Tensor:
        """Add and subtract the means of groups of latents (N, ...): mean(A) - mean(B) + mean(C), (...)."""

    def neighbours(self, latent: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Add noise, uniform within a quarter of a standard deviation, to a latent: (count, ...)."""

    def lengths(self, latents: Tensor) -> Tensor:
        """Return the distances (N,) of latents (N, ...) from the centre of the space."""


@dataclass(frozen=True, slots=True)
class SpaceZ:
    """The space of latents. `sampling`: how to sample."""

    generator: Generator
    sampling: Sampling = DEFAULT_SAMPLING

    @property
    def name(self) -> SpaceName:
        """The name."""
        return "z"

    @property
    def interpolation(self) -> Interpolation:
        """Spherical: Gaussian latents of many dimensions lie near a sphere."""
        return "spherical"

    def select(self, samples: Sequence[SampleReference], label: int | str | None = None) -> SelectedLatents:
        """Return the latents of selected samples, and of files. Raises SettingError for a file of styles."""
        numbered = [sample for sample in samples if isinstance(sample, SampleId)]
        files = [sample for sample in samples if isinstance(sample, Path)]
        parts: dict[SampleReference, SelectedLatents] = {path: self._read(path) for path in files}
        if numbered:
            truncation = self.sampling.truncation
            selected = select_latents(self.generator, numbered, label=label, truncation=truncation)
            if not parts:
                return selected
            parts |= {sample: _row(selected, index) for index, sample in enumerate(numbered)}
        labels = [parts[sample].labels for sample in samples]
        known = [label for label in labels if label is not None]
        return SelectedLatents(
            torch.cat([parts[sample].latents for sample in samples]), torch.cat(known) if known else None
        )

    def generate(self, latents: Tensor, conditions: Tensor | None, /) -> Tensor:
        """Generate samples from latents."""
        return self.generator.generate(latents, conditions, self.sampling)

    def combine(self, plus: Sequence[Tensor], minus: Sequence[Tensor]) -> Tensor:
        """Add and subtract the means of groups; see `latent_space.combine_latents`."""
        return latent_space.combine_latents(plus, minus)

    def neighbours(self, latent: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Add noise to a latent; see `latent_space.neighbouring_latents`."""
        return latent_space.neighbouring_latents(latent, count, generator)

    def lengths(self, latents: Tensor) -> Tensor:
        """Return the lengths of latents."""
        lengths: Tensor = latents.flatten(1).norm(dim=1)
        return lengths

    def _read(self, path: Path) -> SelectedLatents:
        """Read the latent of a file. Raises SettingError for a file of several samples."""
        latents, labels = read_latents(path, self.generator)
        return SelectedLatents(_single(latents, path), labels)


@dataclass(frozen=True, slots=True)
class SpaceW:
    """The space of styles: latents are styles (N, layers, D), labels have been mapped with them.

    `sampling`: how to sample; psi moves the selected styles. Raises SettingError for a model without styles.
    """

    generator: Generator
    sampling: Sampling = DEFAULT_SAMPLING

    def __post_init__(self) -> None:
        require_styles(self.generator)

    @property
    def name(self) -> SpaceName:
        """The name."""
        return "w"

    @property
    def interpolation(self) -> Interpolation:
        """Linear: styles do not lie near a sphere."""
        return "linear"

    def select(self, samples: Sequence[SampleReference], label: int | str | None = None) -> SelectedLatents:
        """Return the styles of selected samples, and of files; psi acts on those of samples only."""
        numbered = [sample for sample in samples if isinstance(sample, SampleId)]
        rows = iter(())
        if numbered:
            truncation = self.sampling.truncation
            selected = select_latents(self.generator, numbered, label=label, truncation=truncation)
            rows = iter(map_to_styles(self.generator, selected.latents, selected.labels, self.sampling))
        parts = [self._read(sample) if isinstance(sample, Path) else next(rows)[None] for sample in samples]
        return SelectedLatents(torch.cat(parts), None)

    def generate(self, latents: Tensor, conditions: Tensor | None, /) -> Tensor:
        """Generate samples from styles; `conditions` are part of them."""
        return synthesize(self.generator, latents, self.sampling)

    def combine(self, plus: Sequence[Tensor], minus: Sequence[Tensor]) -> Tensor:
        """Add and subtract the means of groups, as differences from the mean style: (layers, D).

        The mean style counts as 0. With one more group added than subtracted, it has no effect on the result.
        """
        mean = self._mean
        return mean + latent_space.combine_latents([group - mean for group in plus], [group - mean for group in minus])

    def neighbours(self, latent: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Add the same noise to the style of every layer, in units of the standard deviations of w."""
        spread = measure_styles(sample_styles(self.generator, count=1000)).spread
        noise = torch.rand(count, 1, len(spread), generator=generator)
        return latent + SPREAD * spread * (2 * noise - 1)

    def lengths(self, latents: Tensor) -> Tensor:
        """Return the distances of styles from the mean style, the root of the mean square over layers."""
        return (latents - self._mean).square().sum(dim=2).mean(dim=1).sqrt()

    def _read(self, path: Path) -> Tensor:
        """Read the styles (1, layers, D) of a file. Raises SettingError for a file of several samples."""
        return _single(read_styles(path, self.generator), path)

    @property
    def _mean(self) -> Tensor:
        return require_styles(self.generator).mean(self.generator.networks)


def space_of_samples(
    generator: Generator,
    samples: Sequence[SampleReference],
    name: SpaceName | None = None,
    sampling: Sampling = DEFAULT_SAMPLING,
) -> Space:
    """Return the space in which samples are drawn: W if one of them is a file of styles, Z otherwise.

    Numbered samples are the same in both. Raises SettingError as :func:`open_space`.
    """
    paths = [sample for sample in samples if isinstance(sample, Path)]
    has_styles = generator.model.styles is not None and any(map(holds_styles, paths))
    return open_space(generator, name or ("w" if has_styles else "z"), sampling)


def _single(latents: Tensor, path: Path) -> Tensor:
    if len(latents) != 1:
        raise SettingError(f"{path} holds the styles of {len(latents):,} samples; use a file of one sample")
    return latents


def _row(selected: SelectedLatents, index: int) -> SelectedLatents:
    row = slice(index, index + 1)
    return SelectedLatents(selected.latents[row], None if selected.labels is None else selected.labels[row])


def open_space(generator: Generator, name: SpaceName | None = None, sampling: Sampling = DEFAULT_SAMPLING) -> Space:
    """Return a space of a generator; None: W for a model with styles, otherwise Z.

    Raises SettingError for W of a model without styles, and for an option of `sampling` that has no effect.
    """
    if name not in (None, *get_args(SpaceName)):
        raise SettingError(f"space '{name}' does not exist; use z or w")
    generator.check_sampling(sampling)
    if name == "w" or (name is None and generator.model.styles is not None):
        return SpaceW(generator, sampling)
    return SpaceZ(generator, sampling)
