"""Labels of images: from tables, or from subfolders; which column they are in, and notes on them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from equipoise.core.files import ending
from equipoise.core.printing import MAX_LISTED, agree, format_count, format_names, printable
from equipoise.data._files.sources import PARQUET_COLUMNS, LabelTable, Source
from equipoise.data._labels.layout import Placement
from equipoise.data._splits import is_split_column
from equipoise.errors import DataError, nearest

FOLDERS, NONE, AUTO = "folders", "none", "auto"
LABEL_COLUMNS = (
    *("label", "labels", "class", "class_name", "classname", "class_label", "label_name", "category", "category_name"),
    *("target", "species", "breed", "diagnosis", "dx", "cls", "class_id", "label_id", "category_id", "y"),
)
"""Names of columns that are labels if several could be, in lower case."""
MIN_LABELLED = 0.5
"""Smallest share of images with a label for which a column is used unless it is selected: the others are skipped."""
MAX_NUMBERS = 20
"""Largest number of different numbers in a column that is used as labels without being called so; more are measures."""
MAX_LENGTH = 100
"""Largest length of a class name, in characters; more are texts."""
SMALL_CLASS = 10
"""Number of images below which a class is reported as small."""
MAX_LISTED_CLASSES = 8
"""Largest number of classes that a note lists."""
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
WHOLE = re.compile(r"[-+]?\d+")
DATASET_JSON = "dataset.json"


class ImageLabels(NamedTuple):
    """Labels of images. `source`: "folders", "none", or the name of a table. `by_path`: "" for images without.

    `table`: name of the table that is used. `notes`: information for the user.
    """

    source: str
    by_path: Mapping[str, str]
    table: str | None = None
    notes: tuple[str, ...] = ()


class LabelColumn(NamedTuple):
    """A column that may be labels. `table`: name of its file. `values`: of the images that have one.

    `images`: number of images in the set.
    """

    table: str
    name: str
    values: Mapping[str, str]
    images: int

    @property
    def is_named(self) -> bool:
        """Whether the name of the column says that it holds labels."""
        return self.name.lower() in LABEL_COLUMNS

    @property
    def is_titled(self) -> bool:
        """Whether the column has a name in the file: files and arrays of labels alone have none."""
        return self.table == PARQUET_COLUMNS or ending(self.table) in (".csv", ".tsv", ".jsonl", ".txt")

    @property
    def problem(self) -> str:
        """Why the values are no labels; empty if they may be."""
        different = set(self.values.values())
        if len(different) < 2:
            return "has one value for all images" if different else "has no value for these images"
        if len(self.values) < MIN_LABELLED * self.images:
            return f"has values for {len(self.values):,} of {self.images:,} images only"
        if max(map(len, different)) > MAX_LENGTH or len(different) > max(2, len(self.values) // 2):
            return "differs for nearly every image"
        numbers = [value for value in different if NUMBER.fullmatch(value)]
        if len(numbers) < len(different):
            return ""
        if not all(WHOLE.fullmatch(value) for value in numbers):
            return "holds measures"
        return f"holds {len(numbers):,} different numbers" if len(numbers) > MAX_NUMBERS and not self.is_named else ""


def read_labels(
    source: Source,
    placements: Mapping[str, Placement],
    tables: Sequence[LabelTable],
    labels: str = AUTO,
    column: str | None = None,
) -> ImageLabels:
    """Return the labels of the images in `placements`, from `tables` or from their folders.

    `labels`: auto, none, folders, or the name of a label file. `column`: of a table. With "auto", a table whose column
    is certain comes before subfolders. Raises DataError for a file or column that does not exist or holds no labels.
    """
    if labels == NONE:
        return ImageLabels(NONE, dict.fromkeys(placements, ""))
    by_folder = {path: placement.label for path, placement in placements.items()}
    if labels == FOLDERS:
        return ImageLabels(FOLDERS, by_folder)
    tables = _select_tables(tables, labels, source)
    columns = _merge_columns(tables, placements)
    chosen = _choose(columns, column, source)
    has_folders = len(set(by_folder.values()) - {""}) > 1
    if chosen is None and labels != AUTO:
        chosen = _only_named(columns)
    if chosen and (chosen.is_named or column or labels != AUTO or not has_folders):
        notes = tuple(_unused_tables(tables, columns, chosen))
        values = {path: chosen.values.get(path, "") for path in placements}
        place = f"{chosen.table}, column {chosen.name}" if chosen.is_titled else chosen.table
        return ImageLabels(place, values, chosen.table, notes)
    notes = tuple(_unused_tables(tables, columns, None))
    if labels != AUTO:
        raise DataError(f"{source.location}: {'; '.join(notes) or f'{labels} holds no labels'}")
    is_numbered = any(_file_name(table.name) == DATASET_JSON for table in tables)
    if is_numbered and all(name.isdecimal() for name in by_folder.values()):
        by_folder = dict.fromkeys(placements, "")
    return ImageLabels(FOLDERS, by_folder, None, notes)


def _select_tables(tables: Sequence[LabelTable], labels: str, source: Source) -> list[LabelTable]:
    """Return the tables of a name, or all of them. Raises DataError if there are none."""
    result = [table for table in tables if labels in (AUTO, table.name, _file_name(table.name))]
    if not result and labels != AUTO:
        available = [*(_file_name(table.name) for table in tables), FOLDERS, NONE]
        raise DataError(f"{source.location} has no label file '{printable(labels)}'{nearest(labels, available)}")
    return result


def _merge_columns(tables: Sequence[LabelTable], placements: Mapping[str, Placement]) -> list[LabelColumn]:
    """Return all columns; those of the same name in files of the same name, such as one per split, are one."""
    merged: dict[tuple[str, str], dict[str, str]] = {}
    for table in tables:
        for name, values in table.columns.items():
            if is_split_column(values):
                continue
            column = merged.setdefault((_file_name(table.name), name), {})
            column.update((path, value) for path, value in values.items() if value and path in placements)
    count = len(placements)
    return [LabelColumn(table, name, _whole_numbers(values), count) for (table, name), values in merged.items()]


def _file_name(name: str) -> str:
    return name.rpartition("/")[2]


def _whole_numbers(values: dict[str, str]) -> dict[str, str]:
    """Write whole numbers as such if all values are: pandas writes 1.0 for 1 if some are missing."""
    if values and all(re.fullmatch(r"-?\d+\.0+", value) for value in values.values()):
        return {path: value.partition(".")[0] for path, value in values.items()}
    return values


def _choose(columns: Sequence[LabelColumn], name: str | None, source: Source) -> LabelColumn | None:
    """Return the column of labels; None if there is none, or several could be. Raises DataError for an unknown name."""
    if name is not None:
        for column in columns:
            if column.name == name and len(set(column.values.values())) > 1:
                return column
        available = [column.name for column in columns if not column.problem]
        raise DataError(f"{source.location} has no label column '{printable(name)}'{nearest(name, available)}")
    possible = [column for column in columns if not column.problem]
    different: list[LabelColumn] = []
    for column in [column for column in possible if column.is_named] or possible:
        same = next((number for number, other in enumerate(different) if _is_same(column, other)), None)
        if same is None:
            different.append(column)
        elif any(value.isdecimal() for value in different[same].values.values()):
            different[same] = column  # names in place of their numbers
    return different[0] if len(different) == 1 else None


def _only_named(columns: Sequence[LabelColumn]) -> LabelColumn | None:
    """Return the only column that is called labels and has several values, whatever share of images it covers."""
    named = [column for column in columns if column.is_named and len(set(column.values.values())) > 1]
    return named[0] if len(named) == 1 else None


def _is_same(first: LabelColumn, second: LabelColumn) -> bool:
    """Return whether two columns divide the images in the same way."""
    if first.values.keys() != second.values.keys():
        return False
    pairs = {(value, second.values[path]) for path, value in first.values.items()}
    return len(pairs) == len({value for value, _ in pairs}) == len({value for _, value in pairs})


def _unused_tables(
    tables: Sequence[LabelTable], columns: Sequence[LabelColumn], chosen: LabelColumn | None
) -> Iterator[str]:
    """Yield why tables, or columns of the chosen one, are not used."""
    for name in dict.fromkeys(_file_name(table.name) for table in tables):
        own = [column for column in columns if column.table == name]
        problems = list(
            dict.fromkeys(each for table in tables if _file_name(table.name) == name for each in table.problems)
        )
        possible = [column for column in own if not column.problem and column is not chosen]
        listed = ", ".join(printable(column.name) for column in possible[:MAX_LISTED])
        if chosen and chosen.table == name:
            yield from (f"{printable(name)}: {problem}" for problem in problems)
            if possible:
                yield f"{printable(name)}: other columns could be labels too: {listed} (label_column)"
            continue
        if possible:
            option = f"choose with --option data.label_column={possible[0].name}"
            could = "holds values that could be labels" if len(possible) == 1 else "has several columns of labels"
            verb = "no column is used" if name == PARQUET_COLUMNS else "not used"
            yield f"{printable(name)}: {verb}, because it {could}: {listed}; {option}"
            continue
        problems += [f"column {printable(column.name)} {column.problem}" for column in own]
        if name != PARQUET_COLUMNS:
            yield f"{printable(name)}: not used for labels ({'; '.join(problems[:MAX_LISTED]) or 'it holds none'})"


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return a sort key that places class 2 before class 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def describe_classes(source: str, names: Sequence[str], counts: Mapping[str, int]) -> Iterator[str]:
    """Yield the classes with their numbers of images, small ones, and how many images are in none of them.

    `source`: where the labels are from.
    """
    listed = ", ".join(f"{printable(name)} {counts[name]:,}" for name in names[:MAX_LISTED_CLASSES])
    place = "subfolder" if source == FOLDERS else printable(source)
    yield f"{len(names):,} classes, by {place}: {listed}{', …' * (len(names) > MAX_LISTED_CLASSES)}"
    small = [name for name in names if counts[name] < SMALL_CLASS]
    if small:
        shown = format_names([f"{name} {counts[name]:,}" for name in small])
        yield (
            f"{len(small):,} {agree(len(small), 'class has', 'classes have')} fewer than {SMALL_CLASS} images: "
            f"{shown}; samples of so few are copies: add images, or choose others with data.classes"
        )
    if count := sum(counts.values()) - sum(counts[name] for name in names):
        skipped = f"{format_count(count, 'image')} outside of these {agree(count, 'was', 'were')} skipped"
        yield f"{skipped}; classes = [] uses all images, without labels"


def describe_other_classes(counts: Mapping[str, int]) -> Iterator[str]:
    """Yield how many validation images are of labels that no training image has. `counts`: of these labels."""
    if count := sum(counts.values()):
        listed = ", ".join(printable(name or "none") for name in sorted(counts)[:MAX_LISTED])
        yield (
            f"{format_count(count, 'validation image')} {agree(count, 'was', 'were')} skipped: no training image has "
            f"{agree(count, 'its', 'their')} label ({listed}{', …' * (len(counts) > MAX_LISTED)})"
        )
