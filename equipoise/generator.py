"""A trained generator, taken out of its run folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from equipoise import bounds, runs
from equipoise.base import DataSpec, Gan
from equipoise.errors import CheckpointError, SettingError
from equipoise.experiment import data_of, from_values, recipe_of
from equipoise.training import checkpoint

PIECE = 250
"""Samples made at once."""
MOST = 10**9
"""Samples of one call."""


@dataclass(frozen=True, slots=True)
class Generator:
    """Samples from the averaged networks of a run. `step` is the training step they stem from."""

    gan: Gan[Any]
    networks: dict[str, nn.Module]
    spec: DataSpec
    step: int

    def sample(self, count: int, *, label: int | None = None, truncation: float | None = None, seed: int = 0) -> Tensor:
        """(count, ...) float32 in the range of the data, [-1, 1] for images; the same seed gives the same samples.

        `label`: of all samples; None gives every class in turn. `truncation` T > 0: latents within [-T, T], closer to
        the mean sample and less diverse (Brock 2019). Raises SettingError for a label that there is not.
        """
        return self.make(self.latents(count, truncation=truncation, seed=seed), self.labels(count, label))

    def latents(self, count: int, *, truncation: float | None = None, seed: int = 0) -> Tensor:
        """(count, ...) float32, what samples are made from.

        Raises SettingError for a count or truncation of 0, and for what is no seed.
        """
        if not 1 <= count <= MOST:
            raise SettingError(f"count = {count}: it must be at {'least 1' if count < 1 else f'most {MOST:,}'}")
        bounds.seeds(seed=seed)
        if truncation is not None and not truncation > 0:
            raise SettingError(f"truncation = {truncation:g}: it must be above 0; smaller is closer to the mean sample")
        return self.gan.latent(count, torch.Generator().manual_seed(seed), truncation)

    def labels(self, count: int, label: int | None = None) -> Tensor | None:
        """(count,) int64, all `label`, or every class in turn if it is None; None for a GAN without labels.

        Raises SettingError for a label that there is not, and for a generator that makes images of images.
        """
        classes = self.gan.conditions
        if self.gan.source is not None:
            raise SettingError(f"{self.gan.name} makes images of images; give it some: equipoise translate RUN FOLDER")
        if label is None:
            return torch.arange(count) % classes if classes else None
        if not classes:
            raise SettingError("this generator was trained without labels; leave --label out")
        if not 0 <= label < classes:
            raise SettingError(f"there is no label {label}; labels run from 0 to {classes - 1}")
        return torch.full((count,), label)

    @property
    def log_likelihood(self) -> Callable[[Tensor], Tensor] | None:
        """(N,) nats given to samples (N, ...); None for a generator that cannot tell."""
        found = self.gan.log_likelihood
        return None if found is None else lambda samples: found(self.networks, samples)

    @torch.no_grad()
    def make(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """The samples (N, ...) of latents (N, ...), of these labels (N,) or inputs (N, ...); None for a GAN without."""
        pieces = [slice(start, start + PIECE) for start in range(0, len(latents), PIECE)]
        made = [
            self.gan.generate(self.networks, latents[rows], None if labels is None else labels[rows]) for rows in pieces
        ]
        return torch.cat(made).float()

    def translate(self, images: Tensor, *, back: bool = False) -> Tensor:
        """Images (N, C, S, S) float32 in [-1, 1] -> (N, C', S, S), of a generator that makes images of images.

        `back`: from samples to inputs, where a game has learnt that too. Raises SettingError for a generator that does
        not, and for images of another shape.
        """
        gan = self.gan
        shape = self.spec.shape if back else gan.source
        if gan.source is None or shape is None or (back and gan.back is None):
            raise SettingError(
                f"{gan.name} has not learnt to make {'inputs of samples' if back else 'images of images'}"
            )
        if tuple(images.shape[1:]) != shape:
            given, wanted = (" x ".join(map(str, part)) for part in (images.shape[1:], shape))
            raise SettingError(f"these images are {given} and this generator takes {wanted}; bring them to that")
        if not back or gan.back is None:
            return self.make(gan.latent(len(images), torch.Generator(), None), images)
        with torch.no_grad():
            return torch.cat([gan.back(self.networks, piece) for piece in torch.split(images, PIECE)])


def load(folder: str | Path) -> Generator:
    """The generator of a run, finished or not: the final weights, else those of the last checkpoint.

    Raises RunError if the folder is no run, CheckpointError if it has no weights, or none that fit.
    """
    run = runs.Run(Path(folder))
    experiment = from_values(run.experiment(), str(run.folder / runs.EXPERIMENT))
    data = data_of(experiment)
    gan = recipe_of(experiment).build(data.spec, torch.Generator().manual_seed(0))
    networks = {name: gan.networks[name].eval().requires_grad_(False) for name in gan.averaged}
    step = 0
    for name, network in networks.items():
        found = weights(run, name)
        checkpoint.check_shapes(network.state_dict(), found.tensors, name, found.source)
        network.load_state_dict(found.tensors)
        step = found.step
    return Generator(gan, {**gan.networks, **networks}, data.spec, step)


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of one network by their names in its state_dict, the file they are from, and the step then."""

    tensors: Mapping[str, Tensor]
    source: str
    step: int


def weights(run: runs.Run, name: str, *, averaged: bool = True) -> Weights:
    """Weights of one network: the final ones, or a newer checkpoint's; of its running average if it is `averaged`.

    Raises CheckpointError if there are none, or they cannot be read.
    """
    saved = checkpoint.find(run.checkpoints)
    path = run.folder / f"{name}.safetensors"
    try:
        if path.exists():
            with safe_open(path, framework="pt") as file:
                step = int(file.metadata()["step"])
            if not saved or saved[-1].name <= checkpoint.name_of(step):
                return Weights(load_file(path), str(path), step)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read; delete it and the last checkpoint is used") from error
    if not saved:
        raise CheckpointError(f"{run.folder} has no weights yet; let it train to its first checkpoint")
    loaded = checkpoint.read(saved[-1])
    prefix = f"{'averaged' if averaged else 'network'}/{name}/"
    tensors = {key.removeprefix(prefix): value for key, value in loaded.tensors.items() if key.startswith(prefix)}
    return Weights(tensors, str(saved[-1]), loaded.step)
