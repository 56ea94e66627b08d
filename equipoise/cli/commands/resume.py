"""Go on with a run, from its last checkpoint."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, json_flag
from equipoise.cli.commands._following import follow
from equipoise.cli.commands._preparing import get_ready

if TYPE_CHECKING:
    from equipoise.core.events import Event


def add_arguments(made: Parser) -> None:
    """The arguments of `resume`."""
    made.add_argument("run", metavar="RUN", help="the run folder")
    made.add_argument("--steps", type=int, metavar="N", help="a new length of the whole run, whatever ended it")
    json_flag(made)


def run(args: argparse.Namespace) -> int:
    """Go on with a run."""
    from equipoise.experiment import launch
    from equipoise.experiment.settings import require
    from equipoise.runs import tracking

    folder = Path(args.run)
    experiment = launch.experiment_of(folder)
    require(experiment.data, "data")
    track = experiment.track or "off"
    tracking.check(track)
    get_ready(experiment, quiet=args.json)

    def begin(interrupted: Callable[[], bool]) -> Iterator["Event"]:
        events = launch.resume(folder, args.steps, interrupted)
        return tracking.tracked(events, track, folder, experiment.to_json())

    return follow(begin, folder, args.json)
