"""Translation of images with the generator of a run: each is read, translated at its own size, and written."""

from collections import Counter
from collections.abc import Generator as Steps
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.data import Preparation
from equipoise.core.printing import agree, format_names
from equipoise.errors import DataError, SettingError
from equipoise.inference.generator import Generator
from equipoise.inference.image_reading import PictureReader, PictureSource, build_picture_reader, training_data
from equipoise.inference.translation_sheet import TranslationSheet
from equipoise.runs.artifacts import check_overwrite, encode_png, make_grid, write_bytes

TranslationFit = Literal["native", "resize", "crop", "pad", "stretch"]
"""How images of other sizes than in training are translated. native: at their own size. resize: at the scale of
training, and the result is resized back. crop, pad, stretch: as squares of the size of training, which they remain."""

TASK = "translating images"
MAX_PIXELS = 64_000_000
"""Largest number of pixels of an image that is translated at its own size; it takes 2 GB of memory."""
LARGE = 4
"""Factor by which images exceed the size of training from which a note suggests --fit resize."""


@dataclass(frozen=True, slots=True)
class TranslationRequest:
    """What to translate, and where to write it.

    `run`: the run or checkpoint that the generator is from. `inputs`: an image, a folder, an archive or an array.
    `out`: output folder, or a file ending in .png for one image. `fit`: None for native where the generator takes any
    size, else resize. `back`: from the target domain to the source domain. `grey`: convert colour images to grey if the
    generator takes grey ones. `force`: replace files that exist.
    """

    run: Path
    inputs: Path
    out: Path
    fit: TranslationFit | None = None
    back: bool = False
    grey: bool = False
    force: bool = False

    @property
    def is_file(self) -> bool:
        """Whether the output is one file."""
        return self.out.suffix.lower() == ".png"


@dataclass(frozen=True, slots=True)
class TranslationResult:
    """The written files in the order of the inputs, and a sheet with inputs and outputs; None for a single file.

    `skipped`: path -> reason of inputs that could not be read.
    """

    files: tuple[Path, ...]
    sheet: Path | None
    skipped: dict[str, str]


class _Scale(NamedTuple):
    """How images are translated: their `fit`, and the side of training in pixels."""

    fit: TranslationFit
    side: int


def translate(generator: Generator, request: TranslationRequest) -> Steps[Preparation, None, TranslationResult]:
    """Translate images one by one; write a PNG for each, named by the input, and a sheet. Yields progress and notes.

    Inputs that cannot be read are skipped and reported. Raises DataError without usable inputs, and for colour images
    if the generator takes grey ones, RunError if a file exists already, SettingError for a model that does not
    translate images.
    """
    sheet_path = _check_output(request)
    shape = input_shape(generator, back=request.back)
    scale = _Scale(_resolve_fit(generator, request.fit), shape[-1])
    pictures = yield from _reader(request, scale).pictures(shape[0])
    files = {path: request.out if request.is_file else request.out / name for path, name in _names(pictures.paths)}
    if request.is_file and len(files) > 1:
        raise SettingError(f"--out {request.out} is one file, but there are {len(files):,} images; use a folder")
    outputs = [*files.values(), *([sheet_path] if sheet_path else [])]
    _check_inputs_remain(request, outputs)
    check_overwrite(outputs, force=request.force)
    for note in pictures.notes:
        yield Preparation(TASK, 0, len(files), note)
    if shape[0] == 1 and not request.grey and not _trained_on_converted_images(request):
        _require_grey(pictures)
    written, skipped, sheet, largest = [], {}, TranslationSheet(), 0
    for done, (path, file) in enumerate(files.items(), 1):
        try:
            picture = pictures.read(path, is_square=scale.fit in ("crop", "pad", "stretch")).pixels
            output = _translate_picture(generator, picture, scale, back=request.back)
        except (OSError, DataError) as error:
            skipped[path] = str(error)
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, encode_png(to_image(output)))
        written.append(file)
        sheet.add(picture, output)
        if generator.model.scale == 1:  # what enlarges images is meant for any size
            largest = max(largest, min(picture.shape[1:]))
        yield Preparation(TASK, done, len(files))
    for note in (*_final_notes(skipped, len(files), largest, scale), *pictures.final_notes()):
        yield Preparation(TASK, len(files), len(files), note)
    if not written:
        raise DataError(f"none of the images in {request.inputs} can be translated: {_format_reasons(skipped)}")
    if sheet_path:
        write_bytes(sheet_path, encode_png(sheet.draw()))
    return TranslationResult(tuple(written), sheet_path, skipped)


def input_shape(generator: Generator, *, back: bool) -> tuple[int, ...]:
    """Return the shape (C, S, S) of input images. Raises SettingError for a model that does not translate images."""
    model = generator.model
    if model.source is None:
        raise SettingError(f"{model.name} generates images from noise, not from images; use equipoise sample")
    if back and model.reverse is None:
        raise SettingError(f"{model.name} was trained in one direction only; remove --back")
    return generator.spec.shape if back else model.source


def to_image(pixels: Tensor) -> Image.Image:
    """Return an image of 8 bits from (C, H, W) in [-1, 1], C = 1, 3 or 4; values outside are clipped, NaN is grey."""
    return make_grid(pixels[None].numpy(), gap=0, keeps_alpha=True)


def _check_output(request: TranslationRequest) -> Path | None:
    """Return the path of the sheet: OUT.png; None if the output is one file.

    Raises SettingError if the output would be written into the folder of the inputs, or if it has no name.
    """
    source, target = request.inputs.resolve(), request.out.resolve()
    if request.is_file:
        return None
    if request.inputs.is_dir() and (target == source or source in target.parents):
        raise SettingError(
            f"--out {request.out} is inside the input folder; use another folder, so that no image is replaced"
        )
    if not target.name:
        raise SettingError(f"--out {request.out} has no name, which the sheet NAME.png needs; use a folder in it")
    named = target if request.out.name in ("", "..") else request.out
    return named.with_name(f"{named.name}.png")


def _check_inputs_remain(request: TranslationRequest, outputs: Sequence[Path]) -> None:
    """Raise SettingError if an output would replace the file of the inputs, or one in their folder, also by a link."""
    source = request.inputs.resolve()
    for path in outputs:
        target = path.resolve()
        if target == source or source in target.parents:
            raise SettingError(f"{path} is an input, which is never replaced; use another --out")


def _resolve_fit(generator: Generator, fit: TranslationFit | None) -> TranslationFit:
    """Return the fit, or its default. Raises SettingError for one that does not exist, or that the model lacks."""
    takes_any_size = generator.model.multiple is not None
    if fit is None:
        return "native" if takes_any_size else "resize"
    if fit not in get_args(TranslationFit):
        raise SettingError(f"fit '{fit}' does not exist; use one of: {', '.join(get_args(TranslationFit))}")
    if fit == "native" and not takes_any_size:
        raise SettingError(f"{generator.model.name} takes images of one size only; use --fit resize")
    return fit


def _reader(request: TranslationRequest, scale: _Scale) -> PictureReader:
    """Build the data set that reads the images."""
    fit = scale.fit if scale.fit in ("crop", "pad", "stretch") else None
    return build_picture_reader(request.run, request.inputs, scale.side, fit)


def _trained_on_converted_images(request: TranslationRequest) -> bool:
    """Whether the run was trained on colour images converted to grey, so that --grey is not needed."""
    data = training_data(request.run)
    is_greyed = getattr(catalog.build("data", data.name, data.options), "is_greyed", None)
    return is_greyed is not None and bool(is_greyed("target" if request.back else "source"))


def _translate_picture(generator: Generator, picture: Tensor, scale: _Scale, *, back: bool) -> Tensor:
    """Translate an image (C, H, W): (C', H, W), or the sides times the scale of the model."""
    height, width = picture.shape[1:]
    enlargement, most = generator.model.scale, MAX_PIXELS // generator.model.scale**2
    if height * width > most:
        raise DataError(f"{width:,} x {height:,} pixels, more than {most:,}: reduce it")
    if scale.fit != "resize":
        return generator.translate(picture[None], back=back)[0]
    factor = scale.side / min(height, width)
    sides = (max(scale.side, round(height * factor)), max(scale.side, round(width * factor)))
    if generator.model.multiple is None:
        sides = (scale.side, scale.side)
    output = generator.translate(_resize(picture, sides)[None], back=back)[0]
    return _resize(output, (enlargement * height, enlargement * width))


def _resize(pixels: Tensor, sides: tuple[int, int]) -> Tensor:
    """Resize (C, H, W) to other sides, with Pillow's Lanczos filter as in training."""
    if tuple(pixels.shape[1:]) == sides:
        return pixels
    planes = [Image.fromarray(plane).resize(sides[::-1], Image.Resampling.LANCZOS) for plane in pixels.numpy()]
    return torch.from_numpy(np.stack([np.asarray(plane) for plane in planes])).clamp_(-1, 1)


def _names(paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield paths and output names: a/b.jpg -> a/b.png; a/b.jpg.png if two inputs differ only in their extension."""
    stems = [str(PurePosixPath(path).with_suffix("")) for path in paths]
    counts = Counter(stems)
    for path, stem in zip(paths, stems, strict=True):
        yield path, f"{stem if counts[stem] == 1 else path}.png"


def _require_grey(pictures: PictureSource) -> None:
    """Raise DataError if there are colour images. Images that cannot be read are ignored."""
    colour = []
    for path in pictures.paths:
        try:
            colour += [path] if pictures.read(path, is_square=False).is_converted else []
        except (OSError, DataError):
            continue
    if colour:
        raise DataError(
            f"{len(colour):,} of {len(pictures.paths):,} images are in colour ({format_names(colour)}), "
            "but this generator takes grey images; add --grey to convert them"
        )


def _final_notes(skipped: dict[str, str], count: int, largest: int, scale: _Scale) -> Iterator[str]:
    if skipped:
        verb = agree(len(skipped), "was", "were")
        yield f"{len(skipped):,} of {count:,} images {verb} skipped: {_format_reasons(skipped)}"
    if scale.fit == "native" and largest >= LARGE * scale.side:
        yield (
            f"images of up to {largest:,} pixels were translated at their own size by a generator that was trained at "
            f"{scale.side}: objects appear larger than it has seen; --fit resize translates at the scale of training"
        )


def _format_reasons(skipped: dict[str, str]) -> str:
    return format_names([f"{path} ({reason})" for path, reason in skipped.items()])
