"""Reading of one image of the user's own, as the images of a run were read: same channels, range and background."""

from collections.abc import Generator as Steps
from pathlib import Path

from torch import Tensor

from equipoise.core.data import Preparation
from equipoise.errors import DataError, SettingError
from equipoise.inference.generator import Generator
from equipoise.inference.image_reading import ImageFit, build_picture_reader


def read_user_image(
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
    files = yield from build_picture_reader(run, path, spec.shape[1], fit).pictures(spec.shape[0])
    if len(files.paths) != 1:
        raise DataError(f"{path} has {len(files.paths):,} images; use the path of one image")
    try:
        return files.read(files.paths[0], is_square=fit is not None).pixels
    except (OSError, DataError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
