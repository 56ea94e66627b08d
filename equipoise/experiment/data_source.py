"""Parsing of the data argument: the name of a data set, or a folder or file, whose content decides how it is read."""

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from equipoise.core import catalog, printing
from equipoise.core.files import (
    ARCHIVE_ENDINGS,
    ARRAY_ENDINGS,
    ARRAY_ERRORS,
    IMAGE_ENDINGS,
    MAX_PREVIEWS,
    PARQUET_ENDINGS,
    REMEDIES,
    SOUND_ENDINGS,
    START_BYTES,
    TABLE_ENDINGS,
    TEXT_ENDINGS,
    ending,
    find_files,
    is_image_start,
    is_text_table,
)
from equipoise.errors import DataError, SettingError, UnknownNameError
from equipoise.experiment.settings import PlugSpec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FolderReader = Literal["image_folder", "image_shards", "csv_windows", "text_lines", "audio_folder"]
FileKind = Literal["image", "array", "container", "table", "sound", "text"]
KINDS: Mapping[str, FileKind] = {
    **dict.fromkeys(IMAGE_ENDINGS, "image"),
    **dict.fromkeys(ARRAY_ENDINGS, "array"),
    **dict.fromkeys((*ARCHIVE_ENDINGS, *PARQUET_ENDINGS), "container"),
    **dict.fromkeys(TABLE_ENDINGS, "table"),
    **dict.fromkeys(SOUND_ENDINGS, "sound"),
    **dict.fromkeys(TEXT_ENDINGS, "text"),
}
READERS: Mapping[FileKind, FolderReader] = {
    "image": "image_folder",
    "array": "image_folder",
    "container": "image_folder",
    "table": "csv_windows",
    "sound": "audio_folder",
}
"""What reads a folder of each kind of files. A folder of another kind is refused."""
MAX_OPENED = 100
"""Number of files that are opened to see whether they are images, if no name says so."""
PROBED_BYTES = 8192
"""Number of bytes that show whether a text consists of numbers."""
MAX_LISTED = 3
"""Number of kinds of files that a message names."""
NARROW_SIDE, NARROW_RATIO = 8, 8
"""Arrays with a side below the first, or this many times as long as wide, are series of numbers, not images."""


def parse_data_source(word: str, image_size: int | str | None = None) -> PlugSpec:
    """Return the data set for a word: a name of a data set, or a folder or file of images, numbers or text.

    Raises UnknownNameError if there is neither a data set nor a folder or file of this name.
    """
    if is_path(word):
        reader, path = detect_reader(word)
        return read_path_with(reader, str(path)).with_options(image_size=image_size)
    names = catalog.names("data")
    is_own = any(mark in word for mark in ".:/") or catalog.is_file(word)  # a module, a file, or a preset
    if word not in names and not is_own:
        raise UnknownNameError("data set", word, names, "and no folder or file of that name")
    return PlugSpec(word).with_options(image_size=image_size)


def is_path(word: str) -> bool:
    """Return whether a word is a folder or file. The name of a data set takes precedence over a folder."""
    if catalog.is_file(word):  # a custom data set: ./my_data.py
        return False
    path = Path(word).expanduser()
    has_path_syntax = os.sep in word or word in (".", "..", "~") or ending(path.name) in KINDS
    return has_path_syntax or (word.partition(":")[0] not in catalog.names("data") and path.exists())


def is_shard_pattern(word: str) -> bool:
    """Return whether a word is a pattern of shards, such as data/train-{0000..0099}.tar or data/*.parquet."""
    is_pattern = bool(re.search(r"[*?\[]|\{[^{}]*(,|\.\.)[^{}]*\}", word))
    return is_pattern and ending(word) in (".tar", *PARQUET_ENDINGS) and not Path(word).expanduser().exists()


def detect_reader(word: str) -> tuple[FolderReader, Path]:
    """Return the name of the data set that reads a path, and the absolute path.

    A folder is read by the kind of files that most of it consists of: tables next to as many images are labels.
    Raises DataError if the path does not exist, or holds nothing that can be read.
    """
    path = Path(word).expanduser().resolve()
    if is_shard_pattern(word):
        return "image_shards", Path(os.path.abspath(Path(word).expanduser()))
    kind = KINDS.get(ending(path.name))
    if not path.exists():
        raise DataError(f"there is no {'file' if kind else 'folder'} {word}; check the path")
    if not path.is_dir():
        return _detect_file_reader(word, path, kind), path
    try:
        names = [name for name, _ in find_files(str(path), broken=True)]
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error
    counts = Counter(KINDS.get(ending(name)) for name in names)
    if not counts.keys() & READERS.keys():
        counts["image"] = sum(_is_unnamed_image(path / name) for name in names[:MAX_OPENED])
    main = _main_kind(counts)
    reader = None if main is None else READERS.get(main)
    if main == "array" and (first := next((name for name in names if name.lower().endswith(".npy")), None)):
        return ("csv_windows" if _is_series(path / first) else "image_folder"), path
    if reader is not None:
        return reader, path
    if (first := next((name for name in names if is_text_table(name)), None)) and _is_numbers(path / first):
        return "csv_windows", path
    endings = Counter(ending(name) or "without extension" for name in names).most_common(MAX_LISTED)
    remedies = {suffix: f" ({remedy})" for suffix, remedy in REMEDIES.items()}
    listed = (f"{count:,} {suffix}{remedies.get(suffix, '')}" for suffix, count in endings)
    other = f"; it has {', '.join(listed)}" if names else ""
    raise DataError(
        f"{word} contains no image ({', '.join(IMAGE_ENDINGS[:7])}, …), no array or archive of images, no CSV file "
        f"and no sound{printing.printable(other)}; give a folder that does"
    )


def _is_unnamed_image(path: Path) -> bool:
    """Return whether a file is an image although its name does not say so."""
    try:
        with path.open("rb") as file:
            return is_image_start(file.read(START_BYTES))
    except OSError:
        return False


def _main_kind(counts: "Counter[FileKind | None]") -> FileKind | None:
    """Return the kind of files that a folder consists of; None if there are none of a kind that is read."""
    kinds: tuple[FileKind, ...] = ("image", "array", "sound", "table")  # of equal numbers, the first
    main = max(kinds, key=lambda kind: counts[kind])
    if counts["container"] and counts[main] <= (MAX_PREVIEWS if main == "image" else counts["container"]):
        return "container"
    return main if counts[main] else None


def _detect_file_reader(word: str, path: Path, kind: FileKind | None) -> FolderReader:
    """Return the name of the data set that reads a file. Raises DataError if none does."""
    if kind in ("text", None) and _is_numbers(path):
        return "csv_windows"
    if kind == "text":
        return "text_lines"
    if kind == "array" and _is_table(path):
        return "csv_windows"
    if kind in ("array", "container", "table", "sound"):
        return READERS[kind]
    if kind == "image":
        raise DataError(f"{word} is a single image; give the folder that holds all of them")
    if remedy := REMEDIES.get(ending(path.name)):
        raise DataError(f"{word} cannot be read as it is: {remedy}; then give the folder or file that this results in")
    raise DataError(
        f"{word} is a file; give a text file (.txt), a table (.csv), an array (.npy, .npz), an archive (.zip, .tar), a "
        "Parquet file, or the folder that holds the images or CSV files"
    )


def _is_numbers(path: Path) -> bool:
    """Return whether a text file is a table of numbers, apart from its first lines."""
    try:
        with path.open("rb") as file:
            lines = file.read(PROBED_BYTES).decode("latin-1").splitlines()
    except OSError:
        return False
    lines = [line for line in lines[:-1] or lines if line.strip() and not line.startswith("#")]
    fields = [field for line in lines[len(lines) // 2 :] for field in re.split(r"[\s;,|]+", line.strip())]
    return len(lines) > 2 and all(
        re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", field, re.I) for field in fields if field
    )


def _open_array(path: Path) -> "npt.NDArray[np.generic] | None":
    """Map the array in a .npy file to memory; None if it cannot be read, which the data set reports."""
    import numpy as np

    try:
        array: npt.NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except ARRAY_ERRORS:
        return None
    return array


def _is_table(path: Path) -> bool:
    """Return whether the array in a file is a table, a series of numbers or several series, not several images.

    Several series are (N, length, channels), long and narrow, of numbers that are no bytes.
    """
    from equipoise.core.flat_images import flat_image_shape
    from equipoise.core.series_arrays import ArrayForm, find_series, is_series_array

    if path.suffix.lower() == ".npz":
        return bool(find_series(path))

    array = _open_array(path)
    if array is not None and array.ndim == 2 and array.dtype == "uint8":
        return not _is_picture(array.shape) and flat_image_shape(array) is None
    return array is not None and (array.ndim <= 2 or is_series_array(ArrayForm(array.dtype, array.shape)))


def _is_series(path: Path) -> bool:
    """Return whether the array in a .npy file of a folder is a series of numbers, not one or several images."""
    from equipoise.core.flat_images import flat_image_shape

    array = _open_array(path)
    if array is None or array.ndim > 2 or (array.dtype == "uint8" and flat_image_shape(array)):
        return False
    return array.ndim < 2 or not _is_picture(array.shape)


def _is_picture(shape: tuple[int, ...]) -> bool:
    """Return whether an array of two axes is neither so narrow nor so long that it is a series of numbers."""
    return min(shape) >= NARROW_SIDE and max(shape) < NARROW_RATIO * min(shape)


def read_path_with(reader: str, path: str) -> PlugSpec:
    """Return the data set `reader` for a path, which is its first option.

    Raises SettingError if this data set does not read a path.
    """
    options = dataclasses.fields(catalog.load("data", reader))
    if not options or options[0].type not in ("str", str):
        raise SettingError(f"'{reader}' reads no folder and no file; omit {path}: equipoise train {reader}")
    return PlugSpec(reader, {options[0].name: str(Path(path).expanduser())})
