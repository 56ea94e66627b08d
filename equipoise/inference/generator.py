"""A trained generator, taken out of its run folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from equipoise.core import validation as bounds
from equipoise.core.data import DataSpec
from equipoise.core.model import Model
from equipoise.errors import CheckpointError, SettingError
from equipoise.experiment.settings import data_of, from_values, recipe_of
from equipoise.runs import run_folder as runs
from equipoise.training import checkpoint

CHUNK_SIZE = 250
"""Samples made at once."""
MAX_COUNT = 10**9
"""Samples of one call."""


@dataclass(frozen=True, slots=True)
class Generator:
    """Samples from the averaged networks of a run. `step` is the training step they stem from."""

    model: Model[Any]
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
        if not 1 <= count <= MAX_COUNT:
            raise SettingError(f"count = {count}: it must be at {'least 1' if count < 1 else f'most {MAX_COUNT:,}'}")
        bounds.seeds(seed=seed)
        if truncation is not None and not truncation > 0:
            raise SettingError(f"truncation = {truncation:g}: it must be above 0; smaller is closer to the mean sample")
        return self.model.latent(count, torch.Generator().manual_seed(seed), truncation)

    def labels(self, count: int, label: int | None = None) -> Tensor | None:
        """(count,) int64, all `label`, or every class in turn if it is None; None for a GAN without labels.

        Raises SettingError for a label that there is not, and for a generator that makes images of images.
        """
        classes = self.model.num_classes
        if self.model.source is not None:
            raise SettingError(
                f"{self.model.name} makes images of images; give it some: equipoise translate RUN FOLDER"
            )
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
        result = self.model.log_likelihood
        return None if result is None else lambda samples: result(self.networks, samples)

    @torch.no_grad()
    def make(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """The samples (N, ...) of latents (N, ...), of these labels (N,) or inputs (N, ...); None for a GAN without."""
        pieces = [slice(start, start + CHUNK_SIZE) for start in range(0, len(latents), CHUNK_SIZE)]
        made = [
            self.model.generate(self.networks, latents[rows], None if labels is None else labels[rows])
            for rows in pieces
        ]
        return torch.cat(made).float()

    def translate(self, images: Tensor, *, back: bool = False) -> Tensor:
        """Images (N, C, S, S) float32 in [-1, 1] -> (N, C', S, S), of a generator that makes images of images.

        `back`: from samples to inputs, where a game has learnt that too. Raises SettingError for a generator that does
        not, and for images of another shape.
        """
        model = self.model
        shape = self.spec.shape if back else model.source
        if model.source is None or shape is None or (back and model.back is None):
            raise SettingError(
                f"{model.name} has not learnt to make {'inputs of samples' if back else 'images of images'}"
            )
        if tuple(images.shape[1:]) != shape:
            given, wanted = (" x ".join(map(str, part)) for part in (images.shape[1:], shape))
            raise SettingError(f"these images are {given} and this generator takes {wanted}; bring them to that")
        if not back or model.back is None:
            return self.make(model.latent(len(images), torch.Generator(), None), images)
        with torch.no_grad():
            return torch.cat([model.back(self.networks, piece) for piece in torch.split(images, CHUNK_SIZE)])


def load_generator(folder: str | Path) -> Generator:
    """The generator of a run, finished or not: the final weights, else those of the last checkpoint.

    Raises RunError if the folder is no run, CheckpointError if it has no weights, or none that fit.
    """
    run = runs.Run(Path(folder))
    experiment = from_values(run.experiment(), str(run.folder / runs.EXPERIMENT))
    data = data_of(experiment)
    model = recipe_of(experiment).build(data.spec, torch.Generator().manual_seed(0))
    networks = {name: model.networks[name].eval().requires_grad_(False) for name in model.averaged}
    step = 0
    for name, network in networks.items():
        result = load_weights(run, name)
        checkpoint.check_shapes(network.state_dict(), result.tensors, name, result.source)
        network.load_state_dict(result.tensors)
        step = result.step
    return Generator(model, {**model.networks, **networks}, data.spec, step)


@dataclass(frozen=True, slots=True)
class NetworkWeights:
    """The tensors of one network by their names in its state_dict, the file they are from, and the step then."""

    tensors: Mapping[str, Tensor]
    source: str
    step: int


def load_weights(run: runs.Run, name: str, *, averaged: bool = True) -> NetworkWeights:
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
                return NetworkWeights(load_file(path), str(path), step)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read; delete it and the last checkpoint is used") from error
    if not saved:
        raise CheckpointError(f"{run.folder} has no weights yet; let it train to its first checkpoint")
    loaded = checkpoint.read(saved[-1])
    prefix = f"{'averaged' if averaged else 'network'}/{name}/"
    tensors = {key.removeprefix(prefix): value for key, value in loaded.tensors.items() if key.startswith(prefix)}
    return NetworkWeights(tensors, str(saved[-1]), loaded.step)
