"""Translation of a folder of images with the generator of a run: read and resize them, translate, write."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import torch
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.data import Preparation
from equipoise.errors import DataError, SettingError
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.settings import PlugSpec, require
from equipoise.inference.generator import Generator
from equipoise.runs.artifacts import encode_png, make_grid, write_bytes
from equipoise.runs.run import EXPERIMENT_FILE, Run
from equipoise.training.sample_layout import columns_for_groups, interleave_images

CHUNK_SIZE = 250
"""Number of images in memory at a time."""
SHEET_IMAGES = 48
"""Maximum number of input images on the sheet."""
MAX_NAMES = 3
"""Maximum number of files that a message names."""


class ImageSource(Protocol):
    """Images that are converted on access."""

    @property
    def array(self) -> Tensor:
        """All images as stored, uint8 (N, C, H, W)."""

    @property
    def luma(self) -> bool:
        """Whether colour images are converted to grey."""

    def __len__(self) -> int:
        """Number of images."""

    def select(self, indices: Tensor) -> Tensor:
        """Return images (B, C, S, S), float32 in [-1, 1], at indices (B,) int64."""


class ImageReader(Protocol):
    """The interface of the data set `image_folder` that translation uses."""

    def prepare(self) -> Iterator[Preparation]:
        """Read and cache images that are not cached yet."""

    def all_images(self, channels: int) -> tuple[Sequence[str], ImageSource]:
        """Paths and images with a number of channels."""


@dataclass(frozen=True, slots=True, eq=False)
class TranslationInputs:
    """Images to translate, each (C, S, S), and their paths relative to their folder, in the same order."""

    paths: tuple[str, ...]
    images: ImageSource


@dataclass(frozen=True, slots=True)
class TranslationResult:
    """The written files, in the order of the inputs, and a sheet with inputs and outputs side by side."""

    files: tuple[Path, ...]
    sheet: Path


@dataclass(frozen=True, slots=True)
class InputFolder:
    """A folder of images, read with the size and options that the run was trained with.

    `back`: translate from the target domain to the source domain. `grey`: convert colour images to grey if the
    generator takes grey ones.
    """

    run: Path
    folder: Path
    back: bool = False
    grey: bool = False

    def preparations(self, generator: Generator) -> Iterator[Preparation]:
        """Read images that are not cached yet; yield progress, and notes on converted images."""
        return self._reader(generator).prepare()

    def inputs(self, generator: Generator) -> TranslationInputs:
        """Return all images, in the order of their paths.

        Raises DataError for a folder without images, and for colour images if the generator takes grey ones.
        """
        channels = input_shape(generator, back=self.back)[0]
        paths, images = self._reader(generator).all_images(channels)
        if images.luma and not self.grey and not self._trained_on_converted_images():
            _require_grey(paths, images.array)
        return TranslationInputs(tuple(paths), images)

    def _reader(self, generator: Generator) -> ImageReader:
        """Build the data set that reads the folder. Raises SettingError for a model that does not translate images."""
        shape = input_shape(generator, back=self.back)
        options = self._training_data().options
        fit = {name: options[name] for name in ("fit", "background") if name in options}
        cache = options.get("cache") or str(self.run.resolve().parent / ".cache")
        paths = {"folder": str(self.folder), "cache": cache}
        reader: ImageReader = catalog.build(
            "data", "image_folder", {**paths, **fit, "image_size": shape[-1], "classes": []}
        )
        return reader

    def _training_data(self) -> PlugSpec:
        experiment = parse_experiment(Run(self.run).experiment(), str(self.run / EXPERIMENT_FILE))
        return require(experiment.data, "data")

    def _trained_on_converted_images(self) -> bool:
        """Whether the run was trained on colour images converted to grey, so that --grey is not needed."""
        data = self._training_data()
        is_greyed = getattr(catalog.build("data", data.name, data.options), "is_greyed", None)
        return is_greyed is not None and bool(is_greyed("target" if self.back else "source"))


def input_shape(generator: Generator, *, back: bool) -> tuple[int, ...]:
    """Return the shape (C, S, S) of input images. Raises SettingError for a model that does not translate images."""
    model = generator.model
    if model.source is None:
        raise SettingError(f"{model.name} generates images from noise, not from images; use equipoise sample")
    if back and model.reverse is None:
        raise SettingError(f"{model.name} was trained in one direction only; remove --back")
    return generator.spec.shape if back else model.source


def translate(
    generator: Generator, inputs: TranslationInputs, out: Path, sheet: Path, *, back: bool = False
) -> TranslationResult:
    """Translate images; write one PNG per input to the folder `out`, named by the input, and a sheet of both.

    At most CHUNK_SIZE images are in memory at a time.
    """
    files = [out / name for name in _output_names(inputs.paths)]
    sheet_images: list[Tensor] = []
    for start in range(0, len(files), CHUNK_SIZE):
        chunk = files[start : start + CHUNK_SIZE]
        images = inputs.images.select(torch.arange(start, start + len(chunk)))
        outputs = generator.translate(images, back=back)
        sheet_images = sheet_images or [images[:SHEET_IMAGES].clone(), outputs[:SHEET_IMAGES].clone()]
        for file, image in zip(chunk, outputs, strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(file, encode_png(make_grid(image[None].numpy())))
    both = interleave_images(sheet_images)
    write_bytes(sheet, encode_png(make_grid(both.numpy(), columns=min(columns_for_groups(2), len(both)))))
    return TranslationResult(tuple(files), sheet)


def sheet_path(folder: Path, out: Path) -> Path:
    """Return the path of the sheet: OUT.png.

    Raises SettingError if the output would be written into the folder of the inputs, or if `out` has no name.
    """
    source, target = folder.resolve(), out.resolve()
    if target == source or source in target.parents:
        raise SettingError(f"--out {out} is inside the input folder; use another folder, so that no image is replaced")
    if not target.name:
        raise SettingError(f"--out {out} has no name, which the sheet NAME.png needs; use a folder in it")
    named = target if out.name in ("", "..") else out
    return named.with_name(f"{named.name}.png")


def _output_names(paths: Sequence[str]) -> Iterator[str]:
    """Replace extensions: a/b.jpg -> a/b.png; a/b.jpg.png if two inputs differ only in their extension."""
    stems = [str(PurePosixPath(path).with_suffix("")) for path in paths]
    counts = Counter(stems)
    for path, stem in zip(paths, stems, strict=True):
        yield f"{stem if counts[stem] == 1 else path}.png"


def _require_grey(paths: Sequence[str], images: Tensor) -> None:
    colour = [path for path, image in zip(paths, images, strict=True) if not bool((image[:1] == image).all())]
    if colour:
        more = f" and {len(colour) - MAX_NAMES:,} more" if len(colour) > MAX_NAMES else ""
        raise DataError(
            f"{len(colour):,} of {len(paths):,} images are in colour ({', '.join(colour[:MAX_NAMES])}{more}), but this "
            "generator takes grey images; add --grey to convert them"
        )
