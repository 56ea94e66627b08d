"""The files below a folder that are data: not hidden ones, and not those of a run."""

import os
from collections.abc import Iterator

RUN = {"experiment.json", "events.jsonl"}
"""What a run folder holds: pictures in it are samples, not data."""


def files(folder: str) -> "Iterator[tuple[str, os.DirEntry[str]]]":
    """Each file and its path below the folder, with slashes, in the order of names, folders among files.

    Links are followed, each folder is entered once. Raises OSError for what may not be looked at.
    """
    yield from _below(folder, "", set())


def _below(folder: str, path: str, seen: set[tuple[int, int]]) -> "Iterator[tuple[str, os.DirEntry[str]]]":
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        inside = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    if {entry.name for entry in inside} >= RUN:
        return
    for entry in inside:
        if entry.is_dir():
            yield from _below(entry.path, f"{path}{entry.name}/", seen)
        elif entry.is_file():
            yield f"{path}{entry.name}", entry
