"""The split and the label of every image of a set, and why other files are not used.

An assignment is stored in the cache under its digest, so that a resumed run reads neither folders nor label files, and
notices if labels changed.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from equipoise.core.printing import agree, format_count, printable
from equipoise.data._files.cache import CachedFolder
from equipoise.data._files.listing import content_digest, save_json, top_folder
from equipoise.data._files.sources import LabelTable, Source
from equipoise.data._images.sources import format_left_out
from equipoise.data._labels.label_files import find_tables
from equipoise.data._labels.labels import (
    AUTO,
    FOLDERS,
    describe_classes,
    describe_other_classes,
    natural_order,
    read_labels,
)
from equipoise.data._labels.layout import FolderLayout, Placement, read_layout
from equipoise.data._splits import SPLIT_WORDS, SplitName, is_split_column, parse_split, split_by_digest
from equipoise.errors import DataError, nearest

SplitOption = Literal["auto", "all", "none", "train", "valid", "test"]
NOT_USED: Mapping[SplitName, str] = {
    "train": "training images: another split was chosen",
    "valid": "validation images: another split was chosen",
    "test": "test images: never trained on",
}


class AssignmentOptions(NamedTuple):
    """Options of :class:`~equipoise.data.image_folder.ImageFolder` that determine splits and labels."""

    labels: str = AUTO
    label_column: str | None = None
    split: SplitOption = "auto"


class Assignment(NamedTuple):
    """`images`: path -> split and label. `labels`: where labels are from. `left_out`: path -> reason of other files."""

    images: Mapping[str, Placement]
    labels: str
    left_out: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Digest of the splits and labels of all images."""
        lines = (f"{split or ''}\t{label}\t{path}\n" for path, (split, label) in sorted(self.images.items()))
        return content_digest("".join(lines).encode("utf-8", "surrogateescape"))

    def divide(self, paths: Sequence[str], groups: Sequence[str], share: float) -> tuple[list[int], list[int]]:
        """Return the training rows and the held-out rows among images with these paths.

        Held out are the validation images if there are any, otherwise about `share` of the images; those of the same
        group are in the same split.
        """
        splits = [self.images[path].split for path in paths]
        if "valid" in splits:
            rows = range(len(splits))
            return [row for row in rows if splits[row] != "valid"], [row for row in rows if splits[row] == "valid"]
        return split_by_digest(groups, share)


class AssignedImages(NamedTuple):
    """Decoded images with their splits and labels. `is_old`: whether near-identical images may be in both splits."""

    cached: CachedFolder
    assignment: Assignment
    is_old: bool = False

    def label(self, row: int) -> str:
        """Return the label of a row; "" if it has none."""
        return self.assignment.images[self.cached.paths[row]].label

    def describe_classes(self, names: Sequence[str]) -> Iterator[str]:
        """Yield the classes with their numbers of images, and how many images are in none of them, for the user."""
        placements = [self.assignment.images[path] for path in self.cached.paths]
        counts = Counter(label for split, label in placements if split != "valid")
        yield from describe_classes(self.assignment.labels, names, counts)
        others = Counter(label for split, label in placements if split == "valid" and label not in counts)
        yield from describe_other_classes(others)

    def count_leaks(self) -> int:
        """Return the number of validation images that are nearly identical to a training image."""
        splits = [self.assignment.images[path].split for path in self.cached.paths]
        pairs = list(zip(splits, self.cached.groups, strict=True))
        trained = {group for split, group in pairs if split == "train"}
        return sum(split == "valid" and group in trained for split, group in pairs)


def assign(source: Source, options: AssignmentOptions) -> tuple[Source, Assignment, list[str]]:
    """Return the images to use, their splits and labels, and notes for the user.

    Raises DataError if no image is left, or labels are not as the options say.
    """
    layout = read_layout([file.path for file in source.files], splits=options.split != "none")
    images, others = _select_split(layout, options.split)
    files = find_tables(source, images.keys())
    tables = [*source.tables, *dict.fromkeys(files.values())]
    if options.split != "none" and (divided := _divide_by_table(layout, tables) or _divide_by_lists(layout, tables)):
        layout = divided
        main = next((table.name for table in tables if _split_of_list(table) == "train"), "")
        files = {path: replace(table, name=main) if _split_of_list(table) else table for path, table in files.items()}
        tables = [*source.tables, *dict.fromkeys(files.values())]
        images, others = _select_split(layout, options.split)
    if not images:
        raise DataError(_no_training_images(source, layout, options.split))
    labels = read_labels(source, images, tables, options.labels, options.label_column)
    used = {path for path, table in files.items() if labels.table in (table.name, table.name.rpartition("/")[2])}
    left_out = {**source.left_out, **layout.left_out, **others}
    left_out = {path: reason for path, reason in left_out.items() if path not in used}
    placed = {path: Placement(split, labels.by_path[path]) for path, (split, _) in images.items()}
    notes = [*source.notes, *_describe_splits(source, layout, options.split), *labels.notes]
    if unread := {path: reason for path, reason in left_out.items() if path not in others}:
        notes.append(format_left_out(unread))
    selected = source.select([file for file in source.files if file.path in placed])
    return selected, Assignment(placed, labels.source, left_out), notes


def assign_by_top_folder(paths: Iterable[str]) -> Assignment:
    """Return the assignment of runs before splits and label files were read: labels are the top-level subfolders."""
    return Assignment({path: Placement(None, top_folder(path)) for path in paths}, FOLDERS, {})


def _divide_by_table(layout: FolderLayout, tables: Sequence[LabelTable]) -> FolderLayout | None:
    """Return the layout with the splits that a column of a table names; None if folders are splits, or none does."""
    if any(placement.split for placement in layout.placements.values()):
        return None
    columns = (values for table in tables for values in table.columns.values())
    splits = next((values for values in columns if is_split_column(values)), None)
    if splits is None:
        return None
    named = {path: SPLIT_WORDS[value.strip().lower()] for path, value in splits.items()}
    placements = {
        path: placement._replace(split=named[path]) for path, placement in layout.placements.items() if path in named
    }
    missing = dict.fromkeys(layout.placements.keys() - placements.keys(), "in no split of the table of labels")
    return FolderLayout(placements, {**layout.left_out, **missing})


def _split_of_list(table: LabelTable) -> SplitName | None:
    """Return the split of which a file lists the images, by its name: train.csv, val_list.txt."""
    split = parse_split(table.name.rpartition("/")[2].rpartition(".")[0])
    return split.split if split and table.images else None


def _divide_by_lists(layout: FolderLayout, tables: Sequence[LabelTable]) -> FolderLayout | None:
    """Return the layout with the splits whose images files list; None if folders are splits, or there are no lists."""
    lists: dict[SplitName, set[str]] = {}
    for table in tables:
        if split := _split_of_list(table):
            lists.setdefault(split, set()).update(table.images)
    named = {path: split for split, paths in lists.items() for path in paths}
    is_divided = any(placement.split for placement in layout.placements.values())
    if is_divided or len(lists) < 2 or "train" not in lists or len(named) < sum(map(len, lists.values())):
        return None
    placements = {
        path: placement._replace(split=named[path]) for path, placement in layout.placements.items() if path in named
    }
    missing = dict.fromkeys(layout.placements.keys() - placements.keys(), "in none of the lists of splits")
    return FolderLayout(placements, {**layout.left_out, **missing})


def _select_split(layout: FolderLayout, option: SplitOption) -> tuple[dict[str, Placement], dict[str, str]]:
    """Return the images to use, and path -> reason of those in other splits."""
    images, others = {}, {}
    has_splits = any(placement.split for placement in layout.placements.values())
    for path, placement in layout.placements.items():
        split = placement.split
        if not has_splits or option in ("all", "none"):
            images[path] = placement._replace(split=None)
        elif split == option or (option == "auto" and split != "test"):
            images[path] = placement if option == "auto" else placement._replace(split=None)
        elif split is not None:
            others[path] = NOT_USED[split]
    if option == "auto" and has_splits and not any(placement.split == "train" for placement in images.values()):
        return {}, others
    return images, others


def _no_training_images(source: Source, layout: FolderLayout, option: SplitOption) -> str:
    splits = sorted({placement.split for placement in layout.placements.values() if placement.split})
    if option == "auto" and splits:
        return (
            f"{source.location} holds images for {' and '.join(splits)} only, none for training; to train on them "
            "nevertheless, use --option data.split=all"
        )
    if splits:
        return f"{source.location} has no images of the split '{option}'; it has: {', '.join(splits)}"
    return f"{source.location} has no images to train on: all are masks or label images; give their folder"


def _describe_splits(source: Source, layout: FolderLayout, option: SplitOption) -> Iterator[str]:
    """Yield a note on the splits in which the images are divided."""
    counts = Counter(placement.split for placement in layout.placements.values() if placement.split)
    if not counts or counts.keys() == {"train"}:
        return
    listed = ", ".join(f"{name} {counts[name]:,}" for name in ("train", "valid", "test") if counts[name])
    if option in ("all", "train", "valid", "test"):
        yield f"images by split: {listed}; used: {option} (split)"
        return
    held_out = "valid is held out" if counts["valid"] else "a share of train is held out"
    yield f"images by split: {listed}; trained on: train; {held_out}"
    if counts["test"]:
        number, verb = format_count(counts["test"], "test image"), agree(counts["test"], "is", "are")
        yield f"{number} {verb} never trained on; compare with them: {_test_command(source, layout)}"


def _test_command(source: Source, layout: FolderLayout) -> str:
    """Return the command that evaluates against the test images."""
    paths = [path for path, placement in layout.placements.items() if placement.split == "test"]
    folders = paths[0].split("/")[:-1]
    depth = next(
        (depth for depth, name in enumerate(folders, 1) if (split := parse_split(name)) and split.split == "test"), 0
    )
    folder, prefix = source.location.joinpath(*folders[:depth]), "/".join(folders[:depth])
    if folder.exists() and all(path.startswith(f"{prefix}/") for path in paths):
        return f"equipoise evaluate RUN --against {printable(str(folder))}"
    return f"equipoise evaluate RUN --against {printable(str(source.location))} --option data.split=test"


def class_names(
    assignment: Assignment, paths: Iterable[str], requested: tuple[str, ...] | None, folder: str
) -> tuple[str, ...]:
    """Return the labels that are classes: the requested ones, or all of the images with these paths if there are two.

    Raises DataError if a requested one has no image.
    """
    images = [assignment.images[path] for path in paths]
    result = sorted({label for split, label in images if split != "valid"} - {""}, key=natural_order)
    if requested is None:
        return tuple(result) if len(result) > 1 else ()
    for name in requested:
        if name not in result:
            raise DataError(f"class '{name}' has no images in {folder}{nearest(name, result)}")
    return requested


def save_assignment(cache: Path, assignment: Assignment) -> None:
    """Store an assignment under its digest. Raises DataError on write errors."""
    save_json(cache, _file(cache, assignment.digest), assignment._asdict())


def load_assignment(cache: Path, digest: str) -> Assignment | None:
    """Return a stored assignment; None if it is missing or damaged."""
    try:
        path = _file(cache, digest)
        return _load(path, path.stat().st_mtime_ns, digest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@lru_cache(maxsize=8)
def _load(path: Path, modified: int, digest: str) -> Assignment:
    """Read an assignment; `modified` distinguishes rewritten files. Raises ValueError if it is damaged."""
    content = json.loads(path.read_text())
    images = {name: Placement(*placement) for name, placement in content["images"].items()}
    result = Assignment(images, content["labels"], content["left_out"])
    if result.digest != digest:
        raise ValueError("damaged")
    return result


def _file(cache: Path, digest: str) -> Path:
    return cache / "assignments" / f"{digest}.json"
