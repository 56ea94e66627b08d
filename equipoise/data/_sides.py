"""Two sides of a folder of images, inputs and samples: halves of every image, or two subfolders.

Found, checked and decoded here; what the sides have to do with each other is up to the data set.
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
from equipoise.data._cache import Decoded, File, Kept, counted, shown
from equipoise.data._files import content_digest, top
from equipoise.data._pairs import Images
from equipoise.data._pictures import ENDINGS, Form, decode, decode_halves, fit_halves, size_of, told, usual_size
from equipoise.errors import DataError, SettingError

HALVES = ("left", "right")
DECODER = 1
"""Counts the changes of what decoding gives."""
TASK = "decoding images"


class Layout(NamedTuple):
    """Where inputs and samples lie: "left" and "right" of every image if they are `beside`, else in two subfolders."""

    source: str
    target: str
    beside: bool

    @property
    def sides(self) -> tuple[str, str]:
        """Where inputs lie, and where samples."""
        return self.source, self.target


class Asked(NamedTuple):
    """How a folder is to be read; None for what is to be chosen or found, in `form` the size."""

    folder: Path
    cache: Path
    size: int | None
    form: Form
    source: str | None
    target: str | None
    beside: bool | None
    digest: str | None


class Found(NamedTuple):
    """What a folder holds. `source` and `target`: rows of the sides, in the order of paths."""

    layout: Layout
    size: int
    kept: Kept

    def rows(self, side: str) -> list[int]:
        """The rows of one side."""
        return [row for row, path in enumerate(self.kept.paths) if self.layout.beside or top(path) == side]

    def pairs(self) -> tuple[list[int], list[int]]:
        """Rows of inputs and of samples, pair by pair; an image whose partner could not be decoded is in none."""
        paths = self.kept.paths
        if self.layout.beside:
            return list(range(len(paths))), list(range(len(paths)))
        sources, targets = ({name_of(paths[row]): row for row in self.rows(side)} for side in self.layout.sides)
        both = [name for name in sources if name in targets]
        return [sources[name] for name in both], [targets[name] for name in both]

    def alike(self) -> list[str]:
        """A word for each of `pairs`, the same for pairs of equal inputs or equal samples, and for what these join."""
        sources, targets = self.pairs()
        names = [self.kept.digests[row] for row in sources]
        if self.layout.beside:
            looks = _looks_of_halves(self.kept)
            return joined(names, *([look[HALVES.index(side)] for look in looks] for side in self.layout.sides))
        return joined(names, names, [self.kept.digests[row] for row in targets])

    def array(self, side: str) -> Tensor:
        """(N, 3, S, S) uint8, of which `rows` are those of the side."""
        first = 3 * HALVES.index(side) if self.layout.beside else 0
        return self.kept.array[:, first : first + 3]

    def images(self, side: str, rows: Sequence[int], channels: int) -> Images:
        """Some rows of a side in so many channels: of grey images one of three alike, of colour ones their luma."""
        chosen, array = torch.tensor(rows, dtype=torch.int64), self.array(side)
        if channels == 3:
            return Images(array, chosen)
        return Images(array[:, :1], chosen) if self.grey(side) else Images(array, chosen, luma=True)

    def grey(self, side: str) -> bool:
        """Whether every image of a side is grey."""
        pieces = torch.split(self.array(side).index_select(0, torch.tensor(self.rows(side))), 4096)
        return all(bool((piece[:, :1] == piece).all()) for piece in pieces)


def making(asked: Asked, *, pairs: bool) -> Generator[Preparation, None, Found]:
    """Look through a folder and decode what is new. `pairs`: images of the same name must belong together.

    Raises DataError for a folder that is not as it should be, or not the one that the digest is of.
    """
    listed = _cache.listing(asked.folder, ENDINGS)
    layout = layout_of(listed, asked.source, asked.target, asked.beside, pairs=pairs)
    files = listed if layout.beside else tuple(file for file in listed if top(file.path) in layout.sides)
    if asked.digest is not None and (what := _cache.changes(asked.folder, asked.cache, files, asked.digest)):
        raise DataError(
            f"{asked.folder} is not as it was when this run began: {what}; restore it, or train anew with --from RUN"
        )
    form = asked.form._replace(size=asked.size or usual_size(asked.folder, files))
    if pairs and asked.digest is None:  # whether they are pairs is not for the cache to say, which others fill, too
        check_pairs(asked.folder, files, layout)
    kept = _cache.kept(asked.folder, asked.cache, files, _key(form, layout))
    if kept is None:
        shape = (6 if layout.beside else 3, form.size, form.size)
        work = partial(_decoded, form, layout.beside)
        yield from _cache.fill(asked.folder, asked.cache, files, _key(form, layout), work, shape, "uint8", TASK)
        kept = _cache.kept(asked.folder, asked.cache, files, _key(form, layout))
    if kept is None:
        raise DataError(f"{asked.folder} changed while it was read; start again when nothing writes to it")
    left_out = len(listed) - len(files)
    others = f"{counted(left_out, 'image')} neither in {layout.source} nor in {layout.target}: left out"
    for note in (*kept.notes, *told(kept.facts, len(kept.paths), form), *([others] if left_out else [])):
        yield Preparation(TASK, len(files), len(files), note)
    return Found(layout, form.size, kept)


def opened(asked: Asked) -> Found | None:
    """What was decoded before, without a look at the folder; None if that is not settled yet, or no more there."""
    if asked.size is None or asked.source is None or asked.target is None or asked.digest is None:
        return None
    beside = asked.source in HALVES if asked.beside is None else asked.beside  # an early run does not say
    layout = Layout(asked.source, asked.target, beside)
    kept = _cache.opened(asked.cache, asked.digest, _key(asked.form._replace(size=asked.size), layout))
    return Found(layout, asked.size, kept) if kept else None


def surely_opened(asked: Asked) -> Found:
    """What was decoded a moment ago. Raises DataError if somebody else removed it since."""
    result = opened(asked)
    if result is None:
        raise DataError(f"the cache {asked.cache} was changed while it was read; start again")
    return result


def joined(names: Sequence[str], *marks: Sequence[str]) -> list[str]:
    """The lowest name of all that hang together: what shares a mark with one shares its fate (union-find)."""
    root = list(range(len(names)))

    def find(place: int) -> int:
        while root[place] != place:
            root[place] = place = root[root[place]]
        return place

    for kind in marks:
        first: dict[str, int] = {}
        for place, mark in enumerate(kind):
            ends = sorted((find(place), find(first.setdefault(mark, place))), key=lambda end: names[end])
            root[ends[1]] = ends[0]
    return [names[find(place)] for place in range(len(names))]


def check_options(image_size: int | None, channels: Sequence[int | None], held_out: float) -> None:
    """Raise SettingError for a value that cannot be."""
    if image_size is not None and not 1 <= image_size <= 1024:
        raise SettingError(f"image_size = {image_size}: it must be from 1 to 1024")
    for count in channels:
        if count not in (None, 1, 3):
            raise SettingError(f"channels = {count}: it must be 1 (grey) or 3 (colour)")
    if not 0 <= held_out <= 0.5:
        raise SettingError(f"held_out = {held_out:g}: it must be from 0 to 0.5")


def layout_of(
    files: Sequence[File], source: str | None, target: str | None, beside: bool | None = None, *, pairs: bool
) -> Layout:
    """Where both sides lie: as asked, else in the only two subfolders, else trainA and trainB, else, of pairs, halves.

    Subfolders that are called left and right are subfolders, unless `beside` says otherwise. Raises DataError for a
    subfolder that there is not, or if there is nothing to choose by, SettingError for halves that cannot be.
    """
    tops = sorted({top(file.path) for file in files} - {""})
    if beside is None:
        beside = pairs and _are_halves(tops, source, target)
    if beside:
        first = source or (_other(target) if target in HALVES else "left")
        if not pairs or first not in HALVES or target not in (None, _other(first)):
            raise SettingError(
                "data.beside = true: pairs lie left and right in each image; leave it out, or source and target"
            )
        return Layout(first, _other(first), beside=True)
    usual = tuple(tops) if len(tops) == 2 else ("trainA", "trainB")  # the layout of Zhu 2017's data sets
    first = source or next((name for name in usual if name != target), usual[0])
    second = target or next((name for name in usual if name != first), usual[1])
    for name in (first, second):
        if name not in tops:
            there = ", ".join(map(shown, tops)) or "none"
            raise DataError(
                f"there is no subfolder '{name}' with images in it; there is: {there}; name both by "
                "--option data.source=… data.target=…"
            )
    if first == second:
        raise DataError(f"inputs and samples cannot both lie in {first}; name two subfolders")
    return Layout(first, second, beside=False)


def _are_halves(tops: Sequence[str], source: str | None, target: str | None) -> bool:
    """Whether pairs are meant to lie side by side in one image."""
    named = {name for name in (source, target) if name is not None}
    if not named:
        return len(tops) != 2
    return named <= set(HALVES) and not set(HALVES) <= set(tops)


def _other(half: str | None) -> str:
    return HALVES[half == HALVES[0]]


def check_pairs(folder: Path, files: Sequence[File], layout: Layout) -> None:
    """Raise DataError for images that are no pairs, by names and headers alone."""
    if layout.beside:
        check_halves(folder, files)
    else:
        check_names(files, layout)
        check_sizes(folder, files, layout)


def check_halves(folder: Path, files: Sequence[File]) -> None:
    """Raise DataError for files that cannot be two images side by side; what cannot be read is passed over."""
    sizes = {file.path: size for file in files if (size := size_of(folder / file.path))}
    odd = [f"{path} {width} x {height}" for path, (width, height) in sizes.items() if not fit_halves(width, height)]
    if odd:
        raise DataError(
            f"{counted(len(odd), 'file')} of {len(files):,} in {folder} with no two images side by side: {_some(odd)}; "
            "such are wider than high, and an even number of pixels wide: mend them, or move them out"
        )


def check_names(files: Sequence[File], layout: Layout) -> None:
    """Raise DataError for images without a partner of the same name in the other subfolder, or with two."""
    sides = [_by_name(files, side) for side in layout.sides]
    alone = sorted(
        {path for mine, theirs in (sides, sides[::-1]) for n in mine.keys() - theirs.keys() for path in mine[n]}
    )
    if alone:
        raise DataError(
            f"{counted(len(alone), 'image')} of {len(files):,} without a partner of the same name in the other folder: "
            f"{_some(alone)}; pairs are {layout.source}/NAME and {layout.target}/NAME: mend the names, or move them out"
        )
    twice = sorted(path for side in sides for paths in side.values() if len(paths) > 1 for path in paths)
    if twice:
        raise DataError(
            f"{counted(len(twice), 'image')} of one name but for the ending: {_some(twice)}; keep one of each"
        )


def check_sizes(folder: Path, files: Sequence[File], layout: Layout) -> None:
    """Raise DataError for pairs whose images differ in size; what cannot be read is passed over."""
    sources, targets = (_by_name(files, side) for side in layout.sides)
    odd = []
    for name in sorted(sources):
        paths = [sources[name][0], targets[name][0]]
        sizes = [size_of(folder / path) for path in paths]
        if None not in sizes and sizes[0] != sizes[1]:
            told_of = [f"{path} {size[0]} x {size[1]}" for path, size in zip(paths, sizes, strict=True) if size]
            odd.append(" and ".join(told_of))
    if odd:
        raise DataError(
            f"{counted(len(odd), 'pair')} of {len(sources):,} with images of two sizes: {_some(odd)}; "
            "bring both images of a pair to the same"
        )


def name_of(path: str) -> str:
    """What the two images of a pair have in common: the path within the subfolder, without its ending."""
    return re.sub(r"\.[^./]*$", "", path.partition("/")[2])


def _by_name(files: Sequence[File], side: str) -> Mapping[str, list[str]]:
    result: dict[str, list[str]] = {}
    for file in files:
        if top(file.path) == side:
            result.setdefault(name_of(file.path), []).append(file.path)
    return result


def _some(words: Sequence[str]) -> str:
    """The first three, and how many more there are."""
    more = len(words) - 3
    return ", ".join(map(shown, words[:3])) + (f" and {more:,} more" if more > 0 else "")


@lru_cache(maxsize=4)
def _looks_of_halves(kept: Kept) -> list[tuple[str, str]]:
    """A digest of the left half of each row, and of the right one."""
    left, right = (kept.array[:, first : first + 3].numpy() for first in (0, 3))
    return [(content_digest(a.tobytes()), content_digest(b.tobytes())) for a, b in zip(left, right, strict=True)]


def _key(form: Form, layout: Layout) -> dict[str, object]:
    """What decides how files are decoded."""
    return {"data": "sides", "decoder": DECODER, "beside": layout.beside, **form._asdict()}


def _decoded(form: Form, beside: bool, content: bytes, path: str) -> Decoded:
    return decode_halves(content, form) if beside else decode(content, form)
