"""Reader of JSON: lines of records, an array of records, or lists of numbers by name."""

from collections.abc import Sequence

from equipoise.diagnosis.logs.log_columns import LogColumns
from equipoise.diagnosis.logs.log_file import LogFile
from equipoise.diagnosis.parsing.json_document import build_document, is_document, parse_document
from equipoise.diagnosis.parsing.json_lines import (
    are_json_lines,
    are_records,
    find_output_key,
    iterate_records,
    read_json_lines,
    read_records,
)
from equipoise.diagnosis.readers.text import LogLines
from equipoise.errors import DataError

__all__ = ["JSONRecords"]

MAX_DOCUMENT = 32 * 2**20
"""Largest number of characters of one JSON value: it takes about ten times as much memory."""


class JSONRecords:
    """Reads records as they come, one per line or in an array, and JSON that is one other value up to a size.

    Nested objects are flattened: {"train": {"loss_d": 0.5}} is train/loss_d, and {"Loss/D": {"mean": …, "std": …}} is
    its mean. Damaged lines, and lines between the records, are counted. Records of lines that a program printed, as
    those of Docker and Kaggle, are read as these lines.
    """

    name = "JSON"
    contents = (
        "JSON lines (BigGAN, MMEngine, W&B, Hugging Face), an array of records (Chainer), a list of numbers or of "
        "`[step, value]` for each name; nested records are flattened"
    )
    order = 60
    folder_files: tuple[str, ...] = ("trainer_state.json",)

    def read(self, files: Sequence[LogFile]) -> LogColumns | None:
        """Read one file; None if it is not JSON. Raises DataError for JSON that holds no records."""
        file = files[0]
        head = file.head.lstrip("\ufeff \t\n")
        if key := find_output_key(head):
            return LogLines().read([LogFile(file.path, _read_output(file, key).encode())])
        if are_json_lines(head):
            return read_json_lines(file)
        if are_records(head):
            return read_records(file)
        if not is_document(head):
            return None
        document = parse_document(_read_all(file, "JSON that is a single value"))
        return build_document(document, file.path.name) if document else None


def _read_all(file: LogFile, content: str) -> str:
    """Return the text of a file. Raises DataError beyond MAX_DOCUMENT."""
    blocks, size = [], 0
    for block in file.text_blocks():
        blocks.append(block)
        if (size := size + len(block)) > MAX_DOCUMENT:
            raise DataError(
                f"{content} of more than {MAX_DOCUMENT >> 20} MiB cannot be read; write one record per line (JSON "
                "lines)"
            )
    return "".join(blocks)


def _read_output(file: LogFile, key: str) -> str:
    """Return what a program printed, from the records of a container or of Kaggle."""
    parts = [str(record.get(key, "")) for record in iterate_records(_read_all(file, "JSON with printed lines"))]
    return ("" if any(part.endswith("\n") for part in parts) else "\n").join(parts)
