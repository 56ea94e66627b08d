"""Arrays in .npy and .npz files: their headers, when they are read, and which of them are sets of images.

Pickled arrays are never loaded.
"""

import math
import os
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.core.files import ARRAY_ERRORS
from equipoise.core.flat_images import flat_image_shape
from equipoise.core.printing import printable
from equipoise.errors import DataError

NumpyArray = npt.NDArray[np.generic]
CHANNELS = (1, 2, 3, 4)
ERRORS = (*ARRAY_ERRORS, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


class ArrayHeader(NamedTuple):
    """Type and shape of an array in a .npy file."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    fortran_order: bool


def read_npy_header(file: IO[bytes]) -> ArrayHeader:
    """Read the header of a .npy file; the file is then at its first value. Raises ARRAY_ERRORS if it is damaged."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read(file)
    return ArrayHeader(dtype, tuple(shape), fortran_order)


class StoredArray(NamedTuple):
    """An array in a file. `load`: reads it, or maps it to memory."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    load: Callable[[], NumpyArray]


def stored_npy(path: Path) -> StoredArray:
    """Read the header of a .npy file. Raises DataError if it is damaged, or holds Python objects."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ERRORS as error:
        raise DataError(f"{path} is damaged, or holds Python objects instead of numbers; save it again") from error
    return StoredArray(array.shape, array.dtype, lambda: array)


def stored_member(path: Path, archive: zipfile.ZipFile, name: str) -> StoredArray:
    """Read the header of an array in a .npz file. The array is read when it is used."""
    with archive.open(name) as file:
        header = read_npy_header(file)
    size = math.prod(header.shape) * header.dtype.itemsize
    return StoredArray(header.shape, header.dtype, partial(_load_member, path, name, size))


def _load_member(path: Path, name: str, size: int) -> NumpyArray:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory // 2:
        raise DataError(
            f"{path}: the array {printable(name)} takes {size / 2**30:.1f} GiB, more than half of the memory; save it "
            "as a .npy file, which is read in parts"
        )
    with np.load(path, allow_pickle=False) as arrays:
        result: NumpyArray = arrays[name.removesuffix(".npy")]
        return result


def unflatten(stored: StoredArray, *, is_named: bool) -> StoredArray:
    """Return an array whose rows are the values of images with the axes of images; others are returned unchanged.

    `is_named`: whether its name says that it holds images.
    """
    if len(stored.shape) != 2 or stored.dtype.kind not in "uif":
        return stored
    try:
        shape = flat_image_shape(stored.load(), is_named=is_named)
    except ERRORS:  # Reading the images reports it.
        return stored
    if shape is None:
        return stored
    full = (stored.shape[0], *shape)
    return StoredArray(full, stored.dtype, lambda: stored.load().reshape(full))


def images_problem(stored: StoredArray) -> str:
    """Return why an array is not a set of images; empty if it is."""
    if not (np.issubdtype(stored.dtype, np.number) or stored.dtype == np.bool_):
        return f"holds values of type {stored.dtype}; save numbers, as uint8, uint16 or float32"
    shape = stored.shape
    if len(shape) == 3 and (shape[0] in CHANNELS or shape[2] in CHANNELS) and min(shape[:2]) > 4:
        return f"of shape {shape} is one image; give an array of several: (N, H, W, C)"
    if len(shape) not in (3, 4) or 0 in shape:
        return f"has the shape {shape}; images are (N, H, W), (N, H, W, C) or (N, C, H, W)"
    return ""
