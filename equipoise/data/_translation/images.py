"""Images of a translation data set: inputs and samples, as halves of every image or in two subfolders.

This module finds, checks and decodes them; the data set defines how inputs and samples are related.
"""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.core.data import Preparation, Split
from equipoise.core.printing import agree, format_count, format_names
from equipoise.data._files.cache import (
    CachedFolder,
    changed_cache,
    check_unchanged,
    decode_source,
    open_cached,
)
from equipoise.data._files.decoding import Decoded, Decoding
from equipoise.data._files.listing import content_digest
from equipoise.data._files.sources import Source
from equipoise.data._images.decoding import TASK, can_split, decode, decode_halves
from equipoise.data._images.image_format import ImageFormat
from equipoise.data._images.notes import format_notes
from equipoise.data._images.sizes import default_size, read_size
from equipoise.data._images.sources import format_left_out, open_images
from equipoise.data._images.value_range import ValueRange, measure_range
from equipoise.data._pairs import ImageRows
from equipoise.data._splits import SplitName, connected_groups, split_by_digest
from equipoise.data._translation.sides import (
    HALVES,
    ImagePlace,
    LayoutOptions,
    SideLayout,
    check_names,
    images_by_name,
    place_images,
    resolve_layout,
)
from equipoise.errors import DataError

DECODER = 1
"""Version of the decoder; incremented when its output changes."""


class FolderOptions(NamedTuple):
    """Options of reading a folder or archive; None for values to be determined. `size` overrides the one in `form`."""

    folder: Path
    cache: Path
    size: int | None
    form: ImageFormat
    layout: LayoutOptions
    digest: str | None


class TranslationImages(NamedTuple):
    """The decoded images of a folder, and the format in which they were decoded."""

    layout: SideLayout
    form: ImageFormat
    cached: CachedFolder

    def places(self) -> list[ImagePlace]:
        """Return the meaning of the path of each row."""
        places = place_images(self.cached.paths, splits=self.layout.splits)
        return [places[path] for path in self.cached.paths]

    def rows(self, side: str) -> list[int]:
        """Return the rows of one side."""
        return [row for row, place in enumerate(self.places()) if self.layout.beside or place.side == side]

    def pairs(self) -> tuple[list[int], list[int]]:
        """Return the rows of the inputs and samples of all pairs, without images whose partner was skipped."""
        places = self.places()
        if self.layout.beside:
            return list(range(len(places))), list(range(len(places)))
        sources, targets = ({places[row].name: row for row in self.rows(side)} for side in self.layout.sides)
        names = [name for name in sources if name in targets]
        return [sources[name] for name in names], [targets[name] for name in names]

    def divide(self, rows: Sequence[int], groups: Sequence[str], split: Split, held_out: float) -> list[int]:
        """Return the indices into `rows` of a split: by the folders that name splits, else a share by `groups`.

        Held out are the validation images if there are any, else the test images; no others are ever trained on.
        """
        places = self.places()
        names: list[SplitName | None] = [places[row].split for row in rows]
        other: SplitName = "valid" if "valid" in names else "test"
        if other in names:
            return [
                i for i, name in enumerate(names) if (name in ("train", None) if split == "train" else name == other)
            ]
        train, rest = split_by_digest(groups, held_out)
        return rest if split == "held_out" else train

    def pair_groups(self) -> list[str]:
        """Return a group name for each of `pairs`: pairs that share an input or a sample are in the same group."""
        sources, targets = self.pairs()
        names = [self.cached.digests[row] for row in sources]
        if self.layout.beside:
            digests = _half_digests(self.cached)
            return connected_groups(
                names, *([digest[HALVES.index(side)] for digest in digests] for side in self.layout.sides)
            )
        return connected_groups(names, names, [self.cached.digests[row] for row in targets])

    def array(self, side: str) -> Tensor:
        """Return images (N, 3, S, S), uint8 or float32 in [-1, 1]; the images of the side are in its `rows`."""
        first = 3 * HALVES.index(side) if self.layout.beside else 0
        return self.cached.array[:, first : first + 3]

    def images(self, side: str, rows: Sequence[int], channels: int) -> ImageRows:
        """Return rows of a side with 1 or 3 channels; colour images are converted to grey by luma."""
        selected, array = torch.tensor(rows, dtype=torch.int64), self.array(side)
        if channels == 3:
            return ImageRows(array, selected)
        return ImageRows(array[:, :1], selected) if self.is_grey(side) else ImageRows(array, selected, luma=True)

    def is_grey(self, side: str) -> bool:
        """Return whether every image of a side is grey."""
        chunks = torch.split(self.array(side).index_select(0, torch.tensor(self.rows(side))), 4096)
        return all(bool((chunk[:, :1] == chunk).all()) for chunk in chunks)


def scan_folder(options: FolderOptions, *, pairs: bool) -> Generator[Preparation, None, TranslationImages]:
    """Scan a folder and decode new images. `pairs`: whether images of the same name must be pairs.

    Raises DataError for an invalid folder, or if it changed since the digest was computed.
    """
    folder = open_images(options.folder)
    paths = [file.path for file in folder.files]
    requested = options.layout
    if options.digest is not None and requested.splits is None:  # a run of a version that ignored splits
        requested = requested._replace(splits=False)
    layout = resolve_layout(paths, requested, pairs=pairs)
    places = place_images(paths, splits=layout.splits)
    source = folder.select([file for file in folder.files if layout.beside or places[file.path].side in layout.sides])
    check_unchanged(source, options.cache, options.digest, options.folder)
    form = options.form._replace(size=options.size or default_size(source))
    measured = ValueRange()
    if options.digest is None:
        if pairs:  # The cache may have been filled by a data set that needs no pairs.
            check_pairs(source, layout)
        values = ValueRange(form.black, form.white, form.layout, form.full_scale)
        measured = yield from measure_range(source, options.cache, values)
        form = measured.apply(form)
    shape = (6 if layout.beside else 3, form.size, form.size)
    decoding = Decoding(_key(form, layout), partial(_decode, form, layout.beside), shape, form.dtype, TASK)
    cached = yield from decode_source(source, options.cache, decoding)
    result, count = TranslationImages(layout, form, cached), len(source.files)
    for note in (*measured.notes, *_notes(folder, source, result)):
        yield Preparation(TASK, count, count, note)
    return result


def _notes(folder: Source, source: Source, images: TranslationImages) -> Iterator[str]:
    """Yield notes for the user. `folder`: all that was read; `source`: the images of both sides."""
    cached, layout = images.cached, images.layout
    yield from folder.notes
    if folder.left_out:
        yield format_left_out(folder.left_out)
    yield from cached.notes
    yield from format_notes(cached.facts, len(cached.paths), images.form)
    if excluded := len(folder.files) - len(source.files):
        places, verb = f"{layout.source} and {layout.target}", agree(excluded, "was", "were")
        yield f"{format_count(excluded, 'image')} outside of {places} {verb} skipped"
    counts = Counter(place.split or "train" for place in images.places())
    if len(counts) > 1:
        held_out: SplitName = "valid" if counts["valid"] else "test"
        unused = f"; {counts['test']:,} test images are not used" if held_out == "valid" and counts["test"] else ""
        yield (
            f"splits by folder: {counts['train']:,} images are trained on, {counts[held_out]:,} {held_out} images are "
            f"held out{unused}"
        )


def open_decoded(options: FolderOptions) -> TranslationImages | None:
    """Return the images from the cache, without reading the folder.

    None if options are unresolved or the cache is missing.
    """
    source, target, beside, splits = options.layout
    if options.size is None or source is None or target is None or options.digest is None:
        return None
    beside = source in HALVES if beside is None else beside  # not recorded by older runs, which ignored splits, too
    layout = SideLayout(source, target, beside, bool(splits))
    form = options.form._replace(size=options.size)
    cached = open_cached(options.cache, options.digest, _key(form, layout))
    return TranslationImages(layout, form, cached) if cached else None


def require_decoded(options: FolderOptions) -> TranslationImages:
    """Return the images from the cache. Raises DataError if it was deleted in the meantime."""
    result = open_decoded(options)
    if result is None:
        raise changed_cache(options.cache)
    return result


def check_pairs(source: Source, layout: SideLayout) -> None:
    """Raise DataError for images that are not pairs, by names and headers only."""
    if layout.beside:
        check_halves(source)
    else:
        check_names([file.path for file in source.files], layout)
        check_sizes(source, layout)


def check_halves(source: Source) -> None:
    """Raise DataError for files that cannot be two images side by side; unreadable files are ignored."""
    sizes = {file.path: size for file in source.files if (size := read_size(source, file.path))}
    odd = [f"{path} {width} x {height}" for path, (width, height) in sizes.items() if not can_split(width, height)]
    if odd:
        raise DataError(
            f"{format_count(len(odd), 'file')} of {len(source.files):,} in {source.location} "
            f"{agree(len(odd), 'is', 'are')} not two images side by side: {format_names(odd)}; "
            "these must be wider than high, and of even width: repair or remove them"
        )


def check_sizes(source: Source, layout: SideLayout) -> None:
    """Raise DataError for pairs whose images differ in size; unreadable files are ignored."""
    listed = [file.path for file in source.files]
    sources, targets = (images_by_name(listed, layout, side) for side in layout.sides)
    odd = []
    for name in sorted(sources):
        paths = [sources[name][0], targets[name][0]]
        sizes = [read_size(source, path) for path in paths]
        if None not in sizes and sizes[0] != sizes[1]:
            descriptions = [f"{path} {size[0]} x {size[1]}" for path, size in zip(paths, sizes, strict=True) if size]
            odd.append(" and ".join(descriptions))
    if odd:
        raise DataError(
            f"{format_count(len(odd), 'pair')} of {len(sources):,} {agree(len(odd), 'has', 'have')} "
            f"images of different sizes: {format_names(odd)}; resize them to the same size"
        )


@lru_cache(maxsize=4)
def _half_digests(cached: CachedFolder) -> list[tuple[str, str]]:
    """Return digests of the left and of the right half of each row."""
    left, right = (cached.array[:, first : first + 3].numpy() for first in (0, 3))
    return [(content_digest(a.tobytes()), content_digest(b.tobytes())) for a, b in zip(left, right, strict=True)]


def _key(form: ImageFormat, layout: SideLayout) -> dict[str, object]:
    """Return the options that determine how files are decoded."""
    return {"data": "sides", "decoder": DECODER, "beside": layout.beside, **form.key()}


def _decode(form: ImageFormat, beside: bool, content: bytes, path: str) -> Decoded:
    return decode_halves(content, form) if beside else decode(content, form)
