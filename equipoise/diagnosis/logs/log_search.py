"""Search of a folder for files that may be logs, by their names: the likely ones first, in bounded time."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from equipoise.diagnosis.columns.column_names import match_metric, match_signal

MAX_DEPTH = 4
"""Number of levels of folders that are searched: logs/version_0/… or wandb/run-…/files/…"""
MAX_ENTRIES = 20_000
"""Number of files and folders after which the search ends."""
MAX_CANDIDATES = 40
"""Number of candidates that are opened."""
LIKELY = ("*log*", "*loss*", "*metrics*", "*history*", "*progress*", "*stats*", "*train*", "*scalars*", "*fid*")
"""Patterns of names of logs, in lower case."""
SUFFIXES = (".log", ".jsonl", ".csv", ".tsv", ".out", ".txt", ".json", ".ipynb", ".dat", ".err")
"""Endings of names of logs, the likeliest first."""
BARE_NAMES = ("log", "logs", "output", "nohup", "slurm")
"""Names of logs without an ending, as Chainer's."""
UNLIKELY = ("requirements*", "readme*", "license*", "*config*", "package*.json", "*args*", "*opt.txt", "*labels*")
"""Patterns of names of files that are no logs, in lower case."""
TOGETHER = ("*tfevents*", "metric-*.jsonl")
"""Patterns of names of which all files in a folder are one log."""
SKIPPED_FOLDERS = ("__pycache__", "node_modules", "site-packages", "venv", "env", "samples", "images")


class LogCandidate(NamedTuple):
    """Files that may be one log: the shards of an event file, or a single one. `rank`: 0 for the likeliest."""

    paths: tuple[Path, ...]
    rank: int
    size: int


class FolderSearch(NamedTuple):
    """Candidates of a folder, the likeliest first, and how many `files` were looked at: all, or up to MAX_ENTRIES."""

    candidates: tuple[LogCandidate, ...]
    files: int
    is_complete: bool


def search_folder(folder: Path, patterns: Sequence[str]) -> FolderSearch:
    """Search a folder for files that may be logs.

    `patterns`: names of logs of known programs.
    """
    groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    ranks: dict[tuple[Path, str], int] = {}
    entries = 0
    for path in _iterate_files(folder):
        entries += 1
        if entries > MAX_ENTRIES:
            break
        rank = rank_name(path.name, patterns)
        if rank is None:
            continue
        shared = next((pattern for pattern in TOGETHER if fnmatch(path.name, pattern)), None)
        key = (path.parent, shared or path.name)
        groups[key].append(path)
        ranks[key] = rank
    result = [
        LogCandidate(tuple(sorted(paths)), ranks[key], size)
        for key, paths in groups.items()
        if (size := sum(map(_size, paths)))
    ]
    result.sort(key=lambda candidate: (candidate.rank, len(candidate.paths[0].parts), candidate.paths))
    return FolderSearch(tuple(result[:MAX_CANDIDATES]), min(entries, MAX_ENTRIES), entries <= MAX_ENTRIES)


def rank_name(name: str, patterns: Sequence[str]) -> int | None:
    """Return how likely a file is a log by its name, 0 for the likeliest; None if it is not."""
    lower = name.lower().removesuffix(".gz")
    if any(fnmatch(lower, pattern) for pattern in patterns):
        return 0
    if lower.startswith(".") or any(fnmatch(lower, pattern) for pattern in UNLIKELY):
        return None
    stem, ending = os.path.splitext(lower)
    is_likely = any(fnmatch(lower, pattern) for pattern in LIKELY)
    if ending in SUFFIXES:
        return 1 + SUFFIXES.index(ending) + (0 if is_likely else len(SUFFIXES))
    is_series = not ending and (match_signal(name) or match_metric(name))  # a file for each metric, as of MLflow
    return 1 if (stem in BARE_NAMES and not ending) or is_series else None


def _iterate_files(folder: Path, depth: int = 0) -> Iterator[Path]:
    """Yield the files of a folder and of those in it, level by level; links to folders are not followed."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    folders = []
    for entry in entries:
        try:
            if entry.is_file():
                yield Path(entry.path)
            elif entry.is_dir(follow_symlinks=False) and _is_searched(entry.name):
                folders.append(Path(entry.path))
        except OSError:
            continue
    if depth < MAX_DEPTH:
        for inner in folders:
            yield from _iterate_files(inner, depth + 1)


def _is_searched(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in SKIPPED_FOLDERS


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
