"""Reading of the user's own images as those of a run were read: same channels, range and background."""

from collections.abc import Generator as Steps
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

from torch import Tensor

from equipoise.core import catalog
from equipoise.core.data import Preparation
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.settings import PlugSpec, require
from equipoise.inference.run_weights import find_run
from equipoise.runs.run import EXPERIMENT_FILE

ImageFit = Literal["crop", "pad", "stretch"]
"""How images of other sizes become squares."""
FORMAT_OPTIONS = ("background", "black", "white", "layout", "full_scale")
"""Options of a data set that say what the values of files mean."""


class DecodedPicture(Protocol):
    """An image."""

    @property
    def pixels(self) -> Tensor:
        """(C, H, W) float32 in [-1, 1]."""

    @property
    def is_converted(self) -> bool:
        """Whether it is a colour image that was converted to grey."""


class PictureSource(Protocol):
    """Images of a file or folder, decoded on access."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Their relative paths."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Information for the user."""

    def read(self, path: str, *, is_square: bool) -> DecodedPicture:
        """Decode an image: whole, or as a square as in training. Raises OSError or DataError with a short reason."""

    def final_notes(self) -> Iterator[str]:
        """Information for the user on the squares that were read."""


class PictureReader(Protocol):
    """The interface of the data set `unpaired_folders` that reads single images."""

    def pictures(self, channels: int) -> Steps[Preparation, None, PictureSource]:
        """Open all images with a number of channels; yield progress."""


def build_picture_reader(run: Path, path: Path, size: int, fit: ImageFit | None) -> PictureReader:
    """Build the data set that reads a file or folder with the options that a run was trained with.

    `size`: height of its samples in pixels. `fit`: None for the default of the data set.
    """
    trained = training_data(run)
    values: dict[str, object] = {
        name: trained.options[name] for name in FORMAT_OPTIONS if trained.options.get(name) is not None
    }
    values |= {} if fit is None else {"fit": fit}
    cache = trained.options.get("cache") or str(find_run(run)[0].folder.resolve().parent / ".cache")
    values |= {"folder": str(path), "cache": cache, "image_size": size}
    reader: PictureReader = catalog.build("data", "unpaired_folders", values)
    return reader


def training_data(run: Path) -> PlugSpec:
    """Return the data set that a run was trained with."""
    folder = find_run(run)[0]
    experiment = parse_experiment(folder.experiment(), str(folder.folder / EXPERIMENT_FILE))
    return require(experiment.data, "data")
