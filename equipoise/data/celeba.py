"""CelebA: 202,599 photographs of celebrity faces, aligned by their eyes.

Liu, Luo, Wang and Tang 2015, "Deep Learning Face Attributes in the Wild"; for non-commercial research only, no
redistribution. The authors distribute it through Google Drive, so a local copy is needed: see docs/reference/data.md.
"""

import dataclasses
import re
import shutil
import zipfile
import zlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Self

import torch

from equipoise.core.data import DataSpec, Preparation, Split, Suggestion, exhaust
from equipoise.data import _download
from equipoise.data._arrays import ImageStream
from equipoise.data._files.cache import (
    CachedFolder,
    changed_cache,
    check_unchanged,
    decode_source,
    open_cached,
)
from equipoise.data._files.decoding import Decoded, Decoding
from equipoise.data._files.listing import File, content_digest, report_write_errors
from equipoise.data._files.sources import open_folder
from equipoise.data._images.decoding import decode
from equipoise.data._images.image_format import ImageFormat
from equipoise.errors import DataError, SettingError

__all__ = ["CelebA"]

ALIGNED = "img_align_celeba"
ARCHIVE = f"{ALIGNED}.zip"
MD5 = "00d2c5bc6d35e252742224ab0c1e8fcb"
"""MD5 of the archive: torchvision 0.29, datasets/celeba.py."""
PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
COUNT = 202_599
TRAIN = 162_770
"""Number of the last training image.

In list_eval_partition.txt: images up to 162770.jpg for training, up to 182637.jpg for validation, the rest for tests;
no person is in two of the three.
"""
COUNTS: dict[Split, int] = {"train": TRAIN, "held_out": COUNT - TRAIN}
NAME = re.compile(r"\d{6}\.jpg")
SIZES = (16, 32, 64, 128)
DECODER = 1
"""Version of the decoder; incremented when its output changes."""
DECODING, UNPACKING = "decoding images", f"unpacking {ARCHIVE}"
PROGRESS_EVERY = 500


@dataclass(frozen=True, slots=True)
class CelebA:
    """Faces (3, S, S) float32 in [-1, 1], without labels, decoded once into a cache.

    Images are the central 178 x 178 of 178 x 218 pixels, downsampled: the crop of common DCGAN examples (PyTorch's
    DCGAN tutorial: Resize, then CenterCrop). Others use a smaller crop, 108 to 160 pixels, so published values are
    comparable only for the same crop. 162,770 images for training; those for validation and tests, 39,829, are held
    out. Raises SettingError for an unsupported size.
    """

    root: str = "data"
    """folder that contains celeba/img_align_celeba.zip, or unpacked celeba/img_align_celeba/"""
    image_size: int = 64
    """pixels a side: 16, 32, 64 or 128"""
    published: bool = True
    """whether the complete set is required, checked by MD5 (archive) or file names (folder); false for a part of it"""
    cache: str = "runs/.cache"
    """folder of decoded images"""
    digest: str | None = None
    """digest of all files; set automatically, so that a resumed run uses the same images"""

    def __post_init__(self) -> None:
        if self.image_size not in SIZES:
            raise SettingError(f"image_size = {self.image_size} is not supported by 'celeba'; use 16, 32, 64 or 128")

    def prepare(self) -> Iterator[Preparation]:
        """Unpack and decode the images if necessary. Raises DataError with instructions if the archive is missing."""
        yield from self._scan()

    def resolve(self) -> Self:
        """Return the data set with full paths and the digest as read."""
        resolved: Self = exhaust(self._scan())
        return resolved

    @property
    def spec(self) -> DataSpec:
        """Colour images without labels; mirrored faces are valid."""
        return DataSpec((3, self.image_size, self.image_size), flips=True)

    @property
    def suggestion(self) -> Suggestion:
        """Settings for five epochs, as in PyTorch's DCGAN tutorial: minutes on a GPU, many hours on a CPU."""
        return Suggestion(model="dcgan:celeba64", steps=6400, batch_size=128)

    def count(self, split: Split) -> int:
        """Return 162,770 for training, 39,829 held out; for a part, the number of its files."""
        if self.published:
            return COUNTS[split]
        return len(_rows(self._open(), split))

    def stream(self, split: Split, batch_size: int, seed: int) -> ImageStream:
        """Return endless shuffled batches of a split. Raises DataError if the split is smaller than a batch."""
        cached = self._open()
        return ImageStream(
            cached.array, None, batch_size, seed, split, torch.tensor(_rows(cached, split), dtype=torch.int64)
        )

    def _scan(self) -> Generator[Preparation, None, Self]:
        """Unpack and decode new files, and return the resolved data set."""
        root, cache = Path(self.root).expanduser().resolve(), Path(self.cache).expanduser().resolve()
        folder = yield from self._unpack(root, cache)
        listed = open_folder(folder, (".jpg",))
        source = listed.select([file for file in listed.files if NAME.fullmatch(file.path)])
        if self.published:
            _check_names(folder, source.files)
        check_unchanged(source, cache, self.digest, folder)
        size = self.image_size
        work = partial(_decode, ImageFormat(size, "crop", "white"))
        decoding = Decoding(_key(size), work, (3, size, size), "uint8", DECODING, tolerance=0.0)
        cached = yield from decode_source(source, cache, decoding)
        return dataclasses.replace(self, root=str(root), cache=str(cache), digest=cached.digest)

    def _unpack(self, root: Path, cache: Path) -> Generator[Preparation, None, Path]:
        """Return the folder of the images: the existing one, or one in the cache with the unpacked archive."""
        locations = (root / "celeba", root)
        for folder in (location / ALIGNED for location in locations):
            if folder.is_dir():
                return folder
        if (archive := _download.first_existing([location / ARCHIVE for location in locations])) is None:
            raise DataError(
                f"CelebA is not in {locations[0]} and cannot be downloaded automatically: get {ARCHIVE} from {PAGE} "
                f"and put it there, or pass its folder with --option data.root=FOLDER"
            )
        status = archive.stat()
        target = cache / f"celeba-{content_digest(f'{archive} {status.st_size} {status.st_mtime_ns}'.encode())}"
        if not target.is_dir():
            if self.published:
                yield Preparation(f"checking {ARCHIVE}", 0, 1)
                _download.check_file(archive, MD5, f"get it again from {PAGE}")
            yield from _unpack_archive(archive, target)
        return target

    def _open(self) -> CachedFolder:
        """Return the images; reads the folder only if they are not in the cache."""
        key = _key(self.image_size)
        if self.digest is not None and (cached := open_cached(Path(self.cache), self.digest, key)):
            return cached
        data = self.resolve()
        if data.digest is None or (cached := open_cached(Path(data.cache), data.digest, key)) is None:
            raise changed_cache(data.cache)
        return cached


def _rows(cached: CachedFolder, split: Split) -> list[int]:
    """Return the rows of a split, by the numbers in the file names."""
    return [row for row, path in enumerate(cached.paths) if (int(path[:6]) <= TRAIN) == (split == "train")]


def _check_names(folder: Path, files: Sequence[File]) -> None:
    """Raise DataError if a folder is not the complete CelebA: 000001.jpg to 202599.jpg."""
    present = {file.path for file in files}
    missing = [name for number in range(1, COUNT + 1) if (name := f"{number:06}.jpg") not in present]
    if missing:
        raise DataError(
            f"{folder} is not the complete CelebA: {missing[0]} and {len(missing) - 1:,} more are missing; unpack "
            f"{ARCHIVE} again, or train on a part with --option data.published=false"
        )


def _unpack_archive(archive: Path, target: Path) -> Iterator[Preparation]:
    """Unpack only the images into a new folder. Raises DataError if the archive is damaged."""
    with report_write_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=".unpacking-", dir=target.parent))
    try:
        with zipfile.ZipFile(archive) as zipped:
            images = [info for info in zipped.infolist() if NAME.fullmatch(info.filename.rpartition("/")[2])]
            for number, info in enumerate(images):
                content = zipped.read(info)
                with report_write_errors(target.parent):
                    (folder / info.filename.rpartition("/")[2]).write_bytes(content)
                if number % PROGRESS_EVERY == 0:
                    yield Preparation(UNPACKING, number, len(images))
        folder.rename(target)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{archive} is damaged: it cannot be unpacked; get it again from {PAGE}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _decode(form: ImageFormat, content: bytes, path: str) -> Decoded:
    try:
        return decode(content, form)
    except DataError as error:
        raise DataError(f"{ALIGNED}/{path} cannot be used: {error}; get {ARCHIVE} again from {PAGE}") from error


def _key(size: int) -> dict[str, object]:
    """Return the options that determine how files are decoded."""
    return {"data": "celeba", "decoder": DECODER, "size": size}
