"""CelebA: 202,599 photographs of the faces of celebrities, aligned by their eyes.

Liu, Luo, Wang and Tang 2015, "Deep Learning Face Attributes in the Wild"; for research that is not commercial, not to
be passed on. Its authors give it out by Google Drive, so a local copy is needed: see docs/reference/data.md.
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

from equipoise.core.data import DataSpec, Preparation, Split, Suggestion
from equipoise.data import _cache, _download
from equipoise.data._arrays import Shuffled
from equipoise.data._cache import Decoded, File, Kept
from equipoise.data._files import content_digest, last, writing_to
from equipoise.data._pictures import Form, decode
from equipoise.errors import DataError, SettingError

__all__ = ["CelebA"]

ALIGNED = "img_align_celeba"
ARCHIVE = f"{ALIGNED}.zip"
MD5 = "00d2c5bc6d35e252742224ab0c1e8fcb"
"""Of the archive: torchvision 0.29, datasets/celeba.py."""
PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
COUNT = 202_599
TRAIN = 162_770
"""list_eval_partition.txt: images up to 162770.jpg are to train on, those up to 182637.jpg for validation, the rest for
tests; nobody is in two of the three."""
COUNTS: dict[Split, int] = {"train": TRAIN, "held_out": COUNT - TRAIN}
NAME = re.compile(r"\d{6}\.jpg")
SIZES = (16, 32, 64, 128)
DECODER = 1
"""Counts the changes of what decoding gives."""
DECODING, UNPACKING = "decoding images", f"unpacking {ARCHIVE}"
TOLD_EVERY = 500


@dataclass(frozen=True, slots=True)
class CelebA:
    """Faces (3, S, S) float32 in [-1, 1], without labels, decoded once into a cache.

    Of the 178 x 218 pixels the middle 178 x 178 are made smaller: the crop of DCGAN's usual examples (PyTorch's DCGAN
    tutorial: Resize, then CenterCrop). Others cut out less, 108 to 160 pixels, so published figures compare only at the
    same crop. 162,770 to train on; those for validation and tests, 39,829, are held out.
    Raises SettingError for a size that is not offered.
    """

    root: str = "data"
    """folder that holds celeba/img_align_celeba.zip, or unpacked celeba/img_align_celeba/"""
    image_size: int = 64
    """pixels a side: 16, 32, 64 or 128"""
    published: bool = True
    """take only the whole of it, the archive by its MD5, the folder by its names; false for a part of it"""
    cache: str = "runs/.cache"
    """where decoded images are kept"""
    digest: str | None = None
    """of all files; written by the program, so that a run goes on with the images it began with"""

    def __post_init__(self) -> None:
        if self.image_size not in SIZES:
            raise SettingError(f"image_size = {self.image_size} is not offered by 'celeba'; use 16, 32, 64 or 128")

    def prepare(self) -> Iterator[Preparation]:
        """Unpack and decode, if that was not done. Raises DataError, telling what to put where, if it is not there."""
        yield from self._making()

    def resolve(self) -> Self:
        """The same with full paths, and the digest as found."""
        resolve: Self = last(self._making())
        return resolve

    @property
    def spec(self) -> DataSpec:
        """Colour images without labels; a mirrored face is one."""
        return DataSpec((3, self.image_size, self.image_size), flips=True)

    @property
    def suggestion(self) -> Suggestion:
        """Five epochs of 128, as PyTorch's DCGAN tutorial trains: minutes on a GPU, many hours without."""
        return Suggestion(model="dcgan:celeba64", steps=6400, batch_size=128)

    def count(self, split: Split) -> int:
        """162,770 to train on, 39,829 held out; of a part as many as there are."""
        if self.published:
            return COUNTS[split]
        return len(_rows(self._ready(), split))

    def stream(self, split: Split, batch_size: int, seed: int) -> Shuffled:
        """Endless shuffled batches of a split. Raises DataError if the split is smaller than a batch."""
        kept = self._ready()
        return Shuffled(kept.array, None, batch_size, seed, split, torch.tensor(_rows(kept, split), dtype=torch.int64))

    def _making(self) -> Generator[Preparation, None, Self]:
        """Unpack and decode what is new, and return it settled."""
        root, cache = Path(self.root).expanduser().resolve(), Path(self.cache).expanduser().resolve()
        folder = yield from self._unpacking(root, cache)
        files = tuple(file for file in _cache.listing(folder, (".jpg",)) if NAME.fullmatch(file.path))
        if self.published:
            _check_names(folder, files)
        if self.digest is not None and (what := _cache.changes(folder, cache, files, self.digest)):
            raise DataError(f"{folder} is not as it was when this run began: {what}; restore it, or train anew")
        key, size = _key(self.image_size), self.image_size
        if (kept := _cache.kept(folder, cache, files, key)) is None:
            work = partial(_decoded, Form(size, "crop", "white"))
            yield from _cache.fill(folder, cache, files, key, work, (3, size, size), "uint8", DECODING, 0.0)
            kept = _cache.kept(folder, cache, files, key)
        if kept is None:
            raise DataError(f"{folder} changed while it was read; start again when nothing writes to it")
        return dataclasses.replace(self, root=str(root), cache=str(cache), digest=kept.digest)

    def _unpacking(self, root: Path, cache: Path) -> Generator[Preparation, None, Path]:
        """The folder of the images, as it lies there or unpacked into the cache."""
        places = (root / "celeba", root)
        for folder in (place / ALIGNED for place in places):
            if folder.is_dir():
                return folder
        if (archive := _download.result([place / ARCHIVE for place in places])) is None:
            raise DataError(
                f"there is no CelebA in {places[0]}, and no program may fetch it: get {ARCHIVE} from {PAGE} and put "
                f"it there, or name the folder that holds it: --option data.root=FOLDER"
            )
        status = archive.stat()
        target = cache / f"celeba-{content_digest(f'{archive} {status.st_size} {status.st_mtime_ns}'.encode())}"
        if not target.is_dir():
            if self.published:
                yield Preparation(f"checking {ARCHIVE}", 0, 1)
                _download.check_file(archive, MD5, f"get it anew from {PAGE}")
            yield from _unpacked(archive, target)
        return target

    def _ready(self) -> Kept:
        """The images: the folder is looked at only once, or if the cache was deleted."""
        key = _key(self.image_size)
        if self.digest is not None and (kept := _cache.opened(Path(self.cache), self.digest, key)):
            return kept
        data = self.resolve()
        if data.digest is None or (kept := _cache.opened(Path(data.cache), data.digest, key)) is None:
            raise DataError(f"the cache {data.cache} was changed while it was read; start again")
        return kept


def _rows(kept: Kept, split: Split) -> list[int]:
    """Which rows belong to a split, by the numbers that the files have for names."""
    return [row for row, path in enumerate(kept.paths) if (int(path[:6]) <= TRAIN) == (split == "train")]


def _check_names(folder: Path, files: Sequence[File]) -> None:
    """Raise DataError if a folder is not the whole of CelebA: 000001.jpg to 202599.jpg."""
    there = {file.path for file in files}
    missing = [name for number in range(1, COUNT + 1) if (name := f"{number:06}.jpg") not in there]
    if missing:
        raise DataError(
            f"{folder} is not the whole of CelebA: {missing[0]} and {len(missing) - 1:,} more are missing; unpack "
            f"{ARCHIVE} anew, or train on the part: --option data.published=false"
        )


def _unpacked(archive: Path, target: Path) -> Iterator[Preparation]:
    """Unpack the images, and nothing else, into a new folder. Raises DataError if the archive is damaged."""
    with writing_to(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=".unpacking-", dir=target.parent))
    try:
        with zipfile.ZipFile(archive) as opened:
            images = [info for info in opened.infolist() if NAME.fullmatch(info.filename.rpartition("/")[2])]
            for number, info in enumerate(images):
                content = opened.read(info)
                with writing_to(target.parent):
                    (folder / info.filename.rpartition("/")[2]).write_bytes(content)
                if number % TOLD_EVERY == 0:
                    yield Preparation(UNPACKING, number, len(images))
        folder.rename(target)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{archive} is damaged: it cannot be unpacked; get it anew from {PAGE}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _decoded(form: Form, content: bytes, path: str) -> Decoded:
    try:
        return decode(content, form)
    except DataError as error:
        raise DataError(f"{ALIGNED}/{path} cannot be used: {error}; get {ARCHIVE} anew from {PAGE}") from error


def _key(size: int) -> dict[str, object]:
    """What decides how files are decoded."""
    return {"data": "celeba", "decoder": DECODER, "size": size}
