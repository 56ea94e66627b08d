"""Data by what was typed: the name of a data set, or a folder or a text file of one's own."""

import os
from pathlib import Path
from typing import Literal

from equipoise.core import catalog
from equipoise.core import files as walk
from equipoise.errors import DataError

Kind = Literal["image_folder", "csv_windows", "text_lines"]
TEXTS = (".txt",)
WINDOWS = (".csv",)
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def is_folder(word: str) -> bool:
    """Whether a word stands for a folder, or a text file. A data set of that name wins; `./digits` is the folder."""
    path = Path(word).expanduser()
    looks_like_one = os.sep in word or word in (".", "..", "~") or path.suffix.lower() in TEXTS
    return looks_like_one or (word.partition(":")[0] not in catalog.names("data") and path.is_dir())


def kind_of(word: str) -> tuple[Kind, Path]:
    """The data set that reads a folder, by the first file in it that one can read, and the folder's full path.

    Looked at are the very files that are read then, in their order. A text file is read as it is.

    Raises DataError if there is no such folder, or nothing in it that can be trained on.
    """
    folder = Path(word).expanduser().resolve()
    is_text = folder.suffix.lower() in TEXTS
    if not folder.exists():
        raise DataError(f"there is no {'file' if is_text else 'folder'} {word}")
    if not folder.is_dir():
        if is_text:
            return "text_lines", folder
        raise DataError(f"{word} is a file; give a text file (.txt), or the folder that holds the images or CSV files")
    try:
        for name, _ in walk.files(str(folder)):
            ending = Path(name).suffix.lower()
            if ending in WINDOWS:
                return "csv_windows", folder
            if ending in IMAGES:
                return "image_folder", folder
    except OSError as error:
        raise DataError(f"cannot look into {error.filename or folder}: {error.strerror or error}") from error
    raise DataError(f"there is no image ({', '.join(IMAGES)}) and no CSV file in {word}")
