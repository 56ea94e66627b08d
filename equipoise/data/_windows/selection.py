"""Types and splits of the files of tables and sound: subfolders are types; tests are never trained on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from equipoise.core.printing import agree, format_count
from equipoise.data._files.listing import File, top_folder
from equipoise.data._labels.layout import read_layout
from equipoise.data._splits import SplitName, parse_split
from equipoise.errors import UnknownNameError


class SelectedFiles(NamedTuple):
    """The files that are used. `types`: their subfolders, or empty. `notes`: on files of other splits."""

    types: tuple[str, ...]
    files: tuple[File, ...]
    notes: tuple[str, ...] = ()


def select_files(listed: Sequence[File], types: Sequence[str] | None, *, is_new: bool) -> SelectedFiles:
    """Return the training files of `types`, by default of all subfolders; all training files if there are none.

    Folders or files that are named after splits (train/, X_TEST.csv) are no types; those for validation and tests are
    not used. `is_new`: whether types must exist; those of a run need not. Raises UnknownNameError for an unknown type.
    """
    is_old = not is_new and any(parse_split(name) for name in types or ())  # a run that took splits for types
    splits = {} if is_old else _splits([file.path for file in listed])
    train = [file for file in listed if splits.get(file.path, "train") == "train"]
    available = tuple(sorted({_folder(file.path, is_split=file.path in splits) for file in train} - {""}))
    selected = available if types is None else tuple(dict.fromkeys(types))
    for name in selected if is_new else ():
        if name not in available:
            raise UnknownNameError("type", name, available)
    counts = Counter(splits[file.path] for file in listed if splits.get(file.path, "train") != "train")
    notes = tuple(
        f"{format_count(number)} of the split '{split}' {agree(number, 'is', 'are')} not used: only 'train' is"
        for split, number in sorted(counts.items())
    )
    return SelectedFiles(selected, tuple(f for f in train if not selected or type_of(f.path, selected)), notes)


def type_of(path: str, types: Sequence[str]) -> str:
    """Return the type of a file: its first folder, or below a folder of a split the second one; "" for another."""
    return next((name for name in (top_folder(path), _folder(path, is_split=True)) if name in types), "")


def _folder(path: str, *, is_split: bool) -> str:
    """Return the first folder of a path. `is_split`: without the folder of a split."""
    top = top_folder(path)
    return top_folder(path.partition("/")[2]) if is_split and parse_split(top) else top


def _splits(paths: Sequence[str]) -> Mapping[str, SplitName]:
    """Return path -> split, by folders, or by the names of files; empty if there are no splits with training files."""
    placements = read_layout(paths).placements
    by_folder = {path: place.split for path, place in placements.items() if place.split is not None}
    by_name = {path: name.split for path in paths if (name := parse_split(path.rpartition("/")[2].partition(".")[0]))}
    for splits in (by_folder, by_name):
        if "train" in splits.values() and len(set(splits.values())) > 1:
            return splits
    return {path: split for path, split in by_folder.items() if split == "train"}
