"""Make the figures and the page of a run."""

import argparse
from pathlib import Path

from equipoise.arguments import Parser, json_flag
from equipoise.commands._answer import answer


def fill(made: Parser) -> None:
    """The arguments of `report`."""
    made.add_argument("run", metavar="RUN", help="the run folder")
    json_flag(made)


def act(asked: argparse.Namespace) -> int:
    """Make the figures and the page of a run."""
    from equipoise.report.page import make
    from equipoise.runs import Run

    page = make(Run(Path(asked.run)))
    answer(asked.json, {"report": str(page)}, f"report: {page}")
    return 0
