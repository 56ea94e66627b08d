"""Samples of a generator as files: pictures, sentences, numbers, tables."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.errors import SettingError
from equipoise.runs import run_folder as runs

SampleFormat = Literal["png", "npy", "csv", "txt"]
SampleArray = npt.NDArray[np.float32]


def write_samples(samples: Tensor, path: Path, spec: DataSpec, format: SampleFormat | None = None) -> Path:
    """Write samples (N, ...) float32, in the range of training, into a file, or, without an ending, into a folder.

    png: a file is a grid of all images, a folder has a file an image. npy: the numbers, as they are. csv: points are
    the rows of one table; of images each is a table, a file of the folder, in the data's own unit if it has one. txt:
    sentences, a line each. `format` None goes by the ending of `path`; into a folder go images as png, points as csv,
    sentences as txt. Raises SettingError if
    these samples do not go there.
    """
    chosen = _format(path, spec, format)
    array = samples.numpy()
    if path.suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
        runs.write_bytes(path, _whole(array, chosen, spec))
        return path
    path.mkdir(parents=True, exist_ok=True)
    for name, content in _files(array, chosen, spec):
        runs.write_bytes(path / name, content)
    return path


def to_data_unit(array: SampleArray, unit: tuple[float, float]) -> SampleArray:
    """From [-1, 1] to what that stands for in the data's own unit: low + (x + 1) / 2 (high - low), float32."""
    low, high = unit
    return (low + (array.astype(np.float64) + 1) / 2 * (high - low)).astype(np.float32)


def _format(path: Path, spec: DataSpec, format: SampleFormat | None) -> SampleFormat:
    """What is written to `path`. Raises SettingError for what cannot be."""
    ending = path.suffix.lower().removeprefix(".")
    fitting: tuple[SampleFormat, ...] = ("png", "npy") if spec.is_image else ("csv", "npy")
    if spec.vocabulary is not None:
        fitting = ("txt", "npy")
    if format is None:
        result = next((one for one in fitting if ending in ("", one)), None)
        if result is None:
            raise SettingError(
                f"cannot write these samples to {path.name}; name a file ending in .{fitting[0]} or .{fitting[1]}, or "
                f"a folder{', which takes --format csv' * (ending == 'csv')}"
            )
        return result
    if (format == "txt") != (spec.vocabulary is not None) and format != "npy":
        raise SettingError(f"these samples are {_kind(spec)}; use --format {fitting[0]} or {fitting[1]}")
    if format == "png" and not spec.is_image:
        raise SettingError("these samples are points, not images; use --format csv or npy")
    if format == "csv" and spec.is_image and spec.shape[0] != 1:
        raise SettingError(f"a table holds one channel, these images have {spec.shape[0]}; use --format npy or png")
    if format == "csv" and spec.is_image and ending:
        raise SettingError(f"each image becomes a table of its own; name a folder, not {path.name}")
    if ending not in ("", format):
        raise SettingError(
            f"--format {format} does not go into {path.name}; name a file ending in .{format}, or a folder"
        )
    return format


def _kind(spec: DataSpec) -> str:
    return "sentences" if spec.vocabulary is not None else "images" if spec.is_image else "points"


def _whole(array: SampleArray, format: SampleFormat, spec: DataSpec) -> bytes:
    """All samples in one file."""
    if spec.vocabulary is not None and format == "txt":
        return runs.lines([spec.vocabulary.text(row) for row in array.tolist()])
    if format == "png":
        return runs.png(runs.grid(array))
    return runs.npy(array) if format == "npy" else _points(array).encode()


def _files(array: SampleArray, format: SampleFormat, spec: DataSpec) -> Iterator[tuple[str, bytes]]:
    """The files of a folder: a name and a content each."""
    if not spec.is_image or format == "npy":
        names = {"csv": "points.csv", "txt": "sentences.txt"}
        yield names.get(format, "samples.npy"), _whole(array, format, spec)
        return
    for number, image in enumerate(array):
        content = runs.png(runs.grid(image[None])) if format == "png" else _table(image, spec.unit or (-1, 1))
        yield f"{number:06d}.{format}", content


def _table(image: SampleArray, unit: tuple[float, float]) -> bytes:
    """An image (1, H, W) as lines of numbers, the top row first, as many digits as float32 needs."""
    return "".join(",".join(row) + "\n" for row in to_data_unit(image[0], unit).astype(str)).encode()


def _points(array: SampleArray) -> str:
    return "".join(",".join(f"{value:.7g}" for value in row) + "\n" for row in array.reshape(len(array), -1))
