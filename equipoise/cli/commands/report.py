"""Write the figures, the film and the HTML page of a run."""

import argparse
from pathlib import Path

from equipoise.cli.arguments import Parser, add_json_flag
from equipoise.cli.commands import _follow_run
from equipoise.cli.output import print_result

ORDER = 100
EXAMPLES = (
    "equipoise report runs/digits-dcgan-1",
    "equipoise report runs/digits-dcgan-1 --no-film",
)
JSON_KEYS: dict[str, str] = {
    "report": "path of report.html",
    "film": "path of the film, or null",
}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `report`."""
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--no-film", action="store_true", help="do not write the film; an existing film is not changed")
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Write the report and print its path."""
    files = _follow_run.write_report_files(Path(args.run), film=not args.no_film, quiet=args.json)
    result = {"report": str(files.page), "film": str(files.film) if files.film else None}
    print_result(args.json, result, _follow_run.report_lines(files))
    return 0
