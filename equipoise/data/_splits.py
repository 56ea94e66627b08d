"""Splits of a data set: which samples are trained on, and which are held out."""

from collections.abc import Sequence


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
