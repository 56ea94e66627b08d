"""Finding data files in a folder. Hidden files and the files of run folders are excluded."""

import os
from collections.abc import Iterator

RUN_FILES = {"experiment.json", "events.jsonl"}
"""Files of a run folder: images in it are samples, not data."""


def find_files(folder: str) -> "Iterator[tuple[str, os.DirEntry[str]]]":
    """Yield (path relative to the folder, with slashes, and entry) of each file, sorted by name, subfolders included.

    Links are followed; each folder is visited once. Raises OSError for a folder that cannot be read.
    """
    yield from _find(folder, "", set())


def _find(folder: str, path: str, visited: set[tuple[int, int]]) -> "Iterator[tuple[str, os.DirEntry[str]]]":
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in visited:
        return
    visited.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    if {entry.name for entry in visible} >= RUN_FILES:
        return
    for entry in visible:
        if entry.is_dir():
            yield from _find(entry.path, f"{path}{entry.name}/", visited)
        elif entry.is_file():
            yield f"{path}{entry.name}", entry
