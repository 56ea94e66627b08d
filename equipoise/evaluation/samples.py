"""Samples to be judged: made by the generator of a run, or read from a folder of images or an array of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.errors import DataError, SettingError
from equipoise.experiment.data_source import IMAGE_SUFFIXES
from equipoise.inference.generator import Generator
from equipoise.inference.latent_space import slerp


@dataclass(frozen=True, slots=True, eq=False)
class SampleSet:
    """`samples`: (N, ...) float32, [-1, 1] for images. `origin`: where they come from, as JSON has it."""

    samples: Tensor
    origin: Mapping[str, Any]


def generate_samples(folder: Path, generator: Generator, count: int, seed: int, labels: Tensor | None) -> SampleSet:
    """`count` samples of the averaged generator; for a GAN with labels, of labels drawn at random from `labels` (M,).

    Raises DataError if it takes labels and there are none to draw from.
    """
    chosen = _labels(generator, count, seed, labels)
    made = generator.make(generator.latents(count, seed=seed), chosen)
    drawn = "as those of the reals" if chosen is not None else None
    origin = {"run": str(folder), "step": generator.step, "weights": "averaged", "labels": drawn}
    return SampleSet(made, origin)


def translate_inputs(folder: Path, generator: Generator, inputs: Tensor) -> SampleSet:
    """A sample of each of `inputs` (N, ...), in their order."""
    made = generator.make(generator.latents(len(inputs)), inputs)
    origin = {"run": str(folder), "step": generator.step, "weights": "averaged", "of": "the inputs of the reals"}
    return SampleSet(made, origin)


def sample_path_steps(
    generator: Generator, count: int, seed: int, labels: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor]:
    """Samples (count, ...) at both ends of short steps on great circles between two latents, at random places."""
    if generator.model.source is not None:
        raise SettingError(f"{generator.model.name} has no latents to walk along: it makes images of images")
    latents = [generator.latents(count, seed=each) for each in (seed, seed + 1)]
    places = torch.rand(count, generator=torch.Generator().manual_seed(seed + 2)).tolist()
    chosen = _labels(generator, count, seed, labels)
    made = []
    for further in (0.0, epsilon):
        between = [
            slerp(start[None], end[None], place + further) for start, end, place in zip(*latents, places, strict=True)
        ]
        made.append(generator.make(torch.cat(between), chosen))
    return made[0], made[1]


def _labels(generator: Generator, count: int, seed: int, labels: Tensor | None) -> Tensor | None:
    if not generator.model.num_classes:
        return None
    if labels is None:
        raise DataError("this generator takes labels, and these reals have none; name data with labels by --against")
    source = torch.Generator().manual_seed(seed + 3)
    return labels[torch.randint(len(labels), (count,), generator=source)]


def read_samples(path: Path, count: int | None, spec: DataSpec) -> SampleSet:
    """Samples of the kind of `spec` from an array (.npy), a folder of images or a text (.txt), `count` at the most.

    Arrays are (N, C, H, W) or (N, D), float, images in [-1, 1]. Raises DataError if there are fewer than two, or if
    they are of another kind, or of several sizes.
    """
    if path.suffix.lower() == ".npy":
        samples = _array(path)[:count]
    elif path.suffix.lower() == ".txt":
        samples = _sentences(path, spec)[:count]
    elif path.is_dir():
        samples = _images(path, count, spec)
    else:
        raise DataError(f"{path} is neither a run, nor a folder of images, nor an array (.npy), nor a text (.txt)")
    if len(samples) < 2:
        raise DataError(f"there is {len(samples)} sample in {path}; a metric compares many: give it a thousand or more")
    if tuple(samples.shape[1:]) != spec.shape:
        result, wanted = (" x ".join(map(str, shape)) for shape in (samples.shape[1:], spec.shape))
        raise DataError(f"the samples in {path} are {result}, the reals {wanted}; bring them to the same size")
    return SampleSet(samples, {"files": str(path)})


def _sentences(path: Path, spec: DataSpec) -> Tensor:
    """The lines of a text, in the words of the reals."""
    vocabulary = spec.vocabulary
    if vocabulary is None:
        raise DataError(f"the reals are no sentences; give an array (.npy) or a folder of images instead of {path}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text in UTF-8: {error}") from error
    rows = [vocabulary.tokens(line, spec.shape[0], f"{path}, line {number}") for number, line in enumerate(lines, 1)]
    return torch.tensor(rows, dtype=torch.float32).view(-1, *spec.shape)


def _array(path: Path) -> Tensor:
    try:
        numbers = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:  # numpy's own words offer to unpickle the file
        raise DataError(f"{path} holds no array of numbers; write it by numpy.save") from error
    if numbers.dtype.kind != "f" or numbers.ndim < 2:
        raise DataError(f"{path} holds {numbers.dtype} of shape {numbers.shape}; give floats (N, C, H, W) or (N, D)")
    samples = torch.from_numpy(numbers.astype(np.float32))
    if samples.ndim == 4 and samples.abs().nan_to_num().max() > 1:
        raise DataError(f"{path} holds images that reach beyond [-1, 1]; scale them to it")
    return samples


def _images(folder: Path, count: int | None, spec: DataSpec) -> Tensor:
    if not spec.is_image:
        raise DataError(f"the reals are points, no images; give an array (.npy) of points instead of {folder}")
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())[:count]
    if not files:
        raise DataError(f"there is no image in {folder}; images end in {', '.join(IMAGE_SUFFIXES)}")
    mode = "L" if spec.shape[0] == 1 else "RGB"
    first = _pixels(files[0], mode)
    sheet = np.empty((len(files), *first.shape), np.uint8)
    for number, file in enumerate(files):
        pixels = _pixels(file, mode)
        if pixels.shape != first.shape:
            (height, width), (other_height, other_width) = first.shape[:2], pixels.shape[:2]
            raise DataError(
                f"{files[0].name} is {width} x {height} pixels, {file.name} {other_width} x {other_height}; "
                "metrics need images of one size: bring them to the same"
            )
        sheet[number] = pixels
    grid = torch.from_numpy(sheet).view(len(files), *first.shape[:2], -1)
    return grid.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def _pixels(file: Path, mode: str) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """(H, W) or (H, W, 3)."""
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert(mode))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} cannot be read as an image; delete it, or give another folder") from error
