"""Say how the runs in a folder stand."""

import argparse
import dataclasses
from pathlib import Path

from equipoise.cli.arguments import Parser, json_flag
from equipoise.cli.commands._answer import answer


def add_arguments(made: Parser) -> None:
    """The arguments of `runs`."""
    made.add_argument("folder", nargs="?", default="runs", metavar="DIR", help="where run folders lie")
    json_flag(made)


def run(args: argparse.Namespace) -> int:
    """The runs in a folder and how they stand."""
    from equipoise.runs.run import find_runs, summarize_run

    result = [summarize_run(each) for each in find_runs(Path(args.folder))]
    lines = [
        f"{row.name:28} {row.model or '?':18} {row.data or '?':12} {row.step:>8} of {row.steps or '?':<8} {row.state}"
        for row in result
    ]
    answer(
        args.json,
        [dataclasses.asdict(row) for row in result],
        "\n".join(lines) or f"there are no runs in {args.folder}",
    )
    return 0
