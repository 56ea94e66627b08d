"""What the folders of a data set mean: splits, classes, masks, and numbered parts.

Recognised, in any case of letters, also below folders that all files share, and in archives alike:

    train/cat/1.png, valid/cat/2.png, test/…   splits with classes; also cat/train/1.png, and trainA/1.png, trainB/2.png
    cat/1.png, dog/1.png                       classes
    00000/img00000001.png, 00001/…             parts of a large set, which are no classes (StyleGAN, FFHQ)
    images/1.png, masks/1.png                  images and their masks, which are left out
    1.png, thumbs/1.png                        images and small copies of them, which are left out
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from equipoise.core.files import ARCHIVE_ENDINGS, ARRAY_ENDINGS, PARQUET_ENDINGS, ending
from equipoise.data._splits import SplitFolder, SplitName, parse_split

NEUTRAL = frozenset({"", "images", "image", "imgs", "img", "data", "set", "pictures", "photos", "jpg", "png", "a", "b"})
"""What may accompany a split in the name of a folder without being a class: train_images, training_set, trainA."""
IMAGE_FOLDERS = frozenset(
    {"images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "rgb", "input", "inputs"}
)
MASK_FOLDERS = frozenset(
    {
        *("mask", "masks", "annotation", "annotations", "segmentation", "segmentations", "segmentationclass"),
        *("segmentationobject", "label", "labels", "gt", "groundtruth", "ground_truth", "trimaps", "depth"),
    }
)
THUMBNAIL_FOLDERS = frozenset({"thumb", "thumbs", "thumbnail", "thumbnails"})
MASK_NAME = re.compile(
    r"(.+?)[._ -](masks?|seg|segmentations?|gt|groundtruth|labels?|annotations?|depth|matte|trimap)(_?\d+)?", re.I
)
MASK_WORDS = ("mask", "seg", "gt", "truth", "label", "annot", "depth", "matte", "trimap")
"""Parts of names that MASK_NAME may match, which are searched first."""
CONTAINERS = (*ARCHIVE_ENDINGS, *ARRAY_ENDINGS, *PARQUET_ENDINGS)
NUMBER_WIDTH = 5
"""Smallest number of digits of numbered parts: 00000, 01000."""


class Placement(NamedTuple):
    """What the folders of a path mean. `split`: None if there are none. `label`: of its folder; "" if it has none."""

    split: SplitName | None
    label: str


class FolderLayout(NamedTuple):
    """What the folders of all paths mean. `left_out`: path -> reason of masks, and of files outside of the splits."""

    placements: Mapping[str, Placement]
    left_out: Mapping[str, str]


def read_layout(paths: Sequence[str], *, splits: bool = True) -> FolderLayout:
    """Determine what the folders of paths mean. `splits`: whether folders may be splits."""
    left_out = _find_masks(paths)
    rest = {path: _folders(path) for path in paths if path not in left_out}
    rest = _without_shared(rest)
    split_of: dict[str, SplitName | None] = dict.fromkeys(rest, None)
    names = [_split_names(rest, level) if splits else {} for level in (0, 1)]
    levels = dict.fromkeys(rest, 0 if names[0] else 1) if any(names) else _split_levels(rest) if splits else {}
    for path, level in levels.items():
        folders = rest[path]
        name = folders[level] if len(folders) > level else ""
        if any(names) and name not in names[level]:
            left_out[path] = "outside of the folders of the splits"
            del rest[path]
        elif folder := parse_split(name):
            split_of[path] = folder.split
            rest[path] = [*folders[:level], *([folder.rest] * (folder.rest in ("A", "B"))), *folders[level + 1 :]]
    rest = _without_images_folders(rest, split_of)
    parts = _numbered_parts(rest)
    placements = {
        path: Placement(split_of[path], folders[0] if folders and not parts else "") for path, folders in rest.items()
    }
    return FolderLayout(placements, left_out)


def _folders(path: str) -> list[str]:
    """Return the folders of a path; the name of a file that holds several items, without its number, is one too."""
    result = []
    for name in path.split("/")[:-1]:
        suffix = ending(name)
        stem = name[: -len(suffix)] if suffix in CONTAINERS else name
        result.append(re.sub(r"([-_.]?\d+(-of-\d+)?)+$", "", stem) if suffix in CONTAINERS else name)
    return [name for name in result if name]


def _without_shared(rest: dict[str, list[str]]) -> dict[str, list[str]]:
    """Remove the folders that all paths are in, unless they are a split."""
    while rest and all(rest.values()):
        names = {folders[0] for folders in rest.values()}
        if len(names) > 1 or parse_split(next(iter(names))):
            break
        rest = {path: folders[1:] for path, folders in rest.items()}
    return rest


def _split_names(rest: Mapping[str, list[str]], level: int) -> dict[str, SplitName]:
    """Return the folders at a level that are splits; empty if there are none.

    A folder named after a split is one only next to another split, so that a class may be called test, or alone.
    """
    tops: dict[str, set[str]] = {}
    for folders in rest.values():
        if len(folders) > level:
            tops.setdefault("/".join(folders[:level]), set()).add(folders[level])
    result: dict[str, SplitName] = {}
    for names in tops.values():
        chosen = _certain_splits(names)
        if not chosen and level == 1:
            return {}  # Every class must be divided.
        result |= chosen
    names = set().union(*tops.values())
    return result if "train" in result.values() or (level == 0 and names == result.keys()) else {}


def _certain_splits(names: Collection[str]) -> dict[str, SplitName]:
    """Return those folders among all of one parent that are splits: named after at least two, or after one alone."""
    parsed = {name: folder for name in names if (folder := parse_split(name))}
    by_rest: dict[str, set[SplitName]] = {}
    for folder in parsed.values():
        by_rest.setdefault(_kind_of(folder), set()).add(folder.split)
    certain = {kind for kind, splits in by_rest.items() if len(splits) > 1 or (kind == "" and len(names) == 1)}
    return {name: folder.split for name, folder in parsed.items() if _kind_of(folder) in certain}


def _kind_of(folder: SplitFolder) -> str:
    return "" if folder.rest.lower() in NEUTRAL else folder.rest


def _split_levels(rest: Mapping[str, list[str]]) -> dict[str, int]:
    """Return the level of the folder of each path that is a split, at any depth; empty unless all paths have one."""
    children: dict[tuple[str, ...], set[str]] = {}
    for folders in rest.values():
        for level, name in enumerate(folders):
            children.setdefault(tuple(folders[:level]), set()).add(name)
    splits = {parent: own for parent, names in children.items() if len(own := _certain_splits(names)) > 1}
    if not any("train" in own.values() for own in splits.values()):
        return {}
    result: dict[str, int] = {}
    for path, folders in rest.items():
        levels = (level for level, name in enumerate(folders) if name in splits.get(tuple(folders[:level]), {}))
        result[path] = next(levels, -1)
    return {} if -1 in result.values() else result


def _without_images_folders(rest: dict[str, list[str]], splits: Mapping[str, SplitName | None]) -> dict[str, list[str]]:
    """Remove the folders that all paths of a split are in: train/images/cat/1.png, seg_train/seg_train/cat/1.png."""
    result: dict[str, list[str]] = {}
    for split in set(splits.values()):
        part = {path: folders for path, folders in rest.items() if splits[path] == split}
        while part and all(part.values()):
            names = {folders[0] for folders in part.values()}
            inner = parse_split(name := next(iter(names)))
            if len(names) > 1 or (name.lower() not in IMAGE_FOLDERS and (inner is None or inner.split != split)):
                break
            part = {path: folders[1:] for path, folders in part.items()}
        result |= part
    return {path: result[path] for path in rest}


def _find_masks(paths: Iterable[str]) -> dict[str, str]:
    """Return path -> reason of masks: in a folder of masks next to one of images, or named after an image."""
    all_paths = list(paths)
    stems = {path.rpartition(".")[0] for path in all_paths}
    folders = {path.rpartition("/")[0] for path in all_paths}
    children: dict[str, set[str]] = {}
    for folder in folders:
        parts = folder.split("/")
        for depth, name in enumerate(parts):
            children.setdefault("/".join(parts[:depth]), set()).add(name)
    masks = {
        f"{parent}/{name}" if parent else name
        for parent, names in children.items()
        if any(name.lower() in IMAGE_FOLDERS for name in names)
        for name in names
        if name.lower() in MASK_FOLDERS
    }
    result = _find_thumbnails(all_paths)
    for path in all_paths:
        parts = path.split("/")[:-1]
        inside = [mask for depth in range(1, len(parts) + 1) if (mask := "/".join(parts[:depth])) in masks]
        stem = path.rpartition(".")[0]
        lower = stem.rpartition("/")[2].lower()
        match = MASK_NAME.fullmatch(stem) if any(word in lower for word in MASK_WORDS) else None
        if inside:
            result[path] = "a mask or label image; give its folder to train on it"
        elif match and match[1] in stems:
            result[path] = "a mask or label image of the image of the same name"
    return result


def _find_thumbnails(paths: Sequence[str]) -> dict[str, str]:
    """Return path -> reason of the images in folders of thumbnails; empty if there are no other images."""
    small = [path for path in paths if not THUMBNAIL_FOLDERS.isdisjoint(path.lower().split("/")[:-1])]
    return dict.fromkeys(small if len(small) < len(paths) else [], "a thumbnail; give its folder to train on it")


def _numbered_parts(rest: Mapping[str, list[str]]) -> bool:
    """Return whether the folders are numbered parts of one set: 00000/img00000001.png, or 01000/01000.png."""
    names = {folders[0] if folders else "" for folders in rest.values()}
    widths = {len(name) for name in names}
    if not names or len(widths) > 1 or min(widths) < NUMBER_WIDTH or not all(name.isdecimal() for name in names):
        return False
    numbers: dict[str, list[int]] = {}
    for path, folders in rest.items():
        stem = path.rpartition("/")[2].rpartition(".")[0]
        if not (match := re.fullmatch(r"(?:img)?(\d+)", stem)):
            return False
        numbers.setdefault(folders[0], []).append(int(match[1]))
    ranges = sorted((min(values), max(values)) for values in numbers.values())
    return all(first[1] < second[0] for first, second in pairwise(ranges))
