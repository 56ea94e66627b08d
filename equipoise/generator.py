"""A trained generator, taken out of its run folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from equipoise import runs
from equipoise.base import DataSpec, Gan
from equipoise.errors import CheckpointError, SettingError
from equipoise.experiment import data_of, from_values, recipe_of
from equipoise.training import checkpoint


@dataclass(frozen=True, slots=True)
class Generator:
    """Samples from the averaged networks of a run. `step` is the training step they stem from."""

    gan: Gan[Any]
    networks: dict[str, nn.Module]
    spec: DataSpec
    step: int

    @torch.no_grad()
    def sample(self, count: int, *, label: int | None = None, truncation: float | None = None, seed: int = 0) -> Tensor:
        """(count, ...) float32 in the range of the data, [-1, 1] for images; the same seed gives the same samples.

        `label`: of all samples; None gives every class in turn. `truncation` T > 0: latents within [-T, T], closer to
        the mean sample and less diverse (Brock 2019). Raises SettingError for a label that there is not.
        """
        if count < 1:
            raise SettingError(f"count = {count}: it must be at least 1")
        if truncation is not None and not truncation > 0:
            raise SettingError(f"truncation = {truncation:g}: it must be above 0; smaller is closer to the mean sample")
        latents = self.gan.latent(count, torch.Generator().manual_seed(seed), truncation)
        condition = self._condition(count, label)
        pieces = [slice(start, start + 250) for start in range(0, count, 250)]
        made = [
            self.gan.generate(self.networks, latents[rows], None if condition is None else condition[rows])
            for rows in pieces
        ]
        return torch.cat(made).float()

    def _condition(self, count: int, label: int | None) -> Tensor | None:
        classes = self.gan.conditions
        if label is None:
            return torch.arange(count) % classes if classes else None
        if not classes:
            raise SettingError("this generator was trained without labels; leave --label out")
        if not 0 <= label < classes:
            raise SettingError(f"there is no label {label}; labels run from 0 to {classes - 1}")
        return torch.full((count,), label)


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
        tensors, source, step = _weights(run, name)
        checkpoint.check_shapes(network.state_dict(), tensors, name, source)
        network.load_state_dict(tensors)
    return Generator(gan, {**gan.networks, **networks}, data.spec, step)


def _weights(run: runs.Run, name: str) -> tuple[dict[str, Tensor], str, int]:
    """Weights of one averaged network, where they come from, and step: the final ones, or a newer checkpoint's."""
    saved = checkpoint.find(run.checkpoints)
    path = run.folder / f"{name}.safetensors"
    try:
        if path.exists():
            with safe_open(path, framework="pt") as file:
                step = int(file.metadata()["step"])
            if not saved or saved[-1].name <= checkpoint.name_of(step):
                return load_file(path), str(path), step
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read; delete it and the last checkpoint is used") from error
    if not saved:
        raise CheckpointError(f"{run.folder} has no weights yet; let it train to its first checkpoint")
    loaded = checkpoint.read(saved[-1])
    prefix = f"averaged/{name}/"
    tensors = {key.removeprefix(prefix): value for key, value in loaded.tensors.items() if key.startswith(prefix)}
    return tensors, str(saved[-1]), loaded.step


def write(samples: Tensor, path: Path) -> Path:
    """Write samples as the ending of `path` says: .png a grid of images, .npy numbers, .csv points; none, a folder.

    The folder gets one PNG an image, or `points.csv`. Raises SettingError if the samples do not go there.
    """
    array = samples.numpy()
    is_image = array.ndim == 4
    suffix = path.suffix.lower()
    if suffix == ".png" and is_image:
        runs.write_bytes(_under_existing(path), runs.png(runs.grid(array)))
    elif suffix == ".npy":
        runs.write_bytes(_under_existing(path), runs.npy(array))
    elif suffix == ".csv" and not is_image:
        runs.write_text(_under_existing(path), _csv(array))
    elif not suffix:
        path.mkdir(parents=True, exist_ok=True)
        if not is_image:
            runs.write_text(path / "points.csv", _csv(array))
        else:
            for index, image in enumerate(array):
                runs.write_bytes(path / f"{index:06d}.png", runs.png(runs.grid(image[None])))
    else:
        fitting = ".png or .npy" if is_image else ".csv or .npy"
        raise SettingError(f"cannot write these samples to {path.name}; name a file ending in {fitting}, or a folder")
    return path


def _under_existing(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _csv(array: npt.NDArray[np.float32]) -> str:
    return "".join(",".join(f"{value:.7g}" for value in row) + "\n" for row in array.reshape(len(array), -1))
