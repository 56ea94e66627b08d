"""Columns of decimal numbers as text -> float64, several times as fast as one `float` for each.

A log has millions of numbers such as "0.6931": digits with the point at the same place. Words of one length are a
matrix of characters, of which all numbers are computed together. A number of at most 15 digits is an integer divided by
a power of ten, both exact in float64: the result is the float64 nearest to the decimal, as that of `float`.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_Values = npt.NDArray[np.float64]

MAX_WIDTH = 16
"""Characters of a number that is computed here: with the point, 15 digits, less than 2**53."""
MAX_WIDTHS = 8
"""Number of different widths in a column above which its words are converted one by one."""
MIN_WORDS = 64
"""Words below which one `float` for each is faster."""
_MINUS, _POINT, _ZERO, _LINE_END = b"-.0\n"


def parse_decimals(words: Sequence[str]) -> _Values:
    """Convert words to values (N,) as `float` does. Raises ValueError if one is not a number."""
    if len(words) < MIN_WORDS:
        return np.array([float(word) for word in words])
    joined = "\n".join(words) + "\n"
    if not joined.isascii():
        return _parse_one_by_one(words)
    characters = np.frombuffer(joined.encode(), np.uint8)
    ends = np.flatnonzero(characters == _LINE_END)
    lengths = np.diff(ends, prepend=-1) - 1
    width = int(lengths[0])
    if len(ends) != len(words):  # a word with a line end
        return _parse_one_by_one(words)
    if (lengths == width).all():
        values = _parse_matrix(characters.reshape(len(words), width + 1)[:, :width])
        return _parse_one_by_one(words) if values is None else values
    widths = np.flatnonzero(np.bincount(np.minimum(lengths, MAX_WIDTH + 1)))
    if len(widths) > MAX_WIDTHS or widths[-1] > MAX_WIDTH:
        return _parse_one_by_one(words)
    starts, result = ends - lengths, np.empty(len(words))
    for width in widths.tolist():
        rows = np.flatnonzero(lengths == width)
        values = _parse_matrix(characters[starts[rows][:, None] + np.arange(width)])
        result[rows] = _parse_one_by_one([words[row] for row in rows.tolist()]) if values is None else values
    return result


def _parse_matrix(characters: npt.NDArray[np.uint8]) -> _Values | None:
    """Convert words (N, width) to values; None if they are not digits with a point at one place, and signs."""
    count, width = characters.shape
    if not 0 < width <= MAX_WIDTH:
        return None
    digits = np.subtract(characters.T, _ZERO, order="C")  # (width, N), one row for each place
    negative = characters[:, 0] == _MINUS
    has_sign = bool(negative.any())
    if has_sign:
        digits[0][negative] = 0
    points = np.flatnonzero(characters[0] == _POINT)
    if len(points) > 1 or width - len(points) - has_sign < 1:
        return None
    point = int(points[0]) if len(points) else width
    if point < width and not (characters[:, point] == _POINT).all():
        return None
    places = [place for place in range(width) if place != point]
    if has_sign and (negative & (width == 1 + (point < width))).any():
        return None
    if (digits[places] > 9).any():
        return None
    mantissa = np.zeros(count, np.int64)
    for place in places:
        mantissa *= 10
        mantissa += digits[place]
    values: _Values = mantissa / 10.0 ** max(0, width - 1 - point)
    if has_sign:
        values[negative] *= -1
    return values


def _parse_one_by_one(words: Sequence[str]) -> _Values:
    return np.fromiter(map(float, words), np.float64, len(words))
