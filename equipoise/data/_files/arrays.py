"""Arrays of NumPy files as items: every row of an array is one image, as the bytes of a .npy file.

Read: a .npy file, memory-mapped; a .npz file with arrays of images and of labels, per split or not; a folder of .npy
files that are such arrays together. Pickled arrays are never loaded.
"""

import io
import math
import re
import threading
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from equipoise.core.printing import MAX_LISTED, printable
from equipoise.data._files.listing import File
from equipoise.data._files.sources import LabelTable, Source
from equipoise.data._files.stored_arrays import (
    ERRORS,
    NumpyArray,
    StoredArray,
    images_problem,
    stored_member,
    stored_npy,
    unflatten,
)
from equipoise.data._splits import parse_split
from equipoise.errors import DataError, nearest

IMAGE_KEYS = ("images", "image", "imgs", "img", "pictures", "x", "data", "samples", "features", "arr_0")
"""Words of the names of arrays of images, preferred in this order, without the split: train_images, x_train."""
FLAT_KEYS = frozenset({"images", "image", "imgs", "img", "pictures", "x", "data"})
"""Those that may be images although each one is a row of numbers."""
LABEL_KEYS = ("labels", "label", "y", "targets", "target", "classes", "class", "arr_1")
MAX_FILES = 64
"""Largest number of .npy files that may be the arrays of one set; more are one image each."""


@dataclass(frozen=True, slots=True)
class ArrayStorage:
    """Rows of arrays. An item is called KEY/NUMBER. An array is loaded when its first row is read."""

    stored: Mapping[str, StoredArray]
    loaded: dict[str, NumpyArray] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, path: str) -> BinaryIO:
        """Return a row as a .npy file. Raises DataError if the array is damaged."""
        key, _, row = path.rpartition("/")
        with self.lock:
            if key not in self.loaded:
                try:
                    self.loaded[key] = self.stored[key].load()
                except ERRORS as error:
                    raise DataError(f"the array {printable(key)} is damaged; save the file again") from error
        content = io.BytesIO()
        np.save(content, self.loaded[key][int(row)], allow_pickle=False)
        content.seek(0)
        return content


def open_array(path: Path) -> Source:
    """Return the rows of a .npy file (N, H, W), (N, H, W, C) or (N, C, H, W). Raises DataError for other files."""
    rows = stored_npy(path)
    stored = unflatten(rows, is_named=False)
    if problem := images_problem(stored):
        raise DataError(f"{path} {problem}")
    source = _rows_of({"": stored}, path, path.stat().st_mtime_ns)
    if stored is rows:
        return source
    form = " x ".join(map(str, stored.shape[1:]))
    return replace(source, notes=(f"each row of {rows.shape[1]:,} values is read as an image of {form}",))


def open_archive_of_arrays(path: Path, key: str | None) -> Source:
    """Return the rows of the array of images in a .npz file, or of one for each split; with its labels if it has any.

    `key`: name of the array, or of several with a common part, such as images for train_images. Raises DataError if
    the file is damaged or has no such array, or several and `key` is None.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            stored = {name.removesuffix(".npy"): stored_member(path, archive, name) for name in names}
    except ERRORS as error:
        raise DataError(f"{path} is damaged, or no .npz file; save it again with numpy.savez") from error
    return _open_group(_unflatten_all(stored), path, path.stat().st_mtime_ns, key)


def is_archive_of_arrays(path: Path, members: Sequence[str]) -> bool:
    """Return whether all members of an archive are .npy files, of which at least one is an array of images."""
    if not members or not all(name.endswith(".npy") for name in members) or not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(not images_problem(stored_member(path, archive, name)) for name in members[:MAX_FILES])
    except ERRORS:
        return False


def _unflatten_all(stored: Mapping[str, StoredArray]) -> Mapping[str, StoredArray]:
    """Give arrays of flat images their axes if no array has those of images."""
    if not all(map(images_problem, stored.values())):
        return stored
    return {name: unflatten(array, is_named=_role(name) in FLAT_KEYS) for name, array in stored.items()}


def open_folder_of_arrays(folder: Path, files: Sequence[File], key: str | None) -> Source | None:
    """Return the rows of the arrays of images in a folder of .npy files; None if every file is one image.

    A folder holds arrays of images if there are as many labels as rows of an array, or an array has four dimensions.
    Several arrays of images of one size are used together, unless one is called images or the like: they are parts, or
    one for each class.
    """
    if len(files) > MAX_FILES:
        return None
    try:
        stored = {file.path.removesuffix(".npy"): stored_npy(folder / file.path) for file in files}
    except DataError:  # Decoding reports which file is damaged.
        return None
    unflat = _unflatten_all(stored)
    shapes = [array.shape for array in unflat.values()]
    lengths = {shape[0] for shape in shapes if _is_label_shape(shape)}
    is_flat = any(array is not stored[name] for name, array in unflat.items())
    if not is_flat and not any(len(shape) == 4 or (len(shape) == 3 and shape[0] in lengths) for shape in shapes):
        return None
    return _open_group(unflat, folder, max(file.modified for file in files), key, are_files=True)


def _open_group(
    stored: Mapping[str, StoredArray], location: Path, modified: int, key: str | None, *, are_files: bool = False
) -> Source:
    """Return the rows of the arrays of images in a group of arrays. `are_files`: whether each one is a file."""
    chosen = _choose(stored, location, key, are_files=are_files)
    is_divided = len(set(map(_role, chosen))) > 1
    items = {name: f"{name}.npy" if is_divided else name for name in chosen}  # with it, the number is no class
    source = _rows_of({item: stored[name] for name, item in items.items()}, location, modified)
    labels = _find_labels(stored, chosen, is_divided=is_divided)
    others = [
        name for name in stored if name not in (*chosen, *labels.values()) and stored[name].dtype.kind not in "US"
    ]
    note = f"images: {', '.join(_describe(name, stored) for name in chosen)}"
    if others:
        note += f"; not used: {', '.join(_describe(name, stored) for name in others)} (key)"
    tables = _read_labels(stored, {items[name]: other for name, other in labels.items()})
    return replace(source, tables=tables, notes=(note,))


def _describe(name: str, stored: Mapping[str, StoredArray]) -> str:
    return f"{printable(name)} {' x '.join(map(str, stored[name].shape)) or 'a single number'}"


def _choose(stored: Mapping[str, StoredArray], location: Path, key: str | None, *, are_files: bool) -> tuple[str, ...]:
    """Return the names of the arrays of images: one, or one for each split, numbered part, or file.

    Raises DataError if it is not certain.
    """
    possible = [name for name, array in stored.items() if not images_problem(array)]
    if key is not None:
        chosen = [name for name in stored if key == name] or [name for name in stored if _role(name) == _role(key)]
        if not chosen:
            raise DataError(f"{location} has no array '{key}'{nearest(key, possible)}")
        for name in chosen:
            if problem := images_problem(stored[name]):
                raise DataError(f"{location}: the array {printable(name)} {problem}")
        return tuple(chosen)
    if not possible:
        listed = ", ".join(
            f"{printable(name)} {images_problem(array)}" for name, array in list(stored.items())[:MAX_LISTED]
        )
        raise DataError(f"{location} holds no array of images: {listed or 'it is empty'}")
    roles = list(dict.fromkeys(map(_role, possible)))
    preferred = [role for role in IMAGE_KEYS if role in roles]
    are_alike = len({(stored[name].shape[1:], stored[name].dtype) for name in possible}) == 1
    if are_alike and not preferred and (are_files or len({re.sub(r"\d+", "", role) for role in roles}) == 1):
        return tuple(possible)
    if len(roles) > 1 and not preferred:
        names = ", ".join(_describe(name, stored) for name in possible)
        raise DataError(
            f"{location} holds several arrays that may be images: {names}; choose one with --option "
            f"data.key={possible[0]}"
        )
    role = preferred[0] if preferred else roles[0]
    return tuple(name for name in possible if _role(name) == role)


def _role(name: str) -> str:
    """Return what an array holds, by its name without the split: "images" for train_images, "x" for X_train."""
    split = parse_split(name)
    return split.rest if split else name.lower()


def _find_labels(stored: Mapping[str, StoredArray], chosen: Sequence[str], *, is_divided: bool) -> dict[str, str]:
    """Return the array of labels for each chosen array of images that has one: of parts, the one of their number."""
    result = {}
    for name in chosen:
        rows, split = stored[name].shape[0], _split(name)
        possible = [
            other
            for other, array in stored.items()
            if other not in chosen and _split(other) == split and array.shape[:1] == (rows,) and len(array.shape) <= 2
            if not is_divided or re.findall(r"\d+", other) == re.findall(r"\d+", name)
        ]
        named = [other for key in LABEL_KEYS for other in possible if _role(other) == key]
        vectors = [other for other in possible if _is_label_shape(stored[other].shape)]
        if named or len(vectors) == 1:
            result[name] = (named or vectors)[0]
    return result


def _split(name: str) -> str | None:
    split = parse_split(name)
    return split.split if split else None


def _is_label_shape(shape: tuple[int, ...]) -> bool:
    return len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)


def _read_labels(stored: Mapping[str, StoredArray], labels: Mapping[str, str]) -> tuple[LabelTable, ...]:
    """Read the arrays of labels: integers, text, or one column of 0 and 1 for each class."""
    values: dict[str, str] = {}
    problems = []
    class_names = _class_names(stored, labels)
    for images, name in labels.items():
        try:
            array = stored[name].load()
        except ERRORS:
            reason = "Python objects, which are never loaded" if stored[name].dtype.hasobject else "damaged"
            problems.append(f"{printable(name)}: {reason}")
            continue
        names = _label_names(array.reshape(len(array), -1))
        if names is None:
            problems.append(f"{_describe(name, stored)}: neither one label for each image nor one of several columns")
        else:
            values |= {_row_path(images, row): class_names.get(label, label) for row, label in enumerate(names)}
    name = next((name for name in labels.values() if _split(name) == "train"), next(iter(labels.values()), ""))
    return (LabelTable(name, {_role(name): values}, tuple(problems)),) if labels else ()


def _class_names(stored: Mapping[str, StoredArray], labels: Mapping[str, str]) -> dict[str, str]:
    """Return number -> name of the classes, of an array of text such as class_names; empty if there is none."""
    for name, array in stored.items():
        is_text = array.dtype.kind in "US" and len(array.shape) == 1 and name not in labels.values()
        if is_text and any(word in name.lower() for word in ("name", "class", "categor")):
            with suppress(*ERRORS):
                return {str(number): str(label) for number, label in enumerate(array.load().astype(str).tolist())}
    return {}


def _label_names(array: NumpyArray) -> list[str] | None:
    """Return the labels of (N, K) values: of one column, or the column with the 1 of each row; None if neither."""
    if array.shape[1] > 1:
        is_one_hot = bool(((array == 0) | (array == 1)).all()) and bool((array.sum(1) == 1).all())
        return [str(column) for column in array.argmax(1)] if is_one_hot else None
    if array.dtype.kind == "S":
        return [str(value, "utf-8", "replace") for value in array[:, 0].tolist()]
    return [f"{value:g}" if isinstance(value, float) else str(value) for value in array[:, 0].tolist()]


def _rows_of(images: Mapping[str, StoredArray], location: Path, modified: int) -> Source:
    """Return the rows of arrays as items."""
    files = []
    for name, stored in images.items():
        size = math.prod(stored.shape[1:]) * stored.dtype.itemsize
        files += [File(_row_path(name, row), size, modified) for row in range(stored.shape[0])]
    return Source(location, tuple(sorted(files)), ArrayStorage(images))


def _row_path(name: str, row: int) -> str:
    return f"{name}/{row:07d}" if name else f"{row:07d}"
