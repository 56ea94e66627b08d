"""Parsing of the data argument: the name of a data set, a folder, or a text file."""

import dataclasses
import os
from pathlib import Path
from typing import Literal

from equipoise.core import catalog
from equipoise.core.files import find_files
from equipoise.errors import DataError, SettingError
from equipoise.experiment.settings import PlugSpec

FolderReader = Literal["image_folder", "csv_windows", "text_lines"]
TEXT_SUFFIXES = (".txt",)
WINDOW_SUFFIXES = (".csv",)
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def parse_data_source(word: str, image_size: int | None = None) -> PlugSpec:
    """Return the data set for a word: a name of a data set, a folder of images or CSV files, or a text file."""
    if not is_path(word):
        return PlugSpec(word).with_options(image_size=image_size)
    reader, path = detect_reader(word)
    return read_path_with(reader, str(path)).with_options(image_size=image_size)


def is_path(word: str) -> bool:
    """Return whether a word is a folder or a text file. The name of a data set takes precedence over a folder."""
    if catalog.is_file(word):  # a custom data set: ./my_data.py
        return False
    path = Path(word).expanduser()
    has_path_syntax = os.sep in word or word in (".", "..", "~") or path.suffix.lower() in TEXT_SUFFIXES
    return has_path_syntax or (word.partition(":")[0] not in catalog.names("data") and path.is_dir())


def detect_reader(word: str) -> tuple[FolderReader, Path]:
    """Return the name of the data set that reads a path, and the absolute path.

    A folder is read as images or as CSV windows, depending on its first file of either kind, in the order of
    :func:`~equipoise.core.files.find_files`. Raises DataError if the path does not exist, or the folder has no such
    file.
    """
    path = Path(word).expanduser().resolve()
    is_text = path.suffix.lower() in TEXT_SUFFIXES
    if not path.exists():
        raise DataError(f"there is no {'file' if is_text else 'folder'} {word}; check the path")
    if not path.is_dir():
        if is_text:
            return "text_lines", path
        raise DataError(f"{word} is a file; give a text file (.txt), or the folder that holds the images or CSV files")
    try:
        for name, _ in find_files(str(path)):
            suffix = Path(name).suffix.lower()
            if suffix in WINDOW_SUFFIXES:
                return "csv_windows", path
            if suffix in IMAGE_SUFFIXES:
                return "image_folder", path
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error
    raise DataError(f"{word} contains no image ({', '.join(IMAGE_SUFFIXES)}) and no CSV file; give a folder that does")


def read_path_with(reader: str, path: str) -> PlugSpec:
    """Return the data set `reader` for a path, which is its first option.

    Raises SettingError if this data set does not read a path.
    """
    options = dataclasses.fields(catalog.load("data", reader))
    if not options or options[0].type not in ("str", str):
        raise SettingError(f"'{reader}' reads no folder and no file; omit {path}: equipoise train {reader}")
    return PlugSpec(reader, {options[0].name: str(Path(path).expanduser())})
