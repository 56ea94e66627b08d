"""Fast conversion of a block of a table that holds numbers and empty cells alone."""

import warnings

import numpy as np
import numpy.typing as npt

MISSING_WORD = b"-7e77"
MISSING = float(MISSING_WORD)
"""Number that stands for an empty cell while a block is converted; a block that contains it is not converted."""


def parse_block(text: str, separator: str, width: int, decimal_comma: bool) -> npt.NDArray[np.float64] | None:
    """Return the numbers of whole lines, (rows, width), with MISSING for empty cells.

    None if a line has another number of cells, or a cell holds anything else: quotes, words, a percent sign.
    """
    data = text.encode()
    if not data.isascii() or b'"' in data or MISSING_WORD in data:
        return None
    if decimal_comma and separator != ",":
        data = data.replace(b",", b".")
    cut = separator.encode()
    if not _has_width(data, cut, width):
        return None
    if separator != " ":
        data = _fill_empty(data, cut).replace(cut, b",").replace(b"\n", b",")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            numbers = np.fromstring(data, np.float64, sep=" " if separator == " " else ",")
        except (ValueError, DeprecationWarning):
            return None
    return numbers.reshape(-1, width) if len(numbers) == data_rows(text) * width else None


def data_rows(text: str) -> int:
    """Return the number of lines, of which the last may lack its end."""
    return text.count("\n") + (not text.endswith("\n"))


def _has_width(data: bytes, cut: bytes, width: int) -> bool:
    """Return whether each line has `width` cells."""
    characters = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(characters == ord("\n"))
    ends = ends if data.endswith(b"\n") else np.append(ends, len(data))
    if cut == b" ":
        is_space = (characters == ord(" ")) | (characters == ord("\t")) | (characters == ord("\n"))
        marks = np.flatnonzero(~is_space & np.append(True, is_space[:-1]))  # the first characters of cells
        counts = np.diff(np.searchsorted(marks, ends), prepend=0)
        return bool((counts == width).all())
    counts = np.diff(np.searchsorted(np.flatnonzero(characters == cut[0]), ends), prepend=0)
    return bool((counts == width - 1).all())


def _fill_empty(data: bytes, cut: bytes) -> bytes:
    """Write MISSING in the empty cells."""
    if cut + cut in data:
        data = data.replace(cut + cut, cut + MISSING_WORD + cut).replace(cut + cut, cut + MISSING_WORD + cut)
    if b"\n" + cut in data or data.startswith(cut):
        data = (b"\n" + data).replace(b"\n" + cut, b"\n" + MISSING_WORD + cut)[1:]
    if cut + b"\n" in data or data.endswith(cut):
        data = (data if data.endswith(b"\n") else data + b"\n").replace(cut + b"\n", cut + MISSING_WORD + b"\n")
    return data
