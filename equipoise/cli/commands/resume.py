"""Resume a run from its last checkpoint."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, add_json_flag
from equipoise.cli.commands._follow_run import follow_run, prepare_data

if TYPE_CHECKING:
    from equipoise.core.events import Event

ORDER = 20


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `resume`."""
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--steps", type=int, metavar="N", help="new total number of steps; default: the run's")
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Resume the run, show its progress and write its report."""
    from equipoise.experiment import launch
    from equipoise.experiment.files import load_run_experiment
    from equipoise.experiment.settings import require
    from equipoise.runs import tracking

    folder = Path(args.run)
    experiment = load_run_experiment(folder)
    require(experiment.data, "data")
    track = experiment.track or "off"
    tracking.check_installed(track)
    prepare_data(experiment, quiet=args.json)

    def start(interrupted: Callable[[], bool]) -> Iterator["Event"]:
        events = launch.resume(folder, args.steps, interrupted)
        return tracking.track_events(events, track, folder, experiment.to_json())

    return follow_run(start, folder, args.json)
