"""List the runs in a folder and their state."""

import argparse
import dataclasses
from pathlib import Path

from equipoise.cli.arguments import Parser, add_json_flag
from equipoise.cli.output import print_result
from equipoise.core.printing import printable

ORDER = 140
DEFAULT = "runs"
EXAMPLES = (
    "equipoise runs",
    "equipoise runs experiments --json",
)
JSON_KEYS: dict[str, str] = {
    "name, model, data, step, steps, state": "of each run, in a list",
}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `runs`."""
    parser.add_argument(
        "folder", nargs="?", metavar="DIR", help="folder with run folders, or one of them; default: runs"
    )
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line per run."""
    from equipoise.runs.run import find_runs, summarize_run

    folder = Path(DEFAULT if args.folder is None else args.folder)
    is_empty = args.folder is None and not folder.exists()  # before the first run
    runs = [] if is_empty else [summarize_run(run) for run in find_runs(folder)]
    lines = [
        f"{run.name:28} {run.model or '?':18} {run.data or '?':12} {run.step:>8} of {run.steps or '?':<8} {run.state}"
        for run in runs
    ]
    text = "\n".join(map(printable, lines)) or f"{folder} contains no runs; start one with: equipoise train digits"
    print_result(args.json, [dataclasses.asdict(run) for run in runs], text)
    return 0
