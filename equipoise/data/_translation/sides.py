"""Where the inputs and the samples of translation data are: halves of each image, or two subfolders; and its splits.

    in/1.png, out/1.png                          two subfolders, for pairs with the same names
    trainA/1.jpg, trainB/2.jpg, testA/…, testB/… the layout of the data sets of Zhu et al. 2017
    train/A/1.jpg, train/B/1.jpg, test/A/…       splits, then sides; or A/train/1.jpg, B/train/1.jpg, A/test/…
    1.jpg, or train/1.jpg, val/2.jpg             pairs as halves of each image, as of Isola et al. 2017

Folders that all images share are ignored. Images of splits other than `train` are never trained on.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from equipoise.core.printing import agree, format_count, format_names, printable
from equipoise.data._splits import SplitName, parse_split
from equipoise.errors import DataError, SettingError

HALVES = ("left", "right")


class SideLayout(NamedTuple):
    """Location of inputs and samples: "left" and "right" of every image if `beside`, otherwise two subfolders.

    `splits`: whether folders are named after the splits.
    """

    source: str
    target: str
    beside: bool
    splits: bool = False

    @property
    def sides(self) -> tuple[str, str]:
        """Location of the inputs, and of the samples."""
        return self.source, self.target


class LayoutOptions(NamedTuple):
    """What was set of a layout; None for what is to be determined."""

    source: str | None
    target: str | None
    beside: bool | None
    splits: bool | None


class ImagePlace(NamedTuple):
    """Meaning of a path. `side`: subfolder, "" outside of subfolders. `split`: None if it has none.

    `name`: common to the two images of a pair, without the extension.
    """

    side: str
    split: SplitName | None
    name: str


def place_images(paths: Sequence[str], *, splits: bool) -> dict[str, ImagePlace]:
    """Return the meaning of each path. `splits`: whether folders are named after the splits."""
    folders = _inner_folders(paths)
    level = _split_level(folders) if splits else None
    result = {path: _place(path, inside, level) for path, inside in folders.items()}
    if level != 0:
        return result
    parsed = {inside[0]: parse_split(inside[0]) for inside in folders.values() if inside}
    full = {split.rest: name for name, split in parsed.items() if split and split.rest and split.split == "train"}
    # trainA and testA are both the side trainA
    return {path: place._replace(side=full.get(place.side, place.side)) for path, place in result.items()}


def resolve_layout(paths: Sequence[str], options: LayoutOptions, *, pairs: bool) -> SideLayout:
    """Determine the location of both sides: as set, or two subfolders, or trainA and trainB, or, for pairs, halves.

    Subfolders named left and right are subfolders unless `beside` is true. Raises DataError for a missing subfolder, or
    if the location is ambiguous, SettingError for invalid halves.
    """
    source, target, beside, splits = options
    if splits is None:
        splits = _split_level(_inner_folders(paths)) is not None
        named = {name for name in (source, target) if name is not None} - set(HALVES)
        splits = splits and named <= _sides(paths, splits=True)
    sides = sorted(_sides(paths, splits=splits))
    if beside is None:
        beside = pairs and _uses_halves(sides, source, target)
    if beside:
        first = source or (_other(target) if target in HALVES else "left")
        if not pairs or first not in HALVES or target not in (None, _other(first)):
            raise SettingError(
                "data.beside = true: pairs are the left and right half of each image; remove it, or source and target"
            )
        return SideLayout(first, _other(first), beside=True, splits=splits)
    default = tuple(sides) if len(sides) == 2 else ("trainA", "trainB")
    first = source or next((name for name in default if name != target), default[0])
    second = target or next((name for name in default if name != first), default[1])
    for name in (first, second):
        if name not in sides:
            available = ", ".join(map(printable, sides)) or "none"
            raise DataError(
                f"there is no subfolder '{name}' with images; available: {available}; choose with "
                "--option data.source=… data.target=…"
            )
    if first == second:
        raise DataError(f"inputs and samples cannot both be in {first}; choose two subfolders")
    return SideLayout(first, second, beside=False, splits=splits)


def check_names(paths: Sequence[str], layout: SideLayout) -> None:
    """Raise DataError for images without a partner of the same name in the other subfolder, or with two."""
    sides = [images_by_name(paths, layout, side) for side in layout.sides]
    unpaired = sorted(
        {path for side, other in (sides, sides[::-1]) for n in side.keys() - other.keys() for path in side[n]}
    )
    if unpaired:
        raise DataError(
            f"{format_count(len(unpaired), 'image')} of {len(paths):,} {agree(len(unpaired), 'has', 'have')} "
            f"no partner of the same name: {format_names(unpaired)}; "
            f"pairs are {layout.source}/NAME and {layout.target}/NAME: rename or remove them"
        )
    duplicates = sorted(path for side in sides for same in side.values() if len(same) > 1 for path in same)
    if duplicates:
        raise DataError(
            f"{format_count(len(duplicates), 'image')} differ only in the extension: {format_names(duplicates)}; "
            "keep one of each"
        )


def images_by_name(paths: Sequence[str], layout: SideLayout, side: str) -> Mapping[str, list[str]]:
    """Return the images of a side by the name that they share with their partner."""
    result: dict[str, list[str]] = {}
    for path, place in place_images(paths, splits=layout.splits).items():
        if place.side == side:
            result.setdefault(place.name, []).append(path)
    return result


def _sides(paths: Sequence[str], *, splits: bool) -> set[str]:
    return {place.side for place in place_images(paths, splits=splits).values()} - {""}


def _inner_folders(paths: Sequence[str]) -> dict[str, list[str]]:
    """Return the folders of each path, without those that all paths share."""
    folders = {path: path.split("/")[:-1] for path in paths}
    while folders and all(len(each) > 1 for each in folders.values()):
        if len({each[0] for each in folders.values()}) > 1:
            break
        folders = {path: each[1:] for path, each in folders.items()}
    return folders


def _split_level(folders: Mapping[str, list[str]]) -> int | None:
    """Return the level of the folders that are named after splits, of which one is `train`; None if there is none."""
    for level in (0, 1):
        names = {inside[level] for inside in folders.values() if len(inside) > level}
        splits = [split.split for name in names if (split := parse_split(name))]
        if len(splits) == len(names) and "train" in splits and len(set(splits)) > 1:
            return level
    return None


def _place(path: str, inside: list[str], level: int | None) -> ImagePlace:
    stem = re.sub(r"\.[^./]*$", "", path.rpartition("/")[2])
    split = parse_split(inside[level]) if level is not None and len(inside) > level else None
    if split is None:
        return ImagePlace(inside[0] if inside else "", None, "/".join([*inside[1:], stem]))
    if level == 1:
        return ImagePlace(inside[0], split.split, "/".join([split.split, *inside[2:], stem]))
    if split.rest:
        return ImagePlace(split.rest, split.split, "/".join([split.split, *inside[1:], stem]))
    return ImagePlace(inside[1] if len(inside) > 1 else "", split.split, "/".join([split.split, *inside[2:], stem]))


def _uses_halves(sides: Sequence[str], source: str | None, target: str | None) -> bool:
    """Return whether pairs are halves of one image."""
    named = {name for name in (source, target) if name is not None}
    if not named:
        return len(sides) != 2
    return named <= set(HALVES) and not set(HALVES) <= set(sides)


def _other(half: str | None) -> str:
    return HALVES[half == HALVES[0]]
