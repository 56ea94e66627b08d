"""Train a model on data."""

import argparse
import dataclasses
import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, get_args, get_origin, get_type_hints

from equipoise.cli.arguments import Parser, number_or_text, output_folder, parse_pairs
from equipoise.cli.commands._dry_run import show_dry_run
from equipoise.cli.commands._follow_run import FollowOptions, add_follow_flags, follow_run, prepare_data
from equipoise.cli.commands._ranks import join_run
from equipoise.cli.output import Verbosity, verbosity_of
from equipoise.core import catalog
from equipoise.errors import SettingError, UnknownNameError
from equipoise.experiment.completion import SAMPLES_PER_RUN, complete
from equipoise.experiment.data_source import read_path_with
from equipoise.experiment.declaration import SettingSpec
from equipoise.experiment.files import load_experiment
from equipoise.experiment.processes import check_environment, is_follower, with_devices
from equipoise.experiment.settings import Experiment, PlugSpec, require, setting_specs

if TYPE_CHECKING:
    from equipoise.core.events import Event

ORDER = 10
EXAMPLES = (
    "equipoise train digits",
    "equipoise train photographs --image-size 64 --minutes 30",
    "equipoise train digits --model wgan_gp --controller annealed --set lr_d=4e-4",
    "equipoise train photographs --dry-run",
)
JSON_KEYS: dict[str, str] = {
    "run": "the run folder",
    "report": "path of report.html, or null",
    "film": "path of the film, or null",
    "step, images, seconds": "finished steps, real samples seen, seconds of training",
    "reason": "why it ended: steps, images, seconds, equilibrium, interrupted, diverged",
    "verdict, missing": "healthy, unhealthy, diverged, or unknown and the evidence that is missing",
    "weights_step": "step of the final weights, or null",
    "best": "`step`, `metric` and `value` of the best evaluation, or null",
    "experiment, out, seconds, report_seconds, memory, parameters, data, command": (
        "instead of all these with --dry-run: the settings, the run folder, the estimated seconds of "
        "training and of the report, the memory in bytes, the number of weights per network, `shape`, "
        "`train`, `held_out`, `classes` and `notes` of the data, and the command that starts the run"
    ),
}
PLUGS = ("data", "model", "controller", "metric")
PAIRS = ("knobs", "options")
"""Settings whose flags take NAME=VALUE pairs."""
RUNS = Path("runs")


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `train`: one flag per setting of an experiment, and those of the command itself."""
    specs, types = setting_specs(), get_type_hints(Experiment)
    parser.add_argument("data", metavar="DATA", nargs="?", help=f"{specs['data'].help}; see equipoise list data")
    parser.add_argument(
        "--data", dest="reader", metavar="NAME", help="data set that reads the folder DATA, such as paired_folder"
    )
    for name, spec in specs.items():
        if spec.flags:
            _add_flag(parser, name, spec, types[name])
    parser.add_argument(
        "--policy",
        metavar="FILE",
        help="learned policy of the controller, a name or a file; same as --option controller.policy=FILE",
    )
    parser.add_argument("--out", metavar="RUN", help="run folder; default: the next free name in runs/")
    parser.add_argument(
        "--experiment",
        metavar="FILE",
        help="settings from a TOML file, or from the experiment.json of a run; flags take precedence",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what the run would do, its time and memory, without starting it; prepares the data",
    )
    add_follow_flags(parser)


def _add_flag(parser: Parser, name: str, spec: SettingSpec, hint: object) -> None:
    """Add the flag of one setting; its type decides how it is parsed."""
    help = (spec.flag_help or spec.help).replace("%", "%%")  # argparse formats it
    metavar = spec.metavar or "|".join(spec.choices) or None
    types = {get_origin(part) or part for part in get_args(hint)}
    if bool in types:
        action = "store_false" if spec.flags[0].startswith("--no-") else "store_true"
        parser.add_argument(*spec.flags, dest=name, action=action, default=None, help=help)
    elif name in PAIRS:
        parser.add_argument(*spec.flags, dest=name, action="extend", nargs="+", default=[], metavar=metavar, help=help)
    elif tuple in types:
        parser.add_argument(*spec.flags, dest=name, nargs="+", metavar=metavar, help=help)
    else:
        number = number_or_text if {int, str} <= types else next((kind for kind in (int, float) if kind in types), str)
        parser.add_argument(*spec.flags, dest=name, type=number, metavar=metavar, help=help)


def run(args: argparse.Namespace) -> int:
    """Train a model."""
    if is_follower():
        return join_run("train")
    check_environment()
    notes: list[str] = []
    begin_of_budget = time.monotonic()
    experiment = complete(with_devices(experiment_of(args, notes)))
    out = output_folder(args.out)
    from equipoise.experiment import launch
    from equipoise.report.steps import estimate_seconds
    from equipoise.runs import tracking
    from equipoise.runs.folders import claim_folder, next_free_folder

    if args.dry_run:
        folder = out or next_free_folder(RUNS, _folder_stem(experiment))
        return show_dry_run(experiment, folder, notes, args.words, args.json)
    track = experiment.track or "off"
    tracking.check_ready(track)
    report_seconds = estimate_seconds(SAMPLES_PER_RUN, film=not args.no_film)
    experiment = launch.settle(experiment, begin=begin_of_budget, reserved=report_seconds)
    with nullcontext(out) if out else claim_folder(RUNS, _folder_stem(experiment)) as folder:

        def begin(interrupted: Callable[[], bool]) -> Iterator["Event"]:
            events = launch.start_settled(experiment, folder, interrupted)
            return tracking.track_events(events, track, folder, experiment.to_json())

        return follow_run(begin, folder, experiment, FollowOptions.of(args))


def experiment_of(args: argparse.Namespace, notes: list[str] | None = None) -> Experiment:
    """Build the experiment: the file, overridden by the flags. Prepares the data, and adds notes on it to `notes`."""
    file = load_experiment(Path(args.experiment)) if args.experiment else Experiment()
    knobs = {name: _knob_value(text) for name, text in parse_pairs(args.knobs, "--set").items()}
    model_options, plug_options = _split_options(parse_pairs(args.options, "--option"))
    experiment = file.merge(_experiment_of_flags(args, knobs, model_options))
    if args.policy is not None:
        _check_takes_policy(experiment)
        plug_options.setdefault("controller", {})["policy"] = args.policy
    for key in PLUGS:  # data first, because it suggests the others
        if key in plug_options:
            experiment = _with_plug(experiment, key, _with_options(experiment, key, plug_options[key]))
        if key == "data" and experiment.data:
            quiet = verbosity_of(args) is Verbosity.QUIET
            data_notes = prepare_data(
                experiment, quiet=quiet, with_notes=not args.dry_run
            )  # a dry run has its own page
            if notes is not None:
                notes.extend(data_notes)
    return experiment


def _experiment_of_flags(
    args: argparse.Namespace, knobs: Mapping[str, float | str], options: Mapping[str, str]
) -> Experiment:
    names = [name for name, spec in setting_specs().items() if spec.flags and name not in (*PLUGS, *PAIRS, "freeze")]
    experiment = Experiment(
        **{name: getattr(args, name) for name in names},
        freeze=tuple(args.freeze or ()) or None,
        knobs=knobs or None,
        options=options or None,
    )
    for key in PLUGS:
        if name := getattr(args, key):
            experiment = _with_plug(experiment, key, PlugSpec(name))
    return _with_plug(experiment, "data", _read_data(args.data, args.reader)) if args.reader else experiment


def _with_plug(experiment: Experiment, key: str, plug: PlugSpec) -> Experiment:
    match key:
        case "data":
            return dataclasses.replace(experiment, data=plug)
        case "model":
            return dataclasses.replace(experiment, model=plug)
        case "controller":
            return dataclasses.replace(experiment, controller=plug)
        case _:
            return dataclasses.replace(experiment, metric=plug)


def _check_takes_policy(experiment: Experiment) -> None:
    """Raise SettingError if the controller of the experiment does not follow a policy."""
    names = [name for name in catalog.names("controllers") if _takes_policy(name)]
    name = experiment.controller.name if experiment.controller else None
    if name is None or not _takes_policy(name):
        problem = f"the controller '{name}' does not follow a policy" if name else "no controller is set"
        raise SettingError(f"--policy has no effect: {problem}; add --controller with one of: {', '.join(names)}")


def _takes_policy(controller: str) -> bool:
    return "policy" in inspect.signature(catalog.load("controllers", controller)).parameters


def _read_data(path: str | None, reader: str) -> PlugSpec:
    """Return the data set of --data for DATA. Raises SettingError if DATA is missing."""
    if path is None:
        raise SettingError(f"--data {reader} needs a folder to read: equipoise train FOLDER --data {reader}")
    return read_path_with(reader, path)


def _split_options(options: Mapping[str, str]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Split options into those of the model and, by the word before the dot, those of the other plugs."""
    model_options: dict[str, str] = {}
    plug_options: dict[str, dict[str, str]] = {}
    for name, text in options.items():
        plug, dot, option = name.rpartition(".")
        plug = "model" if plug == "gan" else plug
        if dot and plug not in PLUGS:
            raise UnknownNameError("plug", plug, PLUGS, f"for the option '{option}'")
        if plug in ("", "model"):
            model_options[option] = text
        else:
            plug_options.setdefault(plug, {})[option] = text
    return model_options, plug_options


def _with_options(experiment: Experiment, key: str, options: Mapping[str, str]) -> PlugSpec:
    """Return a plug of the experiment, or the one suggested by the data, with these options."""
    plug: PlugSpec | None = getattr(experiment, key)
    if plug is None and key != "data":
        suggested: PlugSpec | None = getattr(complete(experiment), key)
        plug = suggested and PlugSpec(suggested.name)
    if plug is None:
        raise SettingError(f"--option {key}.{next(iter(options))} needs a {key}; set one with --{key}")
    return plug.with_options(**options)


def _knob_value(text: str) -> float | str:
    """Return a value of --set as a number, or the text of a schedule."""
    try:
        return float(text)
    except ValueError:
        return text


def _folder_stem(experiment: Experiment) -> str:
    """Return the first part of the name of a run folder: digits-dcgan."""
    plugs = (require(experiment.data, "data"), require(experiment.model, "model"))
    return "-".join(Path(plug.name).name.replace(".py", "").replace(":", "-") for plug in plugs)
