"""Reading of one image of the user's own, as the images of a run were read: same channels, range and background."""

from collections.abc import Generator as Steps
from pathlib import Path
from typing import Literal, Protocol

from torch import Tensor

from equipoise.core import catalog
from equipoise.core.data import Preparation
from equipoise.errors import DataError, SettingError
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.settings import require
from equipoise.inference.generator import Generator
from equipoise.inference.run_weights import find_run
from equipoise.runs.run import EXPERIMENT_FILE

ImageFit = Literal["crop", "pad", "stretch"]
FORMAT_OPTIONS = ("background", "black", "white", "layout", "full_scale")
"""Options of a data set that say what the values of files mean."""


class DecodedImage(Protocol):
    """An image."""

    @property
    def pixels(self) -> Tensor:
        """(C, H, W) float32 in [-1, 1]."""


class ImageFiles(Protocol):
    """Images of a file or folder, decoded on access."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Their relative paths."""

    def read(self, path: str, *, is_square: bool) -> DecodedImage:
        """Decode an image: whole, or as a square as in training. Raises OSError or DataError with a short reason."""


class ImageReader(Protocol):
    """The interface of the data set `unpaired_folders` that reads single images."""

    def pictures(self, channels: int) -> Steps[Preparation, None, ImageFiles]:
        """Open all images with a number of channels; yield progress."""


def read_own_image(
    run: Path, generator: Generator, path: Path, fit: ImageFit | None = None
) -> Steps[Preparation, None, Tensor]:
    """Read an image file or array as a sample of a run: (C, H, W) float32 in [-1, 1]. Yields progress.

    `fit`: how an image of another size is brought to that of samples; None: it keeps its own size. Raises DataError for
    a file that is not one image, SettingError for samples that cannot be read from files.
    """
    spec = generator.spec
    if not spec.is_image or spec.shape[0] not in (1, 3):
        raise SettingError(
            "an image is read in grey or colour, but samples of this generator are neither; use a run of such images"
        )
    if fit is not None and spec.shape[1] != spec.shape[2]:
        raise SettingError("--fit makes squares, but samples of this generator are not square; resize the image")
    files = yield from _reader(run, generator, path, fit).pictures(spec.shape[0])
    if len(files.paths) != 1:
        raise DataError(f"{path} has {len(files.paths):,} images; use the path of one image")
    try:
        return files.read(files.paths[0], is_square=fit is not None).pixels
    except (OSError, DataError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _reader(run: Path, generator: Generator, path: Path, fit: ImageFit | None) -> ImageReader:
    folder = find_run(run)[0]
    experiment = parse_experiment(folder.experiment(), str(folder.folder / EXPERIMENT_FILE))
    trained = require(experiment.data, "data")
    values: dict[str, object] = {
        name: trained.options[name] for name in FORMAT_OPTIONS if trained.options.get(name) is not None
    }
    values |= {} if fit is None else {"fit": fit}
    cache = trained.options.get("cache") or str(folder.folder.resolve().parent / ".cache")
    values |= {"folder": str(path), "cache": cache, "image_size": generator.spec.shape[1]}
    reader: ImageReader = catalog.build("data", "unpaired_folders", values)
    return reader
