"""Train a GAN on data."""

import argparse
import dataclasses
import inspect
import json
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise.cli.arguments import Parser, json_flag, pairs
from equipoise.cli.commands._answer import answer
from equipoise.cli.commands._following import follow
from equipoise.cli.commands._preparing import get_ready
from equipoise.core import catalog
from equipoise.errors import SettingError, UnknownNameError
from equipoise.experiment.settings import Experiment, PlugSpec, complete, read_as, read_file, require

if TYPE_CHECKING:
    from equipoise.core.events import Event

FLAGS = (
    ("model", str, "NAME"),
    ("controller", str, "NAME"),
    ("metric", str, "NAME"),
    ("loss", str, "NAME"),
    ("constraint", str, "NAME"),
    ("steps", int, "N"),
    ("images", int, "N"),
    ("seconds", float, "S"),
    ("batch_size", int, "N"),
    ("image_size", int, "N"),
    ("seed", int, "S"),
    ("precision", str, "auto|fp32|bf16|fp16"),
    ("device", str, "NAME"),
    ("threads", int, "N"),
    ("sense_every", int, "N"),
    ("sample_every", int, "N"),
    ("evaluate_every", int, "N"),
    ("save_every", int, "N"),
    ("track", str, "tensorboard|wandb|off"),
)
PLUGS = ("data", "model", "controller", "metric")
RUNS = Path("runs")


def add_arguments(made: Parser) -> None:
    """The arguments of `train`; texts are those of the experiment's fields."""
    help = {field.name: field.metadata.get("help", "") for field in dataclasses.fields(Experiment)}
    made.add_argument("data", metavar="DATA", nargs="?", help=f"{help['data']}: see equipoise list data")
    made.add_argument(
        "--data", dest="reader", metavar="NAME", help="the data set that reads DATA, a folder: paired_folder, …"
    )
    for name, kind, metavar in FLAGS:
        made.add_argument(_flag(name), type=kind, metavar=metavar, help=help[name])
    made.add_argument("--stop-at-equilibrium", action="store_true", default=None, help=help["stop_at_equilibrium"])
    made.add_argument("--no-repair", dest="repair", action="store_false", default=None, help="only watch, mend nothing")
    made.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KNOB=VALUE",
        help="where a knob stands, or, with --controller annealed, its schedule: augment_p='linear(0, 0.5)'",
    )
    made.add_argument("--untouched", nargs="+", metavar="KNOB", help=help["untouched"])
    made.add_argument(
        "--option",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the GAN: width=32; or of the data, controller or metric: data.fit=pad",
    )
    made.add_argument(
        "--policy",
        metavar="FILE",
        help="the learned policy that the controller follows, a name or a file; as --option controller.policy=FILE",
    )
    made.add_argument("--out", metavar="RUN", help="the run folder; left out: the next free name in runs/")
    made.add_argument("--from", dest="start_from", metavar="RUN", help=help["start_from"])
    made.add_argument(
        "--experiment",
        metavar="FILE",
        help="settings from a TOML file, or the experiment.json of a run; flags win over it",
    )
    made.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be run and how long it takes; makes no run, but makes the data ready",
    )
    json_flag(made)


def run(args: argparse.Namespace) -> int:
    """Train a GAN."""
    experiment = complete(experiment_of(args))
    from equipoise.experiment import launch
    from equipoise.runs import run_folder as runs
    from equipoise.runs import tracking

    if args.dry_run:
        folder = Path(args.out) if args.out else runs.free_name(RUNS, _stem(experiment))
        return _dry_run(experiment, folder, args.json)
    track = experiment.track or "off"
    tracking.check(track)
    with nullcontext(Path(args.out)) if args.out else runs.claimed(RUNS, _stem(experiment)) as folder:

        def begin(interrupted: Callable[[], bool]) -> Iterator["Event"]:
            events = launch.start(experiment, folder, interrupted)
            return tracking.tracked(events, track, folder, experiment.to_json())

        return follow(begin, folder, args.json)


def experiment_of(args: argparse.Namespace) -> Experiment:
    """The file, overlaid by the flags, its data ready; schedules of --set go to the controller that takes them."""
    file = read_file(Path(args.experiment)) if args.experiment else Experiment()
    names = [name for name, _, _ in FLAGS if name not in PLUGS]
    plugs: dict[str, Any] = {name: PlugSpec(value) for name in PLUGS if (value := getattr(args, name))}
    if args.reader:
        plugs["data"] = _read(args.data, args.reader)
    knobs, schedules = _knobs(pairs(args.set, "--set"))
    said: dict[str, Any] = {
        name: getattr(args, name) for name in (*names, "stop_at_equilibrium", "start_from", "repair")
    }
    said["untouched"] = tuple(args.untouched or ()) or None
    own, others = _options(pairs(args.option, "--option"))
    whole = file.overlaid(Experiment(**plugs, **said, knobs=knobs or None, options=own or None))
    if args.policy is not None:
        _check_follows(whole)
        others.setdefault("controller", {})["policy"] = args.policy
    for plug in PLUGS:  # the data first, which suggest the others
        if plug in others:
            optioned: dict[str, Any] = {plug: _with_options(whole, plug, others[plug])}
            whole = dataclasses.replace(whole, **optioned)
        if plug == "data" and whole.data:
            get_ready(whole, quiet=args.json)
    return _scheduled(whole, schedules) if schedules else whole


def _check_follows(experiment: Experiment) -> None:
    """Raise SettingError if the controller that was asked for follows no policy."""
    following = [name for name in catalog.names("controllers") if "policy" in _options_of(name)]
    name = experiment.controller.name if experiment.controller else None
    if name is None or "policy" not in _options_of(name):
        said = f"controller '{name}' follows none" if name else "no controller is named that follows one"
        raise SettingError(f"--policy names a policy, and {said}; add --controller {', '.join(following)}")


def _options_of(controller: str) -> Container[str]:
    return inspect.signature(catalog.load("controllers", controller)).parameters


def _read(path: str | None, reader: str) -> PlugSpec:
    """What --data makes of DATA. Raises SettingError if there is nothing to read."""
    if path is None:
        raise SettingError(
            f"--data {reader} says how a folder is read; name it: equipoise train FOLDER --data {reader}"
        )
    return read_as(path, reader)


def _scheduled(experiment: Experiment, schedules: Mapping[str, str]) -> Experiment:
    """The experiment with these schedules beside what its controller would do anyway."""
    controller = require(complete(experiment).controller, "controller")
    if controller.name.partition(":")[0] != "annealed":
        name, text = next(iter(schedules.items()))
        raise SettingError(f"{name}={text} is a schedule, which needs --controller annealed")
    merged = {**controller.options["schedules"], **schedules}
    factors = {name: text for name, text in controller.options["factors"].items() if name not in schedules}
    optional = [name for name in controller.options["optional"] if name not in schedules]  # what is asked for must act
    controller = controller.with_options(schedules=merged, factors=factors, optional=optional)
    return experiment.overlaid(Experiment(controller=controller))


def _options(require: Mapping[str, str]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Options of the GAN, and of other plugs by the word before the dot."""
    own: dict[str, str] = {}
    others: dict[str, dict[str, str]] = {}
    for name, text in require.items():
        plug, dot, option = name.rpartition(".")
        if dot and plug not in PLUGS:
            raise UnknownNameError(f"owner of the option '{option}'", plug, PLUGS)
        if plug in ("", "model"):
            own[option] = text
        else:
            others.setdefault(plug, {})[option] = text
    return own, others


def _with_options(experiment: Experiment, plug: str, options: Mapping[str, str]) -> PlugSpec:
    """A plug of the experiment, the suggested one if none is named, with these options."""
    chosen: PlugSpec | None = getattr(experiment, plug)
    if chosen is None and plug != "data":
        suggested: PlugSpec | None = getattr(complete(experiment), plug)
        chosen = suggested and PlugSpec(suggested.name)
    if chosen is None:
        raise SettingError(f"there is no {plug} that --option {plug}.{next(iter(options))} could belong to")
    return chosen.with_options(**options)


def _knobs(require: Mapping[str, str]) -> tuple[dict[str, float], dict[str, str]]:
    """Numbers, and schedules."""
    knobs, schedules = {}, {}
    for name, text in require.items():
        try:
            knobs[name] = float(text)
        except ValueError as error:
            if "(" not in text:
                raise SettingError(
                    f"{name} = '{text}': it must be a number, or a schedule like 'linear(0.1, 0)'"
                ) from error
            schedules[name] = text
    return knobs, schedules


def _stem(experiment: Experiment) -> str:
    """How run folders that nobody names begin."""
    model, data = require(experiment.model, "model"), require(experiment.data, "data")
    return f"{data.name}-{model.name}".replace(":", "-").replace("/", "-")


def _dry_run(experiment: Experiment, folder: Path, as_json: bool) -> int:
    from equipoise.cli.terminal import duration
    from equipoise.experiment.estimates import estimate
    from equipoise.runs.run_folder import refuse_occupied

    refuse_occupied(folder)
    guess = estimate(experiment)
    settings = experiment.to_json()
    text = "\n".join(f"{name:20} {json.dumps(value)}" for name, value in settings.items())
    text += (
        f"\n\nwould go to {folder}, take about {duration(guess.seconds)} and {guess.memory / 2**30:.1f} GiB of memory"
    )
    told = {"experiment": settings, "out": str(folder), "seconds": guess.seconds, "memory": guess.memory}
    answer(as_json, told, text)
    return 0


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
