"""Millions of images in shards (WebDataset .tar, Parquet) or in a folder, which are decoded while a model trains.

Nothing is decoded beforehand and no copy of the pixels is kept: an index of 16 bytes per image is written once, and
mapped to memory. The order is a shuffle of all images with an exact position. Add --data-workers N to decode in N
processes. Smaller sets are faster as image_folder, which decodes each image once. See docs/how-to/large-data.md.
"""

import dataclasses
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

import torch

from equipoise.core.data import Batch, DataSpec, Preparation, Split, Suggestion, exhaust
from equipoise.core.image_sizes import ImageSides, parse_image_size
from equipoise.core.printing import agree, format_count, format_names, printable
from equipoise.data._arrays import check_split_size, luma, to_range
from equipoise.data._files.cache import changed_cache, changed_data
from equipoise.data._files.decoding import Decoded
from equipoise.data._files.listing import describe_difference
from equipoise.data._images.decoding import decode
from equipoise.data._images.image_format import RGBA, Alpha, Background, Fit, ImageFormat, check_transparent_shape
from equipoise.data._images.notes import format_notes
from equipoise.data._images.sizes import choose_size, content_size
from equipoise.data._images.suggested_settings import suggest_for_pictures
from equipoise.data._shards.index import FILES, ROW, ShardIndex, open_index
from equipoise.data._shards.indexing import TASK, IndexOptions, find_index, root_of
from equipoise.data._shards.names import is_pattern
from equipoise.data._shards.reader import ReadBatch, ShardReader, default_window, sample_images
from equipoise.data._splits import MIN_HELD_OUT, check_held_out
from equipoise.errors import DataError, SettingError

__all__ = ["ImageShards"]

SAMPLE = 256
"""Number of images from which size and colour follow, if they are not given."""
MAX_LISTED_CLASSES = 8


@dataclass(frozen=True, slots=True)
class ImageShards:
    """Images (C, H, W) float32 in [-1, 1] of 8 bits a channel; images of more are read with 8.

    Members of a tar with the same path up to the first dot of the name are one sample, as in WebDataset. Raises
    SettingError for an invalid option.
    """

    shards: str
    """folder of .tar or .parquet files or of images, one such file, or a pattern: "data/train-{0000..0099}.tar" """
    image_size: int | str | None = None
    """pixels a side, or width x height: 64x96; default: the largest of 16, 32 and 64 that half of a sample reach"""
    channels: int | None = None
    """1 or 3, or 4 with transparency; default: 1 if all images of a sample are grey"""
    fit: Fit = "crop"
    """handling of images of another shape: centre crop, padding, or stretching"""
    background: Background = "white"
    """colour behind transparent pixels, and of padding"""
    alpha: Alpha = "background"
    """handling of transparency: composited on the background, or kept as a fourth channel"""
    flips: bool = False
    """whether mirror images are valid samples, so that augmentation may use them"""
    labels: Literal["auto", "none", "folders"] = "auto"
    """where labels are from: auto (.cls or .json next to an image, a column, or else folders), none, folders"""
    label_column: str | None = None
    """column of the labels in Parquet files; default: one that is called label, class, category, …"""
    key: str | None = None
    """extension of the images in a tar whose samples have several (jpg), or column of the images in Parquet files"""
    mixed_shards: int | None = None
    """number of shards (of Parquet files: row groups) that are read at a time and mixed; default: all of them, of row
    groups up to 16"""
    held_out: float = 0.1
    """share of the images that is held out, at most 50,000 of them, unless there are shards called valid"""
    cache: str = "runs/.cache"
    """folder of the index"""
    classes: tuple[str, ...] | None = None
    """names of the labels; set automatically"""
    digest: str | None = None
    """digest of the headers of all shards; set automatically, so that a resumed run uses the same images"""

    def __post_init__(self) -> None:
        check_transparent_shape(self.image_size, self.channels, self.alpha)
        check_held_out(self.held_out)
        if self.mixed_shards is not None and self.mixed_shards < 1:
            raise SettingError(f"mixed_shards = {self.mixed_shards}: it must be at least 1")

    def prepare(self) -> Iterator[Preparation]:
        """Index the shards if they are new. Raises DataError if they changed since `digest` was computed."""
        yield from self._scan()

    def resolve(self) -> Self:
        """Return the data set with the full path, and with size, channels, classes and digest as read."""
        resolved: Self = exhaust(self._scan())
        return resolved

    @property
    def spec(self) -> DataSpec:
        """Description of one image; does not read the shards once resolved."""
        if self.image_size is None or self.channels is None or self.classes is None:
            return self.resolve().spec
        shape = (self.channels, *parse_image_size(self.image_size))
        return DataSpec(shape, len(self.classes), self.flips, self.classes)

    @property
    def suggestion(self) -> Suggestion:
        """Settings for a first result within an hour on two cores."""
        metric = "kd_efficientnet_lite0" if self.count("held_out") >= MIN_HELD_OUT else None
        return suggest_for_pictures(self.spec.shape, self.count("train"), metric)

    def count(self, split: Split) -> int:
        """Return the number of images of a split."""
        data, index = self._open()
        blocks = index.split_blocks(data.held_out)
        held_out = int(blocks.held_out.sum())
        return held_out if split == "held_out" else int(blocks.sizes.sum()) - held_out

    def skipped(self) -> Mapping[str, str]:
        """Return what is not used: damaged images that were drawn until now, by path; other files, by kind."""
        index = self._open()[1]
        kinds = {f"{format_count(count)}: {kind}": "not used" for kind, count in index.left_out.items()}
        return {**kinds, **index.damaged()}

    def stream(self, split: Split, batch_size: int, seed: int) -> "ShardStream":
        """Return endless shuffled batches of a split, with labels if there are classes.

        Raises DataError if the split is smaller than a batch.
        """
        data, index = self._open()
        check_split_size(data.count(split), batch_size, split, "images")
        reader = ShardReader(
            *(index.folder, data._root(), data._format(), split == "held_out", data.held_out),
            *(batch_size, seed, data.mixed_shards),
        )
        return ShardStream(reader, channels=data.spec.shape[0], has_labels=bool(data.classes))

    def own_size(self) -> int:
        """Return the side of the images in pixels if a sample are squares of one size, otherwise the default size."""
        index = self._open()[1]
        sizes = _sizes(self._sample(index))
        is_one_size = len(set(sizes)) == 1 and sizes[0][0] == sizes[0][1]
        return sizes[0][0] if is_one_size else choose_size(sizes)

    def _scan(self) -> Generator[Preparation, None, Self]:
        """Index new shards, yield notes, and return the resolved data set."""
        located = dataclasses.replace(self, shards=_absolute(self.shards), cache=_absolute(self.cache))
        index = yield from find_index(located.shards, located._index_options, Path(located.cache))
        if self.digest not in (None, index.digest):
            before = open_index(Path(located.cache), str(self.digest))
            raise DataError(changed_data(Path(located.shards), _describe_changes(before, index)))
        contents = located._sample(index)
        if not contents:
            raise DataError(f"no image of a sample of {printable(self.shards)} can be read; check the files")
        sides = parse_image_size(self.image_size or choose_size(_sizes(contents)))
        result = dataclasses.replace(located, image_size=sides.setting, classes=index.classes, digest=index.digest)
        sample = _decode_sample(tuple(contents), result._format())
        if not sample:
            raise DataError(f"no image of a sample of {printable(self.shards)} can be decoded; check the files")
        grey = all(decoded.facts["grey"] for decoded in sample)
        channels = self.channels or (RGBA if self.alpha == "keep" else 1 if grey else 3)
        result = dataclasses.replace(result, channels=channels)
        if self.alpha == "keep" and not any(decoded.facts["transparent"] for decoded in sample):
            raise DataError(
                f"none of {len(sample)} images of {printable(self.shards)} is transparent; omit data.alpha=keep"
            )
        for note in result._notes(index, sample):
            yield Preparation(TASK, len(index.shards), len(index.shards), note)
        return result

    @property
    def _index_options(self) -> IndexOptions:
        return IndexOptions(self.labels, self.label_column, self.key)

    def _root(self) -> Path:
        """Return the folder to which the paths of the index are relative."""
        return root_of(self.shards, self._index_options, Path(self.cache))

    def _sample(self, index: ShardIndex) -> Sequence[bytes]:
        return _read_sample(index, root_of(_absolute(self.shards), self._index_options, Path(_absolute(self.cache))))

    def _format(self) -> ImageFormat:
        """Return the format in which images are decoded."""
        form = ImageFormat(0, self.fit, self.background, alpha="keep" if self.alpha == "keep" else None)
        sides = ImageSides(1, 1) if self.image_size is None else parse_image_size(self.image_size)
        return form.with_sides(sides)

    def _open(self) -> tuple[Self, ShardIndex]:
        """Return the resolved data set and its index; reads the shards only if necessary."""
        is_resolved = None not in (self.image_size, self.channels, self.classes, self.digest)
        if is_resolved and (index := open_index(Path(self.cache), str(self.digest))):
            return self, index
        data = self.resolve()
        if (index := open_index(Path(data.cache), str(data.digest))) is None:
            raise changed_cache(data.cache)
        return data, index

    def _notes(self, index: ShardIndex, sample: Sequence[Decoded]) -> Iterator[str]:
        """Yield notes on the shards, their labels, and how images are decoded."""
        count, place = format_count(len(index.rows), "image"), format_count(len(index.shards), "shard")
        size = f"{ROW.itemsize * len(index.rows) / 2**20:,.1f} MiB"
        yield f"{count} in {'one folder' if index.kind == FILES else place}; their index takes {size}"
        yield from index.notes
        if index.classes:
            listed = ", ".join(map(printable, index.classes[:MAX_LISTED_CLASSES]))
            more = ", …" * (len(index.classes) > MAX_LISTED_CLASSES)
            yield f"{len(index.classes):,} classes, by {printable(index.labels)}: {listed}{more}"
        if index.left_out:
            kinds = ", ".join(f"{number:,} {printable(kind)}" for kind, number in sorted(index.left_out.items()))
            yield f"left out: {kinds}"
        if index.kind == ".parquet":
            mixed = min(self.mixed_shards or default_window(index), len(index.blocks))
            verb = agree(mixed, "is", "are")
            yield f"{format_count(mixed, 'row group')} {verb} read at a time and mixed (mixed_shards)"
        if damaged := index.damaged():
            verb = agree(len(damaged), "is known to be damaged", "are known to be damaged")
            yield f"{format_count(len(damaged), 'image')} {verb}, and replaced by others: {format_names(list(damaged))}"
        facts: dict[str, int] = {}
        for decoded in sample:
            for name, value in decoded.facts.items():
                facts[name] = facts.get(name, 0) + value
        yield from (f"in a sample, {note}" for note in format_notes(facts, len(sample), self._format()))


@dataclass(frozen=True, slots=True)
class ShardStream:
    """Endless epochs over the images of shards, each in a new order, split into batches.

    `reader`: reads the images of a batch, also in other processes. `channels`: 1, 3 or 4. `has_labels`: whether
    there are classes.
    """

    reader: ShardReader
    channels: int
    has_labels: bool

    def batch(self, index: int) -> Batch:
        """Return batch number `index`: real (B, C, H, W) float32 in [-1, 1], condition (B,) int64 or None."""
        return self.assemble(self.reader.read(index))

    def assemble(self, read: ReadBatch) -> Batch:
        """Return the batch of images that the reader read."""
        real = to_range(torch.from_numpy(read.pixels))
        condition = torch.from_numpy(read.labels) if self.has_labels else None
        return Batch(luma(real) if self.channels == 1 else real, condition)

    def damaged(self) -> Mapping[str, str]:
        """Return path -> reason of the images that were found to be damaged until now, by any process."""
        return self.reader.damaged()


def _absolute(path: str) -> str:
    """Return a path or a pattern with its full path; links are kept, because a pattern may contain them."""
    expanded = os.path.abspath(os.path.expanduser(path))
    return expanded if is_pattern(path) else str(Path(expanded).resolve())


@lru_cache(maxsize=2)
def _read_sample(index: ShardIndex, root: Path) -> Sequence[bytes]:
    return sample_images(index, root, SAMPLE)


@lru_cache(maxsize=2)
def _decode_sample(contents: tuple[bytes, ...], form: ImageFormat) -> Sequence[Decoded]:
    """Decode images, without those that are damaged."""
    result = []
    for content in contents:
        try:
            result.append(decode(content, form))
        except DataError:  # recorded when it is drawn
            continue
    return result


def _sizes(contents: Sequence[bytes]) -> list[tuple[int, int]]:
    return [size for content in contents if (size := content_size(content))]


def _describe_changes(before: ShardIndex | None, index: ShardIndex) -> str:
    """Describe how shards changed since a run started."""
    if before is None:
        return "its files differ"
    tables = [{shard.path: f"{shard.digest} {shard.size}" for shard in each.shards} for each in (before, index)]
    return describe_difference(*tables) or "its labels differ"
