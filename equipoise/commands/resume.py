"""Go on with a run, from its last checkpoint."""

import argparse
from pathlib import Path

from equipoise.arguments import Parser, json_flag
from equipoise.commands._following import follow, stoppable
from equipoise.commands._preparing import get_ready


def fill(made: Parser) -> None:
    """The arguments of `resume`."""
    made.add_argument("run", metavar="RUN", help="the run folder")
    made.add_argument("--steps", type=int, metavar="N", help="a new length of the whole run")
    json_flag(made)


def act(asked: argparse.Namespace) -> int:
    """Go on with a run."""
    from equipoise import launch, tracking
    from equipoise.experiment import given

    folder = Path(asked.run)
    experiment = launch.experiment_of(folder)
    given(experiment.data, "data")
    track = experiment.track or "off"
    tracking.check(track)
    get_ready(experiment, quiet=asked.json)
    with stoppable() as interrupted:
        events = launch.resume(folder, asked.steps, interrupted)
        return follow(tracking.tracked(events, track, folder, experiment.to_json()), folder, asked.json)
