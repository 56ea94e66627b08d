"""Train a GAN on data."""

import argparse
import dataclasses
import inspect
import json
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise import catalog
from equipoise.arguments import Parser, json_flag, pairs
from equipoise.commands._answer import answer
from equipoise.commands._following import follow
from equipoise.commands._preparing import get_ready
from equipoise.errors import SettingError, UnknownNameError
from equipoise.experiment import Choice, Experiment, complete, given, read_as, read_file

if TYPE_CHECKING:
    from equipoise.events import Event

FLAGS = (
    ("gan", str, "NAME"),
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
PLUGS = ("data", "gan", "controller", "metric")
RUNS = Path("runs")


def fill(made: Parser) -> None:
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


def act(asked: argparse.Namespace) -> int:
    """Train a GAN."""
    experiment = complete(experiment_of(asked))
    from equipoise import launch, runs, tracking

    if asked.dry_run:
        folder = Path(asked.out) if asked.out else runs.free_name(RUNS, _stem(experiment))
        return _dry_run(experiment, folder, asked.json)
    track = experiment.track or "off"
    tracking.check(track)
    with nullcontext(Path(asked.out)) if asked.out else runs.claimed(RUNS, _stem(experiment)) as folder:

        def begin(interrupted: Callable[[], bool]) -> Iterator["Event"]:
            events = launch.start(experiment, folder, interrupted)
            return tracking.tracked(events, track, folder, experiment.to_json())

        return follow(begin, folder, asked.json)


def experiment_of(asked: argparse.Namespace) -> Experiment:
    """The file, overlaid by the flags, its data ready; schedules of --set go to the controller that takes them."""
    file = read_file(Path(asked.experiment)) if asked.experiment else Experiment()
    names = [name for name, _, _ in FLAGS if name not in PLUGS]
    plugs: dict[str, Any] = {name: Choice(value) for name in PLUGS if (value := getattr(asked, name))}
    if asked.reader:
        plugs["data"] = _read(asked.data, asked.reader)
    knobs, schedules = _knobs(pairs(asked.set, "--set"))
    said: dict[str, Any] = {
        name: getattr(asked, name) for name in (*names, "stop_at_equilibrium", "start_from", "repair")
    }
    said["untouched"] = tuple(asked.untouched or ()) or None
    own, others = _options(pairs(asked.option, "--option"))
    whole = file.overlaid(Experiment(**plugs, **said, knobs=knobs or None, options=own or None))
    if asked.policy is not None:
        _check_follows(whole)
        others.setdefault("controller", {})["policy"] = asked.policy
    for plug in PLUGS:  # the data first, which suggest the others
        if plug in others:
            optioned: dict[str, Any] = {plug: _with_options(whole, plug, others[plug])}
            whole = dataclasses.replace(whole, **optioned)
        if plug == "data" and whole.data:
            get_ready(whole, quiet=asked.json)
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


def _read(path: str | None, reader: str) -> Choice:
    """What --data makes of DATA. Raises SettingError if there is nothing to read."""
    if path is None:
        raise SettingError(
            f"--data {reader} says how a folder is read; name it: equipoise train FOLDER --data {reader}"
        )
    return read_as(path, reader)


def _scheduled(experiment: Experiment, schedules: Mapping[str, str]) -> Experiment:
    """The experiment with these schedules beside what its controller would do anyway."""
    controller = given(complete(experiment).controller, "controller")
    if controller.name.partition(":")[0] != "annealed":
        name, text = next(iter(schedules.items()))
        raise SettingError(f"{name}={text} is a schedule, which needs --controller annealed")
    merged = {**controller.options["schedules"], **schedules}
    factors = {name: text for name, text in controller.options["factors"].items() if name not in schedules}
    optional = [name for name in controller.options["optional"] if name not in schedules]  # what is asked for must act
    controller = controller.with_options(schedules=merged, factors=factors, optional=optional)
    return experiment.overlaid(Experiment(controller=controller))


def _options(given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Options of the GAN, and of other plugs by the word before the dot."""
    own: dict[str, str] = {}
    others: dict[str, dict[str, str]] = {}
    for name, text in given.items():
        plug, dot, option = name.rpartition(".")
        if dot and plug not in PLUGS:
            raise UnknownNameError(f"owner of the option '{option}'", plug, PLUGS)
        if plug in ("", "gan"):
            own[option] = text
        else:
            others.setdefault(plug, {})[option] = text
    return own, others


def _with_options(experiment: Experiment, plug: str, options: Mapping[str, str]) -> Choice:
    """A plug of the experiment, the suggested one if none is named, with these options."""
    chosen: Choice | None = getattr(experiment, plug)
    if chosen is None and plug != "data":
        suggested: Choice | None = getattr(complete(experiment), plug)
        chosen = suggested and Choice(suggested.name)
    if chosen is None:
        raise SettingError(f"there is no {plug} that --option {plug}.{next(iter(options))} could belong to")
    return chosen.with_options(**options)


def _knobs(given: Mapping[str, str]) -> tuple[dict[str, float], dict[str, str]]:
    """Numbers, and schedules."""
    knobs, schedules = {}, {}
    for name, text in given.items():
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
    gan, data = given(experiment.gan, "gan"), given(experiment.data, "data")
    return f"{data.name}-{gan.name}".replace(":", "-").replace("/", "-")


def _dry_run(experiment: Experiment, folder: Path, as_json: bool) -> int:
    from equipoise.estimating import estimate
    from equipoise.runs import refuse_occupied
    from equipoise.terminal import duration

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
