"""Resume a run from its last checkpoint."""

import argparse
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser
from equipoise.cli.commands._follow_run import FollowOptions, add_follow_flags, follow_run, prepare_data
from equipoise.cli.commands._ranks import join_run
from equipoise.cli.output import Verbosity, verbosity_of
from equipoise.errors import SettingError
from equipoise.experiment.processes import check_environment, is_follower
from equipoise.experiment.settings import require, setting_specs

if TYPE_CHECKING:
    from equipoise.core.events import Event
    from equipoise.experiment.settings import Experiment

ORDER = 20
EXAMPLES = (
    "equipoise resume runs/digits-dcgan-1",
    "equipoise resume runs/digits-dcgan-1 --steps 2400",
    "equipoise resume runs/digits-dcgan-1 --devices 1 --reseed",
)
JSON_KEYS: dict[str, str] = {
    "run, report, film, step, images, seconds, reason, verdict, missing, weights_step, best": "as of `train`",
}
FIXED = "fixed_"
"""Prefix of the destinations of flags that a resumed run does not take."""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `resume`."""
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--steps", type=int, metavar="N", help="new total number of steps; default: the run's")
    parser.add_argument(
        "--data", metavar="PATH", help="new location of the data, if it was moved; its content must be the same"
    )
    parser.add_argument(
        "--devices", type=int, metavar="N", help="number of processes, with --reseed; default: the run's"
    )
    parser.add_argument(
        "--reseed",
        action="store_true",
        help="continue with new random numbers; required for another number of processes; the result then differs from "
        "that of an uninterrupted run",
    )
    add_follow_flags(parser)
    for name, spec in setting_specs().items():
        if spec.flags and name not in ("steps", "devices"):  # for a message that names the way to change them
            parser.add_argument(*spec.flags, dest=f"{FIXED}{name}", nargs="*", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Resume the run, show its progress and write its report."""
    if is_follower():
        return join_run("resume")
    check_environment()
    from equipoise.experiment import launch
    from equipoise.experiment.completion import check_data_location, with_moved_data
    from equipoise.experiment.files import load_run_experiment
    from equipoise.runs import tracking
    from equipoise.runs.run import Run

    folder = Path(args.run)
    experiment = load_run_experiment(folder)
    require(experiment.data, "data")
    _check_unchanged(args, experiment)
    launch.find_checkpoints(Run(folder))
    if args.data is not None:
        experiment = with_moved_data(experiment, args.data)
    check_data_location(experiment, folder)
    track = experiment.track or "off"
    tracking.check_ready(track)
    prepare_data(experiment, quiet=verbosity_of(args) is Verbosity.QUIET)

    def start(interrupted: Callable[[], bool]) -> Iterator["Event"]:
        events = launch.resume(
            folder, args.steps, interrupted, data=args.data, devices=args.devices, reseed=args.reseed
        )
        return tracking.track_events(events, track, folder, experiment.to_json())

    return follow_run(start, folder, experiment, FollowOptions.of(args))


def _check_unchanged(args: argparse.Namespace, experiment: "Experiment") -> None:
    """Raise SettingError for a setting of `train`, which a resumed run keeps; names the command for a new run."""
    specs = setting_specs()
    changed = {name: getattr(args, f"{FIXED}{name}") for name in specs if hasattr(args, f"{FIXED}{name}")}
    words = [word for name, values in changed.items() if values is not None for word in (specs[name].flags[0], *values)]
    if not words:
        return
    data = require(experiment.data, "data")
    option, path = next(iter(data.options.items()), ("", None))
    source = path if option in ("folder", "file") else data.name
    command = shlex.join(["equipoise", "train", str(source), "--from", str(args.run), *words])
    raise SettingError(f"a resumed run keeps its settings, {words[0]} too; start a new run from its weights: {command}")
