"""Go on with a run, from its last checkpoint."""

import argparse
from pathlib import Path

from equipoise.arguments import Parser, json_flag
from equipoise.commands._following import follow, stoppable


def fill(made: Parser) -> None:
    """The arguments of `resume`."""
    made.add_argument("run", metavar="RUN", help="the run folder")
    made.add_argument("--steps", type=int, metavar="N", help="a new length of the whole run")
    json_flag(made)


def act(asked: argparse.Namespace) -> int:
    """Go on with a run."""
    from equipoise import launch

    folder = Path(asked.run)
    with stoppable() as interrupted:
        return follow(launch.resume(folder, asked.steps, interrupted), folder, asked.json)
