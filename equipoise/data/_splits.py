"""Splits of a data set: which samples are trained on, and which are held out."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from equipoise.errors import SettingError

SplitName = Literal["train", "valid", "test"]
SPLIT_WORDS: dict[str, SplitName] = {
    **dict.fromkeys(("train", "training", "trainset", "trn"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "validate"), "valid"),
    **dict.fromkeys(("test", "testing", "testset", "tst"), "test"),
}
"""Words for the splits of data sets that others have divided; tests are never trained on."""
MIN_HELD_OUT = 10
"""Smallest number of held-out samples for which a data set suggests a metric: with fewer, it is mostly noise."""
DOMAIN = re.compile(r"(train|test|valid|val)([AB])")
"""Folders of unpaired data sets, as of CycleGAN (Zhu et al. 2017): trainA, trainB, testA, testB."""


class SplitFolder(NamedTuple):
    """A name that contains a split. `rest`: the name without it: "A" of trainA, "images" of train_images."""

    split: SplitName
    rest: str


def parse_split(name: str) -> SplitFolder | None:
    """Return the split that a folder, file or array is named after; None if it is not.

    Case does not matter: train, Training, val, TEST, trainA, train_images, x_train, train-00000-of-00002.parquet.
    """
    if match := DOMAIN.fullmatch(name):
        return SplitFolder(SPLIT_WORDS[match[1]], match[2])
    words = [word for word in re.split(r"[^A-Za-z]+", name) if word]
    places = [place for place, word in enumerate(words) if word.lower() in SPLIT_WORDS]
    if len(places) != 1:
        return None
    (place,) = places
    return SplitFolder(SPLIT_WORDS[words[place].lower()], "_".join(words[:place] + words[place + 1 :]).lower())


def is_split_column(values: Mapping[str, str]) -> bool:
    """Return whether the values of a table are names of splits: at least two, one of them train."""
    different = {value.strip().lower() for value in set(values.values())}
    splits = {SPLIT_WORDS.get(value) for value in different}
    return len(splits) > 1 and "train" in splits and None not in splits


def check_held_out(share: float) -> None:
    """Raise SettingError for a share of held-out samples that is not from 0 to 0.5."""
    if not 0 <= share <= 0.5:
        raise SettingError(f"held_out = {share:g}: it must be from 0 to 0.5")


def split_by_digest(digests: Sequence[str], share: float) -> tuple[list[int], list[int]]:
    """Split rows into training and held-out rows: about `share` of all are held out, those with the lowest digests.

    Both lists are in ascending order. Rows of equal digest are in the same split. If there are at least two digests and
    `share` is above 0, neither split is empty; otherwise all rows are trained on.
    """
    groups: dict[str, list[int]] = {}
    for row, digest in enumerate(digests):
        groups.setdefault(digest, []).append(row)
    target = round(share * len(digests))
    selected: list[int] = []
    for digest in sorted(groups):
        if len(selected) + len(groups[digest]) <= min(target, len(digests) - 1):
            selected += groups[digest]
    if not selected and share > 0 and len(groups) > 1:
        selected = groups[min(groups, key=lambda digest: (len(groups[digest]), digest))]
    held_out = set(selected)
    return [row for row in range(len(digests)) if row not in held_out], sorted(selected)


def connected_groups(names: Sequence[str], *marks: Sequence[str]) -> list[str]:
    """Return the lowest name in the group of each element; elements that share a mark are connected."""
    pairs: list[tuple[int, int]] = []
    for group in marks:
        first: dict[str, int] = {}
        pairs += [(index, first.setdefault(mark, index)) for index, mark in enumerate(group)]
    groups = ConnectedGroups(names)
    for pair in pairs:
        groups.join(*pair)
    return groups.names()


class ConnectedGroups:
    """Groups of elements that are connected in pairs (union-find). `names`: of the elements."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._root = list(range(len(names)))

    def find(self, index: int) -> int:
        """Return the element that represents the group of an element: the one with the lowest name."""
        root = self._root
        while root[index] != index:
            root[index] = index = root[root[index]]
        return index

    def join(self, first: int, second: int) -> None:
        """Connect two elements, and so their groups."""
        lower, upper = sorted((self.find(first), self.find(second)), key=lambda each: self._names[each])
        self._root[upper] = lower

    def names(self) -> list[str]:
        """Return the lowest name in the group of each element."""
        return [self._names[self.find(index)] for index in range(len(self._root))]
