"""Say how the runs in a folder stand."""

import argparse
from pathlib import Path

from equipoise.cli.arguments import Parser, json_flag
from equipoise.cli.commands._answer import answer


def add_arguments(made: Parser) -> None:
    """The arguments of `runs`."""
    made.add_argument("folder", nargs="?", default="runs", metavar="DIR", help="where run folders lie")
    json_flag(made)


def run(args: argparse.Namespace) -> int:
    """The runs in a folder and how they stand."""
    from equipoise.runs.run_folder import find, outline

    result = [outline(each) for each in find(Path(args.folder))]
    lines = [
        f"{row['name']:28} {row['gan'] or '?':18} {row['data'] or '?':12} {row['step']:>8} of {row['steps'] or '?':<8} "
        f"{row['state']}"
        for row in result
    ]
    answer(args.json, result, "\n".join(lines) or f"there are no runs in {args.folder}")
    return 0
