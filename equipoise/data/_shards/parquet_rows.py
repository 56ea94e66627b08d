"""Rows of Parquet files: row groups are blocks of the index, because they are what can be read at once."""

from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.core.printing import printable
from equipoise.data._files.parquet import image_column, label_names, label_text
from equipoise.data._labels.labels import LABEL_COLUMNS
from equipoise.data._splits import SplitName
from equipoise.errors import DataError, MissingPackageError, nearest

if TYPE_CHECKING:
    import pyarrow.parquet as pq

    from equipoise.data._shards.index_writer import IndexWriter


def add_parquet(
    writer: "IndexWriter", path: Path, split: SplitName | None, key: str | None, label_column: str | None
) -> str:
    """Add the rows of a Parquet file; return the digest of its description and its labels.

    Raises MissingPackageError without pyarrow; DataError for a damaged file, or one without a column of images.
    """
    if find_spec("pyarrow") is None:
        raise MissingPackageError(f"reading {path} needs pyarrow; install it: pip install 'equipoise[parquet]'")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return _add_rows(writer, file, path, split, key, label_column)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{printable(str(path))} is damaged, or no Parquet file; copy or write it again") from error


def _add_rows(
    writer: "IndexWriter",
    file: "pq.ParquetFile",
    path: Path,
    split: SplitName | None,
    key: str | None,
    label: str | None,
) -> str:
    column = writer.column if writer.shards and writer.column else image_column(file, path, key)
    if column not in file.schema_arrow.names:
        raise DataError(f"{printable(str(path))} has no column '{printable(column)}', unlike {writer.shards[0].path}")
    writer.column = image_column(file, path, column)
    name = _label_column(file, path, label)
    writer.label_source = writer.label_source or (f"column {name}" if name else "")
    if name is None and writer.label_source:
        writer.notes.append(f"{printable(path.name)} has no {printable(writer.label_source)}")
    names = label_names(file.schema_arrow.metadata or {}).get(name or "", [])
    digest = blake2b(repr(file.schema_arrow).encode(), digest_size=16)
    for group in range(file.num_row_groups):
        about = file.metadata.row_group(group)
        chunks = [about.column(number) for number in range(about.num_columns)]
        own = [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] == column]
        digest.update(repr([(chunk.total_compressed_size, chunk.num_values) for chunk in chunks]).encode())
        writer.group_bytes = max(writer.group_bytes, sum(chunk.total_uncompressed_size for chunk in own))
        labels = [""] * about.num_rows
        if name:
            values = file.read_row_group(group, columns=[name]).column(0).to_pylist()
            labels = [label_text(value[0] if isinstance(value, list) and value else value, names) for value in values]
            digest.update("\0".join(labels).encode())
        writer.add_block(group, split)
        for row in range(about.num_rows):
            writer.add(row, 0, labels[row], "")
    return digest.hexdigest()


def _label_column(file: "pq.ParquetFile", path: Path, requested: str | None) -> str | None:
    """Return the column of labels: the requested one, or the first that is called so; None if there is none."""
    names = list(file.schema_arrow.names)
    if requested is not None:
        if requested not in names:
            raise DataError(f"{printable(str(path))} has no column '{printable(requested)}'{nearest(requested, names)}")
        return requested
    return next((name for known in LABEL_COLUMNS for name in names if name.lower() == known), None)
