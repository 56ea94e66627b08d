"""Folders of the images of an index: which of them are classes, and which are splits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from equipoise.data._splits import SplitName, parse_split

MAX_FOLDERS = 10_000
"""Largest number of folders that are distinguished by as many of their levels; with more, one level less is used."""
DEPTH = 4
"""Levels of folders that are distinguished: those of set/train/class, and one more."""


class FolderMeaning(NamedTuple):
    """What a folder says of its images. `name`: of their class, "" for none. `split`: None without splits."""

    name: str
    split: SplitName | None


@dataclass(slots=True)
class FolderNumbers:
    """Numbers of folders in order of appearance. Mutable: `depth` falls where there are too many of them.

    Memory does not grow with the images: there are at most DEPTH times MAX_FOLDERS numbers.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    depth: int = DEPTH
    _in_depth: int = 0

    def number(self, folder: str) -> int:
        """Return the number of a folder, a path with slashes; -1 if there are too many on the first level."""
        while self.depth:
            key = "/".join(folder.split("/", self.depth)[: self.depth])
            if (number := self.numbers.get(key)) is not None:
                return number
            if self._in_depth < MAX_FOLDERS:
                self._in_depth += 1
                return self.numbers.setdefault(key, len(self.numbers))
            self.depth, self._in_depth = self.depth - 1, 0
        return -1

    def meanings(self) -> Sequence[FolderMeaning]:
        """Return what each number means.

        Folders called train, valid and test are splits if train and another one of them exist; a single one may be a
        class. The class is the first folder behind that, and behind the folders that all images have in common.
        """
        paths = [key.split("/") if key else [] for key in self.numbers]
        places = [next((place for place, part in enumerate(path) if parse_split(part)), None) for path in paths]
        splits = [None if place is None else _split(path[place]) for path, place in zip(paths, places, strict=True)]
        if "train" not in splits or not {"valid", "test"}.intersection(splits):
            places, splits = [None] * len(paths), [None] * len(paths)
        rests = [path if place is None else path[place + 1 :] for path, place in zip(paths, places, strict=True)]
        trained = [rest for rest, split in zip(rests, splits, strict=True) if split != "test"]
        shared = 0
        while trained and all(rest[shared : shared + 1] == trained[0][shared : shared + 1] != [] for rest in trained):
            shared += 1
        names = ["".join(rest[shared : shared + 1]) for rest in rests]
        return [FolderMeaning(name, split) for name, split in zip(names, splits, strict=True)]


def _split(name: str) -> SplitName | None:
    folder = parse_split(name)
    return folder.split if folder else None
