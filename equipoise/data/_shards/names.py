"""Names of shards: those in a folder, or those that a pattern such as data/train-{0000..0099}.tar stands for."""

import glob
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from equipoise.core.files import COMPRESSED_TAR_ENDINGS, PARQUET_ENDINGS, ending, is_junk
from equipoise.core.printing import format_more, format_names, printable
from equipoise.errors import DataError

MAX_NAMES = 1_000_000
"""Largest number of names that the braces of a pattern stand for."""
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
SHARD_ENDINGS = (".tar", *PARQUET_ENDINGS)


class Shards(NamedTuple):
    """Shards below `root`, sorted by path. `paths`: relative to it, with slashes, all of `kind`: .tar or .parquet."""

    root: Path
    paths: tuple[str, ...]
    kind: str


def is_pattern(text: str) -> bool:
    """Return whether a text is a pattern of names: with * or ?, or with braces that hold a list or a range."""
    return glob.has_magic(text) or any("," in each or RANGE.fullmatch(each) for each in BRACES.findall(text))


def expand(pattern: str) -> Shards:
    """Return the shards that a pattern stands for.

    Raises DataError if it stands for no file, if a file that its braces name is missing, or if the kinds differ.
    """
    names: list[Path] = []
    missing: list[str] = []
    for name in _expand_braces(os.path.abspath(os.path.expanduser(pattern))):
        matches = glob.glob(name, recursive=True) if glob.has_magic(name) else [name] if os.path.exists(name) else []
        if not matches:
            missing.append(name)
        names += [Path(match) for match in matches if not is_junk(os.path.basename(match))]
    if not names:
        raise DataError(f"no file matches {printable(pattern)}; check the pattern, and put it in quotes")
    if missing:
        raise DataError(
            f"the pattern {printable(pattern)} names files that do not exist: {format_names(missing, 1)}; restore "
            "them, or change the pattern"
        )
    paths = sorted(set(names))
    root = Path(os.path.commonpath([path.parent for path in paths]))
    return check_kinds(root, tuple(path.relative_to(root).as_posix() for path in paths if path.is_file()), pattern)


def check_kinds(root: Path, paths: tuple[str, ...], place: object) -> Shards:
    """Return shards. Raises DataError if their kinds differ, or are none that is read in place."""
    kinds = sorted({ending(path) for path in paths})
    others = [path for path in paths if ending(path) not in SHARD_ENDINGS]
    if not paths:
        raise DataError(f"{printable(str(place))} contains no shard (.tar, .parquet); check the path")
    if others:
        remedy = ": unpack it with gunzip, bunzip2 or unxz" * (ending(others[0]) in COMPRESSED_TAR_ENDINGS)
        more = format_more(len(others) - 1)
        raise DataError(
            f"{printable(others[0])}{more} cannot be read at any position{remedy}; shards are .tar, .parquet"
        )
    if len(kinds) > 1:
        raise DataError(f"{printable(str(place))} has both .parquet and .tar files; name one kind: *.parquet or *.tar")
    return Shards(root, paths, kinds[0])


def _expand_braces(pattern: str) -> Iterator[str]:
    """Yield the names that braces stand for: {a,b} and {000..099}."""
    parts = BRACES.split(pattern)
    choices = [list(_choices(part)) if number % 2 else [part] for number, part in enumerate(parts)]
    for number, combination in enumerate(itertools.product(*choices)):
        if number >= MAX_NAMES:
            raise DataError(f"the pattern {printable(pattern)} stands for more than {MAX_NAMES:,} names; shorten it")
        yield "".join(combination)


def _choices(text: str) -> Iterator[str]:
    if match := RANGE.fullmatch(text):
        width = len(match[1])
        yield from (f"{number:0{width}d}" for number in range(int(match[1]), int(match[2]) + 1))
    elif "," in text:
        yield from text.split(",")
    else:
        yield f"{{{text}}}"
