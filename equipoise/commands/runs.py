"""Say how the runs in a folder stand."""

import argparse
from pathlib import Path

from equipoise.arguments import Parser, json_flag
from equipoise.commands._answer import answer


def fill(made: Parser) -> None:
    """The arguments of `runs`."""
    made.add_argument("folder", nargs="?", default="runs", metavar="DIR", help="where run folders lie")
    json_flag(made)


def act(asked: argparse.Namespace) -> int:
    """The runs in a folder and how they stand."""
    from equipoise.runs import find, outline

    found = [outline(each) for each in find(Path(asked.folder))]
    lines = [
        f"{row['name']:28} {row['gan'] or '?':18} {row['data'] or '?':12} {row['step']:>8} of {row['steps'] or '?':<8} "
        f"{row['state']}"
        for row in found
    ]
    answer(asked.json, found, "\n".join(lines) or f"there are no runs in {asked.folder}")
    return 0
