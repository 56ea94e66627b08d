"""Images of a translation data set: inputs and samples, as halves of every image or in two subfolders.

This module finds, checks and decodes them; the data set defines how inputs and samples are related.
"""

import re
from collections.abc import Generator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.core.data import Preparation
from equipoise.data import _cache
from equipoise.data._cache import CachedFolder, Decoded, Decoding, File, format_count, printable
from equipoise.data._files import agree, content_digest, format_names, top_folder
from equipoise.data._image_files import (
    ENDINGS,
    ImageFormat,
    can_split,
    decode,
    decode_halves,
    default_size,
    read_size,
)
from equipoise.data._image_notes import format_notes
from equipoise.data._pairs import ImageRows, connected_groups
from equipoise.data._sources import Source
from equipoise.errors import DataError, SettingError

HALVES = ("left", "right")
DECODER = 1
"""Version of the decoder; incremented when its output changes."""
TASK = "decoding images"


class FolderLayout(NamedTuple):
    """Location of inputs and samples: "left" and "right" of every image if `beside`, otherwise two subfolders."""

    source: str
    target: str
    beside: bool

    @property
    def sides(self) -> tuple[str, str]:
        """Location of the inputs, and of the samples."""
        return self.source, self.target


class FolderOptions(NamedTuple):
    """Options of reading a folder; None for values to be determined. `size` overrides the size in `form`."""

    folder: Path
    cache: Path
    size: int | None
    form: ImageFormat
    source: str | None
    target: str | None
    beside: bool | None
    digest: str | None


class TranslationImages(NamedTuple):
    """The decoded images of a folder."""

    layout: FolderLayout
    size: int
    cached: CachedFolder

    def rows(self, side: str) -> list[int]:
        """Return the rows of one side."""
        return [row for row, path in enumerate(self.cached.paths) if self.layout.beside or top_folder(path) == side]

    def pairs(self) -> tuple[list[int], list[int]]:
        """Return the rows of the inputs and samples of all pairs, without images whose partner was skipped."""
        paths = self.cached.paths
        if self.layout.beside:
            return list(range(len(paths))), list(range(len(paths)))
        sources, targets = ({pair_name(paths[row]): row for row in self.rows(side)} for side in self.layout.sides)
        names = [name for name in sources if name in targets]
        return [sources[name] for name in names], [targets[name] for name in names]

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
        """Return images (N, 3, S, S) uint8; the images of the side are in its `rows`."""
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
    folder = _cache.open_folder(options.folder, ENDINGS)
    listed = folder.files
    layout = resolve_layout(listed, options.source, options.target, options.beside, pairs=pairs)
    files = listed if layout.beside else tuple(file for file in listed if top_folder(file.path) in layout.sides)
    source = folder.select(files)
    if options.digest is not None and (change := _cache.describe_changes(source, options.cache, options.digest)):
        raise DataError(
            f"{options.folder} changed since this run started: {change}; restore it, or start a new run with --from RUN"
        )
    form = options.form._replace(size=options.size or default_size(source))
    if pairs and options.digest is None:  # The cache may have been filled by a data set that needs no pairs.
        check_pairs(source, layout)
    cached = _cache.load_cached(source, options.cache, _key(form, layout))
    if cached is None:
        shape = (6 if layout.beside else 3, form.size, form.size)
        decoder = partial(_decode, form, layout.beside)
        decoding = Decoding(_key(form, layout), decoder, shape, "uint8", TASK)
        yield from _cache.fill_cache(source, options.cache, decoding)
        cached = _cache.load_cached(source, options.cache, _key(form, layout))
    if cached is None:
        raise DataError(f"{options.folder} changed while it was read; run the command again when nothing writes to it")
    excluded = len(listed) - len(files)
    places, verb = f"{layout.source} and {layout.target}", agree(excluded, "was", "were")
    skipped = f"{format_count(excluded, 'image')} outside of {places} {verb} skipped"
    for note in (*cached.notes, *format_notes(cached.facts, len(cached.paths), form), *([skipped] if excluded else [])):
        yield Preparation(TASK, len(files), len(files), note)
    return TranslationImages(layout, form.size, cached)


def open_decoded(options: FolderOptions) -> TranslationImages | None:
    """Return the images from the cache, without reading the folder.

    None if options are unresolved or the cache is missing.
    """
    if options.size is None or options.source is None or options.target is None or options.digest is None:
        return None
    beside = options.source in HALVES if options.beside is None else options.beside  # not recorded by older runs
    layout = FolderLayout(options.source, options.target, beside)
    cached = _cache.open_cached(options.cache, options.digest, _key(options.form._replace(size=options.size), layout))
    return TranslationImages(layout, options.size, cached) if cached else None


def require_decoded(options: FolderOptions) -> TranslationImages:
    """Return the images from the cache. Raises DataError if it was deleted in the meantime."""
    result = open_decoded(options)
    if result is None:
        raise DataError(f"the cache {options.cache} was changed while it was read; run the command again")
    return result


def check_options(image_size: int | None, channels: Sequence[int | None], held_out: float) -> None:
    """Raise SettingError for an invalid option."""
    if image_size is not None and not 1 <= image_size <= 1024:
        raise SettingError(f"image_size = {image_size}: it must be from 1 to 1024")
    for count in channels:
        if count not in (None, 1, 3):
            raise SettingError(f"channels = {count}: it must be 1 (grey) or 3 (colour)")
    if not 0 <= held_out <= 0.5:
        raise SettingError(f"held_out = {held_out:g}: it must be from 0 to 0.5")


def resolve_layout(
    files: Sequence[File], source: str | None, target: str | None, beside: bool | None = None, *, pairs: bool
) -> FolderLayout:
    """Determine the location of both sides: as set, or two subfolders, or trainA and trainB, or, for pairs, halves.

    Subfolders named left and right are subfolders unless `beside` is true. Raises DataError for a missing subfolder, or
    if the location is ambiguous, SettingError for invalid halves.
    """
    tops = sorted({top_folder(file.path) for file in files} - {""})
    if beside is None:
        beside = pairs and _uses_halves(tops, source, target)
    if beside:
        first = source or (_other(target) if target in HALVES else "left")
        if not pairs or first not in HALVES or target not in (None, _other(first)):
            raise SettingError(
                "data.beside = true: pairs are the left and right half of each image; remove it, or source and target"
            )
        return FolderLayout(first, _other(first), beside=True)
    default = tuple(tops) if len(tops) == 2 else ("trainA", "trainB")  # the layout of the data sets of Zhu et al. 2017
    first = source or next((name for name in default if name != target), default[0])
    second = target or next((name for name in default if name != first), default[1])
    for name in (first, second):
        if name not in tops:
            available = ", ".join(map(printable, tops)) or "none"
            raise DataError(
                f"there is no subfolder '{name}' with images; available: {available}; choose with "
                "--option data.source=… data.target=…"
            )
    if first == second:
        raise DataError(f"inputs and samples cannot both be in {first}; choose two subfolders")
    return FolderLayout(first, second, beside=False)


def _uses_halves(tops: Sequence[str], source: str | None, target: str | None) -> bool:
    """Return whether pairs are halves of one image."""
    named = {name for name in (source, target) if name is not None}
    if not named:
        return len(tops) != 2
    return named <= set(HALVES) and not set(HALVES) <= set(tops)


def _other(half: str | None) -> str:
    return HALVES[half == HALVES[0]]


def check_pairs(source: Source, layout: FolderLayout) -> None:
    """Raise DataError for images that are not pairs, by names and headers only."""
    if layout.beside:
        check_halves(source)
    else:
        check_names(source.files, layout)
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


def check_names(files: Sequence[File], layout: FolderLayout) -> None:
    """Raise DataError for images without a partner of the same name in the other subfolder, or with two."""
    sides = [_by_name(files, side) for side in layout.sides]
    unpaired = sorted(
        {path for side, other in (sides, sides[::-1]) for n in side.keys() - other.keys() for path in side[n]}
    )
    if unpaired:
        raise DataError(
            f"{format_count(len(unpaired), 'image')} of {len(files):,} {agree(len(unpaired), 'has', 'have')} "
            f"no partner of the same name: {format_names(unpaired)}; "
            f"pairs are {layout.source}/NAME and {layout.target}/NAME: rename or remove them"
        )
    duplicates = sorted(path for side in sides for paths in side.values() if len(paths) > 1 for path in paths)
    if duplicates:
        raise DataError(
            f"{format_count(len(duplicates), 'image')} differ only in the extension: {format_names(duplicates)}; "
            "keep one of each"
        )


def check_sizes(source: Source, layout: FolderLayout) -> None:
    """Raise DataError for pairs whose images differ in size; unreadable files are ignored."""
    sources, targets = (_by_name(source.files, side) for side in layout.sides)
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


def pair_name(path: str) -> str:
    """Return the common name of the two images of a pair: the path in the subfolder, without its extension."""
    return re.sub(r"\.[^./]*$", "", path.partition("/")[2])


def _by_name(files: Sequence[File], side: str) -> Mapping[str, list[str]]:
    result: dict[str, list[str]] = {}
    for file in files:
        if top_folder(file.path) == side:
            result.setdefault(pair_name(file.path), []).append(file.path)
    return result


@lru_cache(maxsize=4)
def _half_digests(cached: CachedFolder) -> list[tuple[str, str]]:
    """Return digests of the left and of the right half of each row."""
    left, right = (cached.array[:, first : first + 3].numpy() for first in (0, 3))
    return [(content_digest(a.tobytes()), content_digest(b.tobytes())) for a, b in zip(left, right, strict=True)]


def _key(form: ImageFormat, layout: FolderLayout) -> dict[str, object]:
    """Return the options that determine how files are decoded."""
    return {"data": "sides", "decoder": DECODER, "beside": layout.beside, **form.key()}


def _decode(form: ImageFormat, beside: bool, content: bytes, path: str) -> Decoded:
    return decode_halves(content, form) if beside else decode(content, form)
