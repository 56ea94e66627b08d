"""Label files next to images: dataset.json of StyleGAN, tables (CSV, TSV, JSON lines, Parquet), one file per image.

The columns of a table are recognised by content: one holds names of images, with or without folder and extension, and
the others may be labels.
"""

import csv
import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from equipoise.core.files import IMAGE_ENDINGS, ending
from equipoise.core.printing import format_count, printable
from equipoise.data._files.parquet import read_rows
from equipoise.data._files.sources import LabelTable, Source
from equipoise.errors import DataError

TABLE_ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
TEXT_NAMES = (
    "labels",
    "label",
    "annotations",
    "annotation",
    "train",
    "valid",
    "val",
    "test",
    "list",
    "image_class_labels",
    "images",
)
"""Names of .txt files that may be tables; others are texts."""
MAX_SIZE = 2**28
"""Largest size of a label file, in bytes."""
MAX_TABLES = 64
"""Largest number of label files that are read; more are one file per image."""
MAX_CONFLICTS = 0.05
"""Largest share of images with several values in a column of labels; these have no label."""
MAX_SAMPLE = 1000
"""Number of rows from which the column of names is recognised."""
DELIMITERS = (",", ";", "\t", "|", " ")
SIDE_ENDINGS = (".cls", ".json", ".txt")
"""One file per image with its label: `.cls` and `.json` of WebDataset."""
SAMPLE = 64
"""Number of files that are read to see whether they hold labels."""
LABEL_KEYS = ("label", "cls", "class", "class_name", "category", "target", "label_name", "class_id")

Row = Mapping[str, str]


class ImageNames:
    """Images by any name that a label file may call them: without folders, extension, or the zeros before a number.

    `others`: paths of images that are not used, such as those of tests.
    """

    def __init__(self, paths: Iterable[str], others: Iterable[str] = ()) -> None:
        self.by_name: dict[str, str | None] = {}
        self.other_stems = {_stem(path.lower().rpartition("/")[2]) for path in others}
        self.count = 0
        for path in paths:
            self.count += 1
            parts = path.lower().split("/")
            for start in range(len(parts)):
                name = "/".join(parts[start:])
                for key in {name, _stem(name)}:
                    # A name that fits several images fits none.
                    self.by_name[key] = path if self.by_name.get(key, path) == path else None
            if number := _number_key(_stem(parts[-1])):
                self.by_name[number] = path if self.by_name.get(number, path) == path else None
            self.by_name[path] = path

    def __len__(self) -> int:
        return self.count

    def find(self, value: str, folder: str = "") -> str | None:
        """Return the image of a name; `folder`: of the label file. None if there is none, or several."""
        if exact := self.by_name.get(value):
            return exact
        name = value.strip().replace("\\", "/").removeprefix("./").lstrip("/").lower()
        if not name:
            return None
        for key in (f"{folder.lower()}/{name}" if folder else name, name, _stem(name), name.rpartition("/")[2]):
            if result := self.by_name.get(key):
                return result
        stem = _stem(name.rpartition("/")[2])
        return self.by_name.get(stem) or self.by_name.get(_number_key(stem))

    def is_other(self, value: str) -> bool:
        """Return whether a name is that of an image that is not used."""
        return _stem(value.strip().replace("\\", "/").lower().rpartition("/")[2]) in self.other_stems


def find_tables(source: Source, images: Collection[str]) -> dict[str, LabelTable]:
    """Return path -> table of the tables of labels among the files of a source that are no images.

    A file that looks like a table of labels but cannot be used is a table without columns, with the reason. Files of
    single images are one table.
    """
    names = ImageNames(images, (file.path for file in source.files if file.path not in images))
    by_stem = {_stem(file.path): file.path for file in source.files}
    result: dict[str, LabelTable] = {}
    candidates = [path for path in sorted(source.left_out) if _may_be_table(path) and _stem(path) not in by_stem]
    for path in candidates[:MAX_TABLES]:
        result[path] = _read_table(source, path, names)
    for suffix in SIDE_ENDINGS:
        files = [path for path in sorted(source.left_out) if path.endswith(suffix) and _stem(path) in by_stem]
        if files:
            result |= dict.fromkeys(files, _read_side_files(source, files, suffix, by_stem))
    return result


def _may_be_table(path: str) -> bool:
    stem = path.rpartition("/")[2].rpartition(".")[0].lower()
    return ending(path) in TABLE_ENDINGS or (ending(path) == ".txt" and stem in TEXT_NAMES)


def _stem(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}"


def _number_key(stem: str) -> str:
    """Return the key of an image whose name is a number, in a form that no name has; "" for other names."""
    return f"\0{stem.lstrip('0') or 0}" if stem.isdecimal() and stem.isascii() else ""


def _read_table(source: Source, path: str, names: ImageNames) -> LabelTable:
    """Read a label file. Its problem is set if it is damaged, or names no image."""
    shown = printable(path)
    try:
        with source.open(path) as file:
            content = file.read(MAX_SIZE + 1)
        if len(content) > MAX_SIZE:
            return LabelTable(shown, {}, (f"larger than {MAX_SIZE // 2**20} MiB",))
        rows = read_rows(content) if ending(path) == ".parquet" else _text_rows(_decode_text(content), path, names)
    except (OSError, DataError, ValueError, csv.Error, RecursionError) as error:
        return LabelTable(shown, {}, (f"damaged: {printable(str(error))}",))
    if not rows:
        return LabelTable(shown, {}, ("it contains no labels",))
    return _match(rows, shown, path.rpartition("/")[0], names)


def _text_rows(text: str, path: str, names: ImageNames) -> Sequence[Row]:
    return list(_json_rows(text, path) if ending(path) in (".json", ".jsonl") else _csv_rows(text, names))


def _decode_text(content: bytes) -> str:
    for encoding in ("utf-8-sig", "utf-16") if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig",):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


def _csv_rows(text: str, names: ImageNames) -> Iterator[Row]:
    """Yield the rows of a table; without a header, its columns are called 1, 2, …"""
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = next((mark for mark in DELIMITERS if mark in first), ",")
    lines = [line for line in csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True) if any(line)]
    if not lines:
        return
    has_header = len(lines) > 1 and not any(names.find(value) for value in lines[0])
    header = [value.strip() for value in lines[0]] if has_header else []
    columns = [value or str(number) for number, value in enumerate(header, 1)]
    for line in lines[has_header:]:
        extra = [str(number) for number in range(len(columns) + 1, len(line) + 1)]
        yield dict(zip([*columns, *extra], (value.strip() for value in line), strict=False))


def _json_rows(text: str, path: str) -> Iterator[Row]:
    """Yield the rows of a JSON file: lines of objects, StyleGAN's labels, a table of names, or COCO's annotations."""
    try:
        value = json.loads(text)
    except ValueError:
        if not path.endswith(".jsonl") and "\n{" not in text:
            raise
        value = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(value, dict) and isinstance(value.get("annotations"), list) and isinstance(value.get("images"), list):
        yield from _coco_rows(value)
        return
    if isinstance(value, dict) and "labels" in value:
        value = value["labels"]
    pairs = value.items() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for pair in pairs:
        if isinstance(pair, dict):
            yield {str(key): _text(each) for key, each in pair.items()}
        elif isinstance(pair, list | tuple) and len(pair) == 2:
            if isinstance(pair[1], dict):
                yield {"name": str(pair[0])} | {str(key): _text(each) for key, each in pair[1].items()}
            else:
                yield {"name": str(pair[0]), "label": _text(pair[1])}


def _coco_rows(value: Mapping[str, object]) -> Iterator[Row]:
    """Yield the file name and the category of each annotation."""
    tables = [entry if isinstance(entry := value.get(key), list) else [] for key in ("images", "categories")]
    files, categories = (
        {row.get("id"): str(row.get(name)) for row in table if isinstance(row, dict)}
        for table, name in zip(tables, ("file_name", "name"), strict=True)
    )
    annotations = value["annotations"]
    for row in annotations if isinstance(annotations, list) else []:
        if isinstance(row, dict) and row.get("image_id") in files:
            number = row.get("category_id")
            yield {"file_name": files[row["image_id"]], "category": categories.get(number, _text(number))}


def _text(value: object) -> str:
    """Return a value as text: empty for none, the place of the 1 for one among zeros, JSON for other lists."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list) and len(value) == 1:
        return _text(value[0])
    if isinstance(value, list) and all(each in (0, 1) for each in value) and value.count(1) == 1:
        return str(value.index(1))
    return json.dumps(value)


def _match(rows: Sequence[Row], shown: str, folder: str, names: ImageNames) -> LabelTable:
    """Return the columns of a table by image."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    best = _name_column(rows, columns, folder, names)
    matches = [names.find(row.get(best, ""), folder) for row in rows] if best else []
    if not any(matches):
        return LabelTable(shown, {}, ("it names none of the images",))
    values: dict[str, dict[str, str]] = {}
    problems = []
    for name in columns:
        if name == best:
            continue
        column: dict[str, str] = {}
        conflicts: set[str] = set()
        for row, path in zip(rows, matches, strict=True):
            if path and (value := row.get(name, "")) and column.setdefault(path, value) != value:
                conflicts.add(path)
        if conflicts:
            count, example = format_count(len(conflicts), "image"), printable(min(conflicts))
            are_few = len(conflicts) <= MAX_CONFLICTS * len(column)
            result = ": no label for these" if are_few else ""
            problems.append(f"column {printable(name)} has several values for {count}, such as {example}{result}")
            column = {path: value for path, value in column.items() if are_few and path not in conflicts}
        values[name] = column
    missing = [row.get(best, "") for row, path in zip(rows, matches, strict=True) if path is None] if best else []
    if unknown := [value for value in missing if value and not names.is_other(value)]:
        problems.append(f"{len(unknown):,} of its {len(rows):,} rows name no image, such as {printable(unknown[0])}")
    labels = _one_hot({name: column for name, column in values.items() if column})
    return LabelTable(shown, labels, tuple(problems), frozenset(filter(None, matches)))


def _name_column(rows: Sequence[Row], columns: Sequence[str], folder: str, names: ImageNames) -> str | None:
    """Return the column with the names of images; None if there is none.

    Values with the extension of an image are names. Others are if nearly all of them differ: the numbers of classes may
    be names of images too.
    """
    sample = rows[:: max(1, len(rows) // MAX_SAMPLE)]
    values = {name: [value for row in sample if (value := row.get(name, ""))] for name in columns}
    files = [
        name for name in columns if sum(ending(value) in IMAGE_ENDINGS for value in values[name]) > len(sample) // 2
    ]
    images = {
        name: [path for value in values[name] if (path := names.find(value, folder))] for name in files or columns
    }
    best = max(images, key=lambda name: len(set(images[name])))
    is_certain = best in files or 2 * len(set(images[best])) > len(images[best])
    return best if is_certain else None


def _one_hot(columns: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Replace columns of 0 and 1, of which each image has exactly one 1, by the column `class` of their names."""
    binary = {name: column for name, column in columns.items() if {*column.values()} <= {"0", "1", "0.0", "1.0"}}
    result: dict[str, str] = {}
    for name, column in binary.items():
        for path, value in column.items():
            if value.startswith("1"):
                if path in result:
                    return columns
                result[path] = name
    if len(binary) < 3 or len(result) < max(map(len, binary.values())):
        return columns
    return {name: column for name, column in columns.items() if name not in binary} | {"class": result}


def _read_side_files(source: Source, files: Sequence[str], suffix: str, by_stem: Mapping[str, str]) -> LabelTable:
    """Read one file per image. The table has no columns if they hold no labels."""
    shown = f"{suffix} files next to images"
    step = max(1, len(files) // SAMPLE)
    sample = [_side_label(source, path) for path in files[::step][:SAMPLE]]
    values = [value for value in sample if value]
    is_label = len(values) > len(sample) // 2 and all(len(value) <= 100 and "\n" not in value for value in values)
    if not is_label or (suffix == ".txt" and len(set(values)) > max(2, len(values) // 2)):
        return LabelTable(shown, {}, ("they hold no labels",))
    labels = ((by_stem[_stem(path)], _side_label(source, path)) for path in files)
    return LabelTable(shown, {"label": {path: label for path, label in labels if label}})


def _side_label(source: Source, path: str) -> str:
    """Return the label in the file of one image; empty if there is none."""
    try:
        return parse_side_label(source.read(path), path)
    except (OSError, DataError):
        return ""


def parse_side_label(content: bytes, path: str) -> str:
    """Return the label in the content of a file of one image, whose path ends with .json or not; empty without one."""
    try:
        text = _decode_text(content).strip()
        value = json.loads(text) if path.endswith(".json") else text
    except (ValueError, RecursionError):
        return ""
    if isinstance(value, dict):
        return next((_text(value[key]) for key in LABEL_KEYS if value.get(key) is not None), "")
    return value if isinstance(value, str) else _text(value)
