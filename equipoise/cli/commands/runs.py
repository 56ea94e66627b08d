"""List the runs in a folder and their state."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, add_json_flag
from equipoise.cli.output import print_result
from equipoise.core.printing import format_count, printable
from equipoise.errors import RunError, shell_path

if TYPE_CHECKING:
    from equipoise.runs.annotations import Annotations
    from equipoise.runs.run import Run, RunSummary

ORDER = 140
DEFAULT = "runs"
EXAMPLES = (
    "equipoise runs",
    "equipoise runs experiments --json",
)
JSON_KEYS: dict[str, str] = {
    "name, model, data, step, steps, state": "of each run, in a list",
    "tags, note, archived": "annotations of a run, as made in the studio",
}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `runs`."""
    parser.add_argument(
        "folder", nargs="?", metavar="DIR", help="folder with run folders, or one of them; default: runs"
    )
    parser.add_argument("--archived", action="store_true", help="print the archived runs, too; --json always has them")
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line per run."""
    from equipoise.runs.run import find_runs

    folder = Path(DEFAULT if args.folder is None else args.folder)
    is_empty = args.folder is None and not folder.exists()  # before the first run
    rows = [] if is_empty else [_row(run) for run in find_runs(folder)]
    lines = [_line(*row) for row in rows if args.archived or not row[1].archived]
    if hidden := len(rows) - len(lines):
        lines.append(
            f"{format_count(hidden, 'archived run')} not shown: equipoise runs {shell_path(folder)} --archived"
        )
    text = "\n".join(map(printable, lines)) or f"{folder} contains no runs; start one with: equipoise train digits"
    result = [dataclasses.asdict(summary) | annotations.to_json() for summary, annotations in rows]
    print_result(args.json, result, text)
    return 0


def _row(run: "Run") -> "tuple[RunSummary, Annotations]":
    """Return the summary and the annotations of a run; damaged annotations are reported in the state."""
    from equipoise.runs.annotations import Annotations, read_annotations
    from equipoise.runs.run import summarize_run

    summary = summarize_run(run)
    try:
        return summary, read_annotations(run.folder)
    except RunError as error:
        return dataclasses.replace(summary, state=f"{summary.state}; {error}"), Annotations()


def _line(run: "RunSummary", annotations: "Annotations") -> str:
    """Format a run: name, model, data, steps, state, and its tags."""
    steps = f"{run.step:>8} of {run.steps or '?':<8}"
    tags = f"  [{', '.join(annotations.tags)}]" if annotations.tags else ""
    archived = "  (archived)" if annotations.archived else ""
    return f"{run.name:28} {run.model or '?':18} {run.data or '?':12} {steps} {run.state}{tags}{archived}"
