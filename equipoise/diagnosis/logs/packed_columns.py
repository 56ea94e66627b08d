"""Columns of a long log in little memory: decimals as 32-bit integers with a common power of ten, where that is exact.

A log of 200 MB has millions of rows of numbers such as "0.6931". They become float64 when a column is read.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from equipoise.diagnosis.logs.log_columns import Column

Rows = npt.NDArray[np.int64]
_Values = npt.NDArray[np.float64]

MAX_DECIMALS = 8
"""Largest number of decimals that is tried for 32-bit integers."""
_LIMIT = 2**31 - 1
FIRST_CAPACITY = 8
GROWTH = 1.25
"""Factor by which a full array grows. The memory of large arrays is remapped, not copied."""


_Number = TypeVar("_Number", bound=np.generic)


class GrowingArray(Generic[_Number]):
    """A one-dimensional array to which values are appended."""

    def __init__(self, dtype: type[_Number]) -> None:
        self.size = 0
        self._array: npt.NDArray[_Number] = np.empty(FIRST_CAPACITY, dtype)

    def extend(self, values: npt.NDArray[_Number]) -> None:
        """Append values (N,)."""
        end = self.size + len(values)
        if end > len(self._array):
            self._array.resize(max(end, int(GROWTH * len(self._array)) + FIRST_CAPACITY), refcheck=False)
        self._array[self.size : end] = values
        self.size = end

    def view(self) -> npt.NDArray[_Number]:
        """Return the values (size,); valid until more are appended."""
        return self._array[: self.size]

    def trim(self) -> None:
        """Give back the memory for more values."""
        self._array.resize(self.size, refcheck=False)


class PackedValues:
    """The values of a column, to which more are appended. `read` returns exactly the same float64."""

    def __init__(self) -> None:
        self._packed = GrowingArray(np.int32)
        self._plain: GrowingArray[np.float64] | None = None
        self._decimals: int | None = None

    def extend(self, values: _Values) -> None:
        """Append values (N,)."""
        if self._plain is None and len(values):
            if self._decimals is None:
                self._decimals = _count_decimals(values)
            packed = None if self._decimals is None else _pack(values, self._decimals)
            if packed is not None:
                self._packed.extend(packed)
                return
            unpacked, self._plain = self.read(), GrowingArray(np.float64)
            self._plain.extend(unpacked)
            self._packed = GrowingArray(np.int32)
        if self._plain is not None:
            self._plain.extend(values)

    def read(self) -> _Values:
        """Return the values, float64 (N,)."""
        if self._plain is not None:
            return self._plain.view()
        return np.asarray(self._packed.view() / 10.0 ** (self._decimals or 0), np.float64)

    def trim(self) -> None:
        """Give back the memory for more values."""
        self._packed.trim()
        if self._plain is not None:
            self._plain.trim()


def _count_decimals(values: _Values) -> int | None:
    """Return the smallest number of decimals with which values are exact as integers; None if there is none."""
    return next((count for count in range(MAX_DECIMALS + 1) if _pack(values, count) is not None), None)


def _pack(values: _Values, decimals: int) -> npt.NDArray[np.int32] | None:
    """Return values as multiples of a power of ten, in 32 bits; None if that is not exact."""
    scale = 10.0**decimals
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = np.rint(values * scale)
        if not (np.abs(scaled) <= _LIMIT).all() or not (scaled / scale == values).all():
            return None
    return scaled.astype(np.int32)


class RowBlock:
    """Rows of one form: `rows`, their numbers, and the values of the columns `names` in them."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.rows = GrowingArray(np.int64)
        self._values = [PackedValues() for _ in names]
        self._absent: list[list[Rows]] = [[] for _ in names]

    def extend(self, rows: Rows, values: Sequence[_Values], valid: Sequence[npt.NDArray[np.bool_] | None]) -> None:
        """Append rows (N,) with the values (N,) of each column, and masks (N,) of those that exist (None: all)."""
        for absent, mask in zip(self._absent, valid, strict=True):
            if mask is not None:
                absent.append(self.rows.size + np.flatnonzero(~mask))
        self.rows.extend(rows)
        for column, numbers in zip(self._values, values, strict=True):
            column.extend(numbers)

    def trim(self) -> None:
        """Give back the memory for more rows."""
        self.rows.trim()
        for column in self._values:
            column.trim()

    def read(self, index: int) -> tuple[_Values, Rows]:
        """Return the values of a column at all rows, and the places of those that do not exist."""
        absent = self._absent[index]
        return self._values[index].read(), np.concatenate(absent) if absent else np.zeros(0, np.int64)


class _Part(NamedTuple):
    block: RowBlock
    place: int


class PackedColumns(Mapping[str, Column]):
    """Columns by name, from blocks of rows; each is unpacked when it is read. Those of one block share their rows."""

    def __init__(self, blocks: Sequence[RowBlock], numbers: Rows | None = None) -> None:
        """`numbers`: new number of each row, -1 for rows that are left out."""
        self._parts: dict[str, list[_Part]] = {}
        self._rows: dict[tuple[int, ...], tuple[Rows, Rows | None]] = {}
        self._numbers = numbers
        for block in blocks:
            block.trim()
            for place, name in enumerate(block.names):
                self._parts.setdefault(name, []).append(_Part(block, place))

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, name: str) -> Column:
        parts = self._parts[name]
        rows, order = self._rows_of(parts)
        read = [part.block.read(part.place) for part in parts]
        values = read[0][0] if len(read) == 1 else np.concatenate([values for values, _ in read])
        starts = np.cumsum([0, *(part.block.rows.size for part in parts)]).tolist()
        absent = np.concatenate([start + places for start, (_, places) in zip(starts, read, strict=False)])
        if len(absent):
            exists = np.ones(len(values), np.bool_)
            exists[absent] = False
            exists = exists if order is None else exists[order]
            values = values if order is None else values[order]
            return Column(rows[exists], values[exists])
        return Column(rows, values if order is None else values[order])

    def select(self, names: Sequence[str], numbers: Rows | None) -> "PackedColumns":
        """Return some columns, with new numbers of their rows (None: the same)."""
        result = PackedColumns((), numbers)
        result._parts = {name: self._parts[name] for name in names}
        return result

    def _rows_of(self, parts: Sequence[_Part]) -> tuple[Rows, Rows | None]:
        """Return the rows of a column in ascending order, and the order of its values, None if it is theirs."""
        key = tuple(id(part.block) for part in parts)
        if key not in self._rows:
            rows, order = np.concatenate([part.block.rows.view() for part in parts]), None
            if len(parts) > 1 or bool((rows[1:] < rows[:-1]).any()):
                order = np.argsort(rows, kind="stable")
                rows = rows[order]
            self._rows[key] = (rows if self._numbers is None else self._numbers[rows], order)
        return self._rows[key]
