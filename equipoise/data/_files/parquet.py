"""Rows of Parquet files as items: a column of image files, as the data sets of Hugging Face store them.

A column of images holds the bytes of image files, alone or in a structure with the field `bytes`. Other columns of
short values may be labels; the names of classes are read from the description that Hugging Face stores in the file.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from equipoise.core.files import IMAGE_ENDINGS, ending
from equipoise.core.printing import printable
from equipoise.data._files.listing import File
from equipoise.data._files.sources import PARQUET_COLUMNS, LabelTable, Source
from equipoise.errors import DataError, MissingPackageError, nearest

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

IMAGE_COLUMNS = ("image", "img", "images", "imgs", "picture", "photo", "pixel_values", "jpg", "png")
"""Names of columns of images, preferred in this order."""
MAX_GROUPS = 2
"""Number of row groups that are kept in memory."""


class RowPosition(NamedTuple):
    """Position of an item: the file, the row group, and the row in it."""

    file: int
    group: int
    row: int


@dataclass(frozen=True, slots=True)
class ParquetStorage:
    """Images in the column `column` of Parquet files, by path."""

    paths: tuple[Path, ...]
    column: str
    positions: Mapping[str, RowPosition]
    groups: "dict[tuple[int, int], pa.ChunkedArray]" = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, path: str) -> BinaryIO:
        """Return the bytes of an image file. Raises DataError if the row has none, or the file is damaged."""
        position = self.positions[path]
        with self.lock:
            value = self._group(position)[position.row].as_py()
        return BytesIO(image_bytes(value))

    def _group(self, position: RowPosition) -> "pa.ChunkedArray":
        """Return the images of a row group; the last few are kept, because items are read in order."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        key = position.file, position.group
        if key not in self.groups:
            while len(self.groups) >= MAX_GROUPS:
                del self.groups[next(iter(self.groups))]
            try:
                with pq.ParquetFile(self.paths[position.file]) as file:
                    self.groups[key] = file.read_row_group(position.group, columns=[self.column]).column(0)
            except (OSError, pa.ArrowException) as error:
                raise DataError("damaged in the Parquet file") from error
        return self.groups[key]


def open_parquet(location: Path, files: Sequence[Path], key: str | None) -> Source:
    """Return the images in Parquet files of the same columns. `key`: name of the column of images.

    Raises MissingPackageError without pyarrow; DataError for a damaged file, or one without a column of images.
    """
    if find_spec("pyarrow") is None:
        raise MissingPackageError(f"reading {location} needs pyarrow; install it: pip install 'equipoise[parquet]'")
    import pyarrow as pa
    import pyarrow.parquet as pq

    items: list[File] = []
    positions: dict[str, RowPosition] = {}
    columns: dict[str, dict[str, str]] = {}
    column = None
    for number, path in enumerate(files):
        try:
            with pq.ParquetFile(path) as file:
                column = column or image_column(file, path, key)
                if column not in file.schema_arrow.names:
                    raise DataError(f"{path} has no column '{printable(column)}', unlike {files[0].name}")
                prefix = f"{path.relative_to(location).as_posix()}/" if path != location else ""
                rows = _positions(file, number, prefix)
                for name, values in _label_columns(file, column).items():
                    columns.setdefault(name, {}).update(zip(rows, values, strict=True))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} is damaged, or no Parquet file; copy or write it again") from error
        modified = path.stat().st_mtime_ns
        items += [File(name, 0, modified) for name in rows]
        positions |= rows
    if not items or column is None:
        raise DataError(f"{location} contains no rows")
    storage = ParquetStorage(tuple(files), column, positions)
    tables = (LabelTable(PARQUET_COLUMNS, columns),) if columns else ()
    return replace(Source(location, tuple(sorted(items)), storage), tables=tables, notes=(f"images: column {column}",))


def _positions(file: "pq.ParquetFile", number: int, prefix: str) -> dict[str, RowPosition]:
    """Return the path and the position of each row of a file."""
    result: dict[str, RowPosition] = {}
    for group in range(file.num_row_groups):
        for row in range(file.metadata.row_group(group).num_rows):
            result[f"{prefix}{len(result):07d}"] = RowPosition(number, group, row)
    return result


def image_column(file: "pq.ParquetFile", path: Path, key: str | None) -> str:
    """Return the name of the column of images. Raises DataError if there is none, or it is not certain."""
    names = [field.name for field in file.schema_arrow if _may_hold_images(field.type)]
    if key is not None:
        if key not in names:
            raise DataError(f"{path} has no column of images '{key}'{nearest(key, names)}")
        return key
    preferred = [name for name in IMAGE_COLUMNS if name in names]
    if paths := next((name for name in file.schema_arrow.names if not names and _holds_paths(file, name)), ""):
        raise DataError(
            f"{path}: the column {printable(paths)} holds paths of images, not images; give the folder that contains "
            "both, and this file is read for labels"
        )
    if not names:
        available = ", ".join(map(printable, file.schema_arrow.names))
        raise DataError(f"{path} has no column of images: {available}; it must hold the bytes of image files")
    if len(names) > 1 and not preferred:
        raise DataError(
            f"{path} has several columns of images: {', '.join(map(printable, names))}; choose one with --option "
            f"data.key={names[0]}"
        )
    return preferred[0] if preferred else names[0]


def _holds_paths(file: "pq.ParquetFile", name: str) -> bool:
    """Return whether a column holds names of image files."""
    batch = next(file.iter_batches(batch_size=1, columns=[name]), None)
    value = batch.column(0)[0].as_py() if batch is not None and batch.num_rows else None
    return isinstance(value, str) and ending(value) in IMAGE_ENDINGS


def _may_hold_images(kind: "pa.DataType") -> bool:
    """Return whether a column holds bytes, a structure with bytes, lists of these, or nested lists of numbers."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(kind.field(index).name == "bytes" for index in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind):
        inner = kind.value_type
        return bool(pa.types.is_list(inner) or pa.types.is_fixed_size_list(inner)) or _may_hold_images(inner)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def image_bytes(value: object) -> bytes:
    """Return the bytes of an image file: of a value, its field `bytes`, or nested lists as a .npy file.

    Of several images in one row, the first.
    """
    if isinstance(value, list) and value and isinstance(value[0], bytes | dict):
        value = value[0]
    content = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(content, bytes):
        return content
    if isinstance(content, list) and content:
        return _array_bytes(content)
    if isinstance(value, dict) and value.get("path"):
        raise DataError("only the path of the image is stored, not the image")
    raise DataError("no image in this row")


def _array_bytes(rows: list[object]) -> bytes:
    try:
        array = np.asarray(rows)
        array = array.astype(np.uint8) if array.dtype == np.int64 and 0 <= array.min() <= array.max() < 256 else array
    except (ValueError, OverflowError) as error:
        raise DataError("rows of different lengths") from error
    content = BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def _label_columns(file: "pq.ParquetFile", images: str) -> dict[str, list[str]]:
    """Return the values of columns that may be labels, as text; class names in place of their numbers."""
    import pyarrow as pa

    names = label_names(file.schema_arrow.metadata or {})
    result = {}
    for column in file.schema_arrow:
        kind = column.type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        kind = kind.value_type if pa.types.is_list(kind) else kind
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        is_number = pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind)
        if column.name != images and (is_text or is_number):
            values = file.read(columns=[column.name]).column(0).to_pylist()
            if any(isinstance(value, list) and len(value) != 1 for value in values):
                continue  # several labels, or numbers such as boxes and embeddings
            values = [value[0] if isinstance(value, list) else value for value in values]
            labels = names.get(column.name, ())
            result[column.name] = [label_text(value, labels) for value in values]
    return result


def read_rows(content: bytes) -> list[dict[str, str]]:
    """Return the rows of a Parquet file as text, without columns of bytes; of images stored as paths, these.

    Raises DataError if the file is damaged, or pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise DataError("reading it needs pyarrow: pip install 'equipoise[parquet]'")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(BytesIO(content)) as file:
            columns = _label_columns(file, "")
            for column in file.schema_arrow:
                if pa.types.is_struct(column.type) and column.type.get_field_index("path") >= 0:
                    values = file.read(columns=[f"{column.name}.path"]).column(0).to_pylist()
                    columns[column.name] = [str((value or {}).get("path") or "") for value in values]
    except (OSError, pa.ArrowException) as error:
        raise DataError("no Parquet file") from error
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def label_text(value: object, names: Sequence[str]) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
        return names[value]
    return "" if value is None or (value == -1 and names) else str(value)


def label_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Return the class names of each column of type ClassLabel in the description that Hugging Face stores."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {
            name: [str(each) for each in feature["names"]]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
