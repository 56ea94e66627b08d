"""Images of one's own through the generator of a run: read, brought to its form, translated, written."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import torch
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.data import Preparation
from equipoise.errors import DataError, SettingError
from equipoise.experiment.settings import PlugSpec, from_values, require
from equipoise.inference.generator import CHUNK_SIZE, Generator
from equipoise.runs import run_folder as runs
from equipoise.training.sheet import columns_of, side_by_side

SHOWN = 48
"""Images on the sheet."""
NAMED = 3


class ImageSource(Protocol):
    """Images that are converted when they are taken."""

    def __len__(self) -> int:
        """How many there are."""

    def input_shape(self, places: Tensor) -> Tensor:
        """(B, C, S, S) float32 in [-1, 1], of places (B,) int64."""


@dataclass(frozen=True, slots=True, eq=False)
class TranslationInputs:
    """Images to translate, (C, S, S) each. `paths`: below their folder, in the order of `pictures`."""

    paths: tuple[str, ...]
    pictures: ImageSource


@dataclass(frozen=True, slots=True)
class TranslationResult:
    """`files`: what was written, in the order of inputs. `sheet`: a picture of inputs and outputs side by side."""

    files: tuple[Path, ...]
    sheet: Path


@dataclass(frozen=True, slots=True)
class InputFolder:
    """How a folder is read for the generator of a run: as images of the size and form that it was trained on.

    `back`: from samples to inputs. `grey`: colour images may be made grey, where the generator takes grey ones.
    """

    run: Path
    folder: Path
    back: bool = False
    grey: bool = False

    def data(self, generator: Generator) -> Any:
        """The data set that reads the folder. Raises SettingError for a generator that makes no images of images."""
        shape = input_shape(generator, back=self.back)
        options = self._trained_on().options
        form = {name: options[name] for name in ("fit", "background") if name in options}
        cache = options.get("cache") or str(self.run.resolve().parent / ".cache")
        where = {"folder": str(self.folder), "cache": cache}
        return catalog.build("data", "image_folder", {**where, **form, "image_size": shape[-1], "classes": []})

    def preparations(self, generator: Generator) -> Iterator[Preparation]:
        """Read what is new, telling how far it is, and what had to be done to images."""
        preparations: Iterator[Preparation] = self.data(generator).prepare()
        return preparations

    def inputs(self, generator: Generator) -> TranslationInputs:
        """All images, in the order of their paths.

        Raises DataError for a folder without images, and for colour images where the generator takes grey ones.
        """
        channels = input_shape(generator, back=self.back)[0]
        paths, pictures = self.data(generator).pictures(channels)
        if pictures.luma and not self.grey and not self._greyed():
            _check_grey(paths, pictures.array)
        return TranslationInputs(tuple(paths), pictures)

    def _trained_on(self) -> PlugSpec:
        kept = from_values(runs.Run(self.run).experiment(), str(self.run / runs.EXPERIMENT))
        return require(kept.data, "data")

    def _greyed(self) -> bool:
        """Whether the run was trained on colour images that were taken as grey, so that nobody need ask for it."""
        choice = self._trained_on()
        greyed = getattr(catalog.build("data", choice.name, choice.options), "greyed", None)
        return greyed is not None and bool(greyed("target" if self.back else "source"))


def input_shape(generator: Generator, *, back: bool) -> tuple[int, ...]:
    """The shape (C, S, S) of what a generator takes. Raises SettingError for one that makes no images of images."""
    model = generator.model
    if model.source is None:
        raise SettingError(f"{model.name} makes images of noise, not of images; use equipoise sample")
    if back and model.back is None:
        raise SettingError(f"{model.name} has learnt one direction only; leave --back out")
    return generator.spec.shape if back else model.source


def translate(generator: Generator, inputs: TranslationInputs, out: Path, sheet: Path, *, back: bool = False) -> TranslationResult:
    """Write a PNG an image into the folder `out`, by the path of its input, and a sheet of inputs and outputs.

    Piece by piece: no more than PIECE images are held at once, however many there are.
    """
    files, shown = [out / name for name in _names(inputs.paths)], list[Tensor]()
    for start in range(0, len(files), CHUNK_SIZE):
        piece = files[start : start + CHUNK_SIZE]
        images = inputs.pictures.taken(torch.arange(start, start + len(piece)))
        made = generator.translate(images, back=back)
        shown = shown or [images[:SHOWN].clone(), made[:SHOWN].clone()]
        for file, image in zip(piece, made, strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            runs.write_bytes(file, runs.png(runs.grid(image[None].numpy())))
    both = side_by_side(shown)
    runs.write_bytes(sheet, runs.png(runs.grid(both.numpy(), columns=min(columns_of(2), len(both)))))
    return TranslationResult(tuple(files), sheet)


def sheet_path(folder: Path, out: Path) -> Path:
    """Where the sheet goes: OUT.png. Raises SettingError if what is written would lie among the images that are read,
    or if there is nothing beside `out`.
    """
    read, written = folder.resolve(), out.resolve()
    if written == read or read in written.parents:
        raise SettingError(f"--out {out} lies in the folder that is read; name another, so that no image is replaced")
    if not written.name:
        raise SettingError(f"--out {out} has no name, and the sheet would be NAME.png beside it; name a folder in it")
    named = written if out.name in ("", "..") else out
    return named.with_name(f"{named.name}.png")


def _names(paths: Sequence[str]) -> Iterator[str]:
    """a/b.jpg -> a/b.png; with the old ending before the new where two images differ in nothing else."""
    stems = [str(PurePosixPath(path).with_suffix("")) for path in paths]
    counts = Counter(stems)
    for path, stem in zip(paths, stems, strict=True):
        yield f"{stem if counts[stem] == 1 else path}.png"


def _check_grey(paths: Sequence[str], images: Tensor) -> None:
    colour = [path for path, image in zip(paths, images, strict=True) if not bool((image[:1] == image).all())]
    if colour:
        more = f" and {len(colour) - NAMED:,} more" if len(colour) > NAMED else ""
        raise DataError(
            f"{len(colour):,} of {len(paths):,} images are in colour ({', '.join(colour[:NAMED])}{more}), and this "
            "generator takes grey ones; give --grey to take them as grey"
        )
