"""Arrays of NumPy files that hold series of numbers, not images: which they are, by their headers."""

import math
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from equipoise.core.files import ARRAY_ERRORS

NARROW = 16
"""Series have fewer channels, and are longer than images of that width."""
FEW = 8
"""Largest number of channels, less one, of arrays whose channels come first."""
NAMES = ("x", "data", "series", "sequences", "signals", "samples", "windows", "values", "ts", "arr_0")
"""Words of the names of arrays of series, preferred in this order, without the split: x_train, data."""
TRAINING, OTHERS = frozenset({"train", "training"}), frozenset({"test", "testing", "val", "valid", "validation"})


class ArrayForm(NamedTuple):
    """Type and shape of an array."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]


def is_series_array(form: ArrayForm) -> bool:
    """Return whether an array (N, length, channels), or (N, channels, length), of numbers other than bytes is long."""
    if len(form.shape) != 3 or form.dtype == np.uint8 or form.dtype.kind not in "biuf" or not math.prod(form.shape):
        return False
    count, length, channels = form.shape
    is_colour_image = channels in (3, 4) and max(count, length) < 2 * min(count, length)
    is_channels_first = length < FEW and channels >= max(NARROW, 4 * length)
    return (channels < NARROW and length >= 2 * channels and not is_colour_image) or is_channels_first


def find_series(path: Path) -> dict[str, ArrayForm]:
    """Return the arrays of series in a .npz file, the one to use first; empty if it has images, or is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            forms = {name.removesuffix(".npy"): _read_form(archive, name) for name in names}
    except (*ARRAY_ERRORS, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError):
        return {}
    if any(len(form.shape) > 3 for form in forms.values()):
        return {}
    series = {name: form for name, form in forms.items() if is_series_array(form)}
    return dict(sorted(series.items(), key=lambda item: _preference(item[0])))


def _read_form(archive: zipfile.ZipFile, name: str) -> ArrayForm:
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        return ArrayForm(dtype, tuple(shape))


def _preference(name: str) -> tuple[int, int, str]:
    """Return a key that sorts the names of arrays: training data first, then by their words."""
    words = name.lower().replace("-", "_").split("_")
    split = 0 if TRAINING & {*words} else 2 if OTHERS & {*words} else 1
    rank = next((place for place, word in enumerate(NAMES) if word in words or word == name.lower()), len(NAMES))
    return split, rank, name
