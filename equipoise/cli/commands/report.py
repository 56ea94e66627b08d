"""Make the figures, the film and the page of a run."""

import argparse
from pathlib import Path

from equipoise.cli.arguments import Parser, json_flag
from equipoise.cli.commands._answer import answer
from equipoise.cli.commands._reporting import report, told


def add_arguments(made: Parser) -> None:
    """The arguments of `report`."""
    made.add_argument("run", metavar="RUN", help="the run folder")
    made.add_argument("--no-film", action="store_true", help="leave the film as it is, or out")
    json_flag(made)


def run(args: argparse.Namespace) -> int:
    """Make the figures, the film and the page of a run."""
    page, film = report(Path(args.run), film=not args.no_film)
    answer(args.json, {"report": str(page), "film": str(film) if film else None}, told(page, film))
    return 0
