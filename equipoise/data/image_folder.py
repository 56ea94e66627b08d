"""Images in a folder, an archive, an array or a Parquet file, of any size, colour and depth, with or without labels.

PNG, JPEG, WebP, BMP, TIFF, GIF, HEIC and others, also in .zip or .tar, WebDataset shards, arrays (.npy, .npz), and
Parquet files as of Hugging Face. Folders called train, valid and test are splits; labels are read from label files or
subfolders. Images are decoded once into a cache next to the runs, and memory-mapped from there; your files are never
modified. Check the licence of your images. See docs/reference/data.md; for millions docs/how-to/large-data.md.
"""

import dataclasses
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from equipoise.core.data import DataSpec, Preparation, Split, Stream, Suggestion, exhaust
from equipoise.core.image_sizes import parse_image_size
from equipoise.core.inspection import Inspection
from equipoise.core.printing import agree, format_count
from equipoise.data._arrays import GreyStream, ImageStream, group_by_class
from equipoise.data._files.cache import (
    CachedFolder,
    changed_cache,
    changed_data,
    decode_source,
    describe_changes,
    open_cached,
)
from equipoise.data._files.sources import Source, open_folder
from equipoise.data._images.decoding import TASK, decoding_key, image_decoding
from equipoise.data._images.image_format import (
    RGBA,
    Alpha,
    Background,
    Fit,
    ImageFormat,
    check_transparent_shape,
)
from equipoise.data._images.inspection import inspect_images
from equipoise.data._images.notes import format_notes, size_notes
from equipoise.data._images.pixel_values import Layout
from equipoise.data._images.sizes import default_size, own_size
from equipoise.data._images.sources import open_images
from equipoise.data._images.suggested_settings import suggest_for_pictures
from equipoise.data._images.value_range import ValueRange, measure_range
from equipoise.data._labels.assignment import (
    AssignedImages,
    Assignment,
    AssignmentOptions,
    SplitOption,
    assign,
    assign_by_top_folder,
    class_names,
    load_assignment,
    save_assignment,
)
from equipoise.data._labels.labels import AUTO
from equipoise.data._pairs import ImageRows
from equipoise.data._splits import MIN_HELD_OUT, check_held_out
from equipoise.errors import DataError, SettingError

__all__ = ["ImageFolder"]

OLD_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Files that were read before other formats were: a run from that time resumes with the same images."""


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """Images (C, H, W) float32 in [-1, 1] from a folder and all its subfolders, except hidden ones, or from a file.

    Raises SettingError for an invalid option.
    """

    folder: str
    """folder that contains the images, or a file: .zip, .tar, .tar.gz, .npy, .npz or .parquet"""
    image_size: int | str | None = None
    """pixels a side, or width x height: 64x96; default: the largest of 16, 32 and 64 that half of the images (nearly)
    reach"""
    channels: int | None = None
    """1 or 3, or 4 with transparency; default: 1 if all images are grey"""
    fit: Fit = "crop"
    """handling of images of another shape: centre crop, padding, or stretching"""
    background: Background = "white"
    """colour behind transparent pixels, and of padding"""
    alpha: Alpha = "background"
    """handling of transparency: composited on the background, or kept as a fourth channel"""
    flips: bool = False
    """whether mirror images are valid samples, so that augmentation may use them"""
    classes: tuple[str, ...] | None = None
    """labels that are classes; default: all of them if there are at least two; empty: no classes"""
    labels: str = AUTO
    """where labels are from: auto, none, folders, or the name of a label file such as labels.csv"""
    label_column: str | None = None
    """column of the labels in a label file or Parquet file, if several could be"""
    split: SplitOption = "auto"
    """images to use if folders are splits: auto (train, holding out valid), all, or one; none: they are not splits"""
    key: str | None = None
    """array of images in a .npz file, or column of a Parquet file, if several could be"""
    black: float | None = None
    """value that -1 represents; default: 0 for images of 8 bits, otherwise as the set uses it"""
    white: float | None = None
    """value that 1 represents; default: 255 for images of 8 bits, otherwise as the set uses it"""
    layout: Layout | None = None
    """place of the channels in arrays: NHWC (last) or NCHW (first); default: from their shapes"""
    balance: bool = False
    """whether all classes are drawn equally often in training, also rare ones"""
    held_out: float = 0.1
    """share of the images that is held out, selected by a hash of the content, unless there is a split valid"""
    cache: str = "runs/.cache"
    """folder of decoded images"""
    digest: str | None = None
    """digest of all files; set automatically, so that a resumed run uses the same images"""
    assignment: str | None = None
    """digest of all splits and labels; set automatically, so that a resumed run uses the same ones"""
    full_scale: bool | None = None
    """whether images of 8 bits among deeper ones keep their own scale; set automatically"""

    def __post_init__(self) -> None:
        check_transparent_shape(self.image_size, self.channels, self.alpha)
        check_held_out(self.held_out)

    def prepare(self) -> Iterator[Preparation]:
        """Read the folder or file and decode new images. Raises DataError if it changed since `digest` was computed."""
        yield from self._scan()

    def resolve(self) -> Self:
        """Return the data set with full paths, and with size, channels, classes and digest as read."""
        resolved: Self = exhaust(self._scan())
        return resolved

    @property
    def spec(self) -> DataSpec:
        """Description of one image; does not read the folder once resolved."""
        if self.image_size is None or self.channels is None or self.classes is None:
            return self.resolve().spec
        shape = (self.channels, *parse_image_size(self.image_size))
        unit = None if self.black is None or self.white is None else (self.black, self.white)
        return DataSpec(shape, len(self.classes), self.flips, self.classes, unit=unit)

    @property
    def suggestion(self) -> Suggestion:
        """Settings for a first result within an hour on two cores."""
        metric = "kd_efficientnet_lite0" if self.count("held_out") >= MIN_HELD_OUT else None
        return suggest_for_pictures(self.spec.shape, self.count("train"), metric)

    def count(self, split: Split) -> int:
        """Return the number of images of a split."""
        data, images = self._open()
        return len(data._rows(images, split))

    def skipped(self) -> Mapping[str, str]:
        """Return path -> reason of every file that is not used: of another kind, split or class, or damaged."""
        data, images = self._open()
        reason, classes = "has none of the classes; labels=none uses all images", set(data.classes or ())
        paths = (path for row, path in enumerate(images.cached.paths) if classes and images.label(row) not in classes)
        return {**images.assignment.left_out, **images.cached.skipped, **dict.fromkeys(paths, reason)}

    def stream(self, split: Split, batch_size: int, seed: int) -> Stream:
        """Return endless shuffled batches of a split, with labels if there are classes.

        Raises DataError if the split is smaller than a batch.
        """
        data, images = self._open()
        cached, rows, names = images.cached, data._rows(images, split), data.classes or ()
        numbers = {name: number for number, name in enumerate(names)}
        labels = torch.tensor([numbers[images.label(row)] for row in rows]) if names else None
        array = cached.array[:, :1] if data.channels == 1 and _all_grey(cached) else cached.array
        classes = group_by_class(labels, data.balance)
        shuffled = ImageStream(array, labels, batch_size, seed, split, torch.tensor(rows, dtype=torch.int64), classes)
        return shuffled if array.shape[1] == data.channels else GreyStream(shuffled)

    def own_size(self) -> int:
        """Return the side of the images in pixels if they are squares of one size, otherwise the default size.

        Reads headers only.
        """
        return own_size(open_images(Path(self.folder).expanduser().resolve(), self.key))

    def inspect(self) -> Inspection:
        """Decode all images, whatever split they are in, and return what is known of each one."""
        location, cache = Path(self.folder).expanduser().resolve(), Path(self.cache).expanduser().resolve()
        every = dataclasses.replace(self, split="all", digest=None, assignment=None)
        source, assignment, _ = every._read(location)
        try:
            notes = self._read(location)[2]
        except DataError as error:
            notes = [f"training would be refused: {error}"]
        form, range_notes = exhaust(every._choose_format(source, cache))
        return inspect_images(source, cache, form, image_decoding(form), assignment, (*notes, *range_notes))

    def all_images(self, channels: int) -> tuple[tuple[str, ...], ImageRows]:
        """Return paths and images of both splits, in order of paths, with 1 or 3 `channels`.

        Colour is converted to grey by luma, as in training.
        """
        cached = self._open()[1].cached
        rows = torch.arange(len(cached.paths))
        if channels == 3:
            return cached.paths, ImageRows(cached.array, rows)
        if _all_grey(cached):
            return cached.paths, ImageRows(cached.array[:, :1], rows)
        return cached.paths, ImageRows(cached.array, rows, luma=True)

    def _scan(self) -> Generator[Preparation, None, Self]:
        """Decode new images, yield notes, and return the resolved data set."""
        location, cache = Path(self.folder).expanduser().resolve(), Path(self.cache).expanduser().resolve()
        source, assignment, notes = self._read(location)
        self._check_unchanged(source, cache, assignment)
        form, range_notes = yield from self._choose_format(source, cache)
        count = len(source.files)
        yield from (Preparation(TASK, 0, count, note) for note in size_notes(location, count, form))
        cached = yield from decode_source(source, cache, image_decoding(form))
        if form.keeps_alpha and not cached.facts.get("transparent"):
            raise DataError(f"no image in {location} is transparent; omit data.alpha=keep")
        save_assignment(cache, assignment)
        result = dataclasses.replace(
            self,
            folder=str(location),
            cache=str(cache),
            digest=cached.digest,
            image_size=form.sides.setting,
            channels=self.channels or (RGBA if form.keeps_alpha else 1 if _all_grey(cached) else 3),
            classes=class_names(assignment, cached.paths, self.classes, self.folder),
            assignment=None if self._is_old else assignment.digest,
            black=form.black,
            white=form.white,
            layout=form.layout,
            full_scale=form.full_scale,
        )
        images = AssignedImages(cached, assignment, is_old=self._is_old)
        facts = format_notes(cached.facts, len(cached.paths), form)
        if result.balance and not result.classes:
            raise SettingError(f"data.balance = true needs classes, and {location} has none; omit data.balance")
        for note in (*notes, *range_notes, *cached.notes, *facts, *result._notes(images)):
            yield Preparation(TASK, count, count, note)
        return result

    @property
    def _is_old(self) -> bool:
        """Whether a run of an earlier version recorded these options: before splits and label files were read."""
        return self.digest is not None and self.assignment is None

    def _read(self, location: Path) -> tuple[Source, Assignment, list[str]]:
        """Return the images to use, their splits and labels, and notes."""
        if self._is_old:
            source = open_folder(location, OLD_ENDINGS, junk=True)
            return source, assign_by_top_folder([file.path for file in source.files]), []
        options = AssignmentOptions(self.labels, self.label_column, self.split)
        return assign(open_images(location, self.key), options)

    def _check_unchanged(self, source: Source, cache: Path, assignment: Assignment) -> None:
        """Raise DataError if images, splits or labels changed since the digests were computed."""
        if self.digest is None:
            return
        change = describe_changes(source, cache, self.digest)
        if change is None and self.assignment not in (None, assignment.digest):
            change = "its labels or splits differ"
        if change:
            raise DataError(changed_data(source.location, change))

    def _choose_format(
        self, source: Source, cache: Path
    ) -> Generator[Preparation, None, tuple[ImageFormat, tuple[str, ...]]]:
        """Return the format in which images are decoded, with the range of values that the set uses, and notes."""
        values = ValueRange(self.black, self.white, self.layout, self.full_scale)
        if self.digest is None:
            values = yield from measure_range(source, cache, values)
        return values.apply(self._format(self.image_size or default_size(source))), values.notes

    def _format(self, image_size: int | str) -> ImageFormat:
        """Return the format in which images are decoded, without the range of values."""
        form = ImageFormat(0, self.fit, self.background, alpha="keep" if self.alpha == "keep" else None)
        return form.with_sides(parse_image_size(image_size))

    def _open(self) -> tuple[Self, AssignedImages]:
        """Return the resolved data set and its images; reads the folder or file only if necessary."""
        if None not in (self.channels, self.classes) and (images := self._cached()):
            return self, images
        data = self.resolve()
        if (images := data._cached()) is None:
            raise changed_cache(data.cache)
        return data, images

    def _cached(self) -> AssignedImages | None:
        if self.digest is None or self.image_size is None:
            return None
        values = ValueRange(self.black, self.white, self.layout, self.full_scale)
        form = values.apply(self._format(self.image_size))
        cached = open_cached(Path(self.cache), self.digest, decoding_key(form))
        if cached is None:
            return None
        if self.assignment is None:
            return AssignedImages(cached, assign_by_top_folder(cached.paths), is_old=True)
        assignment = load_assignment(Path(self.cache), self.assignment)
        return None if assignment is None else AssignedImages(cached, assignment)

    def _rows(self, images: AssignedImages, split: Split) -> list[int]:
        """Return the rows of a split: among all images, or among those that have a class."""
        cached, classes = images.cached, set(self.classes or ())
        rows = [row for row in range(len(cached.paths)) if not classes or images.label(row) in classes]
        groups = cached.digests if images.is_old else cached.groups
        paths = [cached.paths[row] for row in rows]
        train, held_out = images.assignment.divide(paths, [groups[row] for row in rows], self.held_out)
        return [rows[index] for index in (held_out if split == "held_out" else train)]

    def _notes(self, images: AssignedImages) -> Iterator[str]:
        """Yield notes on transparency and classes for the user."""
        if self.alpha != "keep" and 2 * images.cached.facts.get("transparent", 0) > len(images.cached.paths):
            yield "to generate transparent images, too: --option data.alpha=keep"
        if self.classes:
            yield from images.describe_classes(self.classes)
        if count := images.count_leaks():
            total, verb = format_count(count, "validation image"), agree(count, "is", "are")
            yield f"{total} {verb} nearly identical to a training image: held-out figures look better than they are"


def _all_grey(cached: CachedFolder) -> bool:
    return cached.facts["grey"] == len(cached.paths)
