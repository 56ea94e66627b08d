"""The command line: parse, call, print. `equipoise --help` imports neither torch nor anything else that is slow."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise import arguments
from equipoise.errors import EquipoiseError, RunError, SettingError, UnknownNameError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from equipoise.experiment import Experiment

DIVERGED, INTERRUPTED, USAGE = 3, 130, 2
PLUGS = ("data", "gan", "controller", "metric")


def main() -> None:
    """The entry point: exits with 0, 2 (something to mend), 3 (the run diverged), or 130 (interrupted)."""
    sys.path.append(os.getcwd())  # where a module of one's own is looked for, as `python -m equipoise` does
    sys.exit(run(sys.argv[1:]))


def run(words: list[str]) -> int:
    """One command, and its exit code: what can be mended is told in one line on standard error."""
    try:
        code = _command(words)
        sys.stdout.flush()  # here, where a reader that has gone away is no error
        return code
    except EquipoiseError as error:
        return _complain(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, RuntimeError) as error:
        if not any(words in str(error) for words in ("out of memory", "allocate memory")):
            raise
        return _complain("there is not enough memory; make --batch-size, or the GAN's width, smaller")
    except OSError as error:
        return _complain(f"{error.filename or 'the system'}: {error.strerror or error}")


def _command(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else USAGE
    if words[0] == "--version":
        from importlib.metadata import version

        print(version("equipoise"))
        return 0
    command = words[0]
    if command not in COMMANDS:
        raise arguments.UsageError(f"there is no command '{command}'{nearest(command, COMMANDS)}")
    summary, fill, act = COMMANDS[command]
    return act(arguments.parse(arguments.parser(command, summary, fill), words[1:]))


def _complain(line: str) -> int:
    print(f"equipoise: {line}", file=sys.stderr)
    return USAGE


def train(asked: argparse.Namespace) -> int:
    """Train a GAN."""
    from equipoise.experiment import complete

    experiment = complete(_experiment(asked))
    folder = Path(asked.out) if asked.out else _next_folder(experiment)
    if asked.dry_run:
        return _dry_run(experiment, folder, asked.json)
    from equipoise import launch

    with _stoppable() as interrupted:
        return _follow(launch.start(experiment, folder, interrupted), folder, asked.json)


def resume(asked: argparse.Namespace) -> int:
    """Go on with a run."""
    from equipoise import launch

    folder = Path(asked.run)
    with _stoppable() as interrupted:
        return _follow(launch.resume(folder, asked.steps, interrupted), folder, asked.json)


def sample(asked: argparse.Namespace) -> int:
    """Write samples of a run's generator."""
    from equipoise.generator import load, write

    made = load(asked.run).sample(asked.count, label=asked.label, truncation=asked.truncation, seed=asked.seed)
    path = write(made, Path(asked.out))
    _answer(asked.json, {"count": len(made), "path": str(path)}, f"{len(made)} samples in {path}")
    return 0


def report(asked: argparse.Namespace) -> int:
    """Make the figures and the page of a run."""
    from equipoise.report.page import make
    from equipoise.runs import Run

    page = make(Run(Path(asked.run)))
    _answer(asked.json, {"report": str(page)}, f"report: {page}")
    return 0


def listing(asked: argparse.Namespace) -> int:
    """What there is to choose from."""
    from equipoise import catalog

    kinds: dict[str, catalog.Kind] = {"gans": "zoo", "data": "data", "controllers": "controllers", "metrics": "metrics"}
    if asked.kind is not None and asked.kind not in kinds:
        raise UnknownNameError("list", asked.kind, kinds)
    found = {
        word: {
            name: {"summary": catalog.summary(kind, name), "presets": sorted(catalog.presets(kind, name))}
            for name in catalog.names(kind)
        }
        for word, kind in kinds.items()
        if asked.kind in (None, word)
    }
    lines = []
    for word, plugs in found.items():
        lines.append(f"{word}:")
        for name, about in plugs.items():
            lines.append(f"  {name:14} {about['summary']}")
            lines.extend(f"  {'':14}   {name}:{preset}" for preset in about["presets"])
    _answer(asked.json, found, "\n".join(lines))
    return 0


def runs(asked: argparse.Namespace) -> int:
    """The runs in a folder and how they stand."""
    from equipoise.runs import find, outline

    found = [outline(each) for each in find(Path(asked.folder))]
    lines = [
        f"{row['name']:28} {row['gan'] or '?':18} {row['data'] or '?':12} {row['step']:>8} of {row['steps'] or '?':<8} "
        f"{row['state']}"
        for row in found
    ]
    _answer(asked.json, found, "\n".join(lines) or f"there are no runs in {asked.folder}")
    return 0


COMMANDS: Mapping[str, tuple[str, Callable[[arguments.Parser], None], Callable[[argparse.Namespace], int]]] = {
    "train": ("Train a GAN on data.", arguments.train, train),
    "resume": ("Go on with a run, from its last checkpoint.", arguments.resume, resume),
    "sample": ("Write samples of a run's generator.", arguments.sample, sample),
    "report": ("Make the figures and the page of a run.", arguments.report, report),
    "list": ("Say what there is: GANs, data, controllers, metrics.", arguments.listing, listing),
    "runs": ("Say how the runs in a folder stand.", arguments.runs, runs),
}


def _overview() -> str:
    rows = "\n".join(f"  {name:8} {summary}" for name, (summary, _, _) in COMMANDS.items())
    return (
        "equipoise: adversarial networks that keep their balance\n\n"
        f"usage: equipoise COMMAND …\n\n{rows}\n\n"
        "Start with: equipoise train digits        More: equipoise COMMAND --help"
    )


def _experiment(asked: argparse.Namespace) -> "Experiment":
    """The file, overlaid by the flags. Schedules given by --set go to the controller that takes them."""
    from equipoise.experiment import Choice, Experiment, read_toml

    file = read_toml(Path(asked.experiment)) if asked.experiment else Experiment()
    names = [name for name, _, _ in arguments.FLAGS if name not in PLUGS]
    plugs: dict[str, Any] = {name: Choice(value) for name in PLUGS if (value := getattr(asked, name))}
    knobs, schedules = _knobs(arguments.pairs(asked.set, "--set"))
    said: dict[str, Any] = {name: getattr(asked, name) for name in (*names, "stop_at_equilibrium", "start_from")}
    options = arguments.pairs(asked.option, "--option")
    whole = file.overlaid(Experiment(**plugs, **said, knobs=knobs or None, options=options or None))
    return _scheduled(whole, schedules) if schedules else whole


def _scheduled(experiment: "Experiment", schedules: Mapping[str, str]) -> "Experiment":
    """The experiment with these schedules beside what its controller would do anyway."""
    from equipoise.experiment import Experiment, complete, given

    controller = given(complete(experiment).controller, "controller")
    if controller.name.partition(":")[0] != "annealed":
        name, text = next(iter(schedules.items()))
        raise SettingError(f"{name}={text} is a schedule, which needs --controller annealed")
    merged = {**controller.options["schedules"], **schedules}
    factors = {name: text for name, text in controller.options["factors"].items() if name not in schedules}
    return experiment.overlaid(Experiment(controller=controller.with_options(schedules=merged, factors=factors)))


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


def _next_folder(experiment: "Experiment") -> Path:
    from equipoise.experiment import given
    from equipoise.runs import free_name

    gan, data = given(experiment.gan, "gan"), given(experiment.data, "data")
    return free_name(Path("runs"), f"{data.name}-{gan.name}".replace(":", "-").replace("/", "-"))


def _dry_run(experiment: "Experiment", folder: Path, as_json: bool) -> int:
    from equipoise.launch import estimate
    from equipoise.runs import refuse_occupied
    from equipoise.terminal import duration

    refuse_occupied(folder)
    guess = estimate(experiment)
    settings = experiment.to_json()
    text = "\n".join(f"{name:20} {json.dumps(value)}" for name, value in settings.items())
    text += (
        f"\n\nwould go to {folder}, take about {duration(guess.seconds)} and {guess.memory / 2**30:.1f} GiB of memory"
    )
    answer = {"experiment": settings, "out": str(folder), "seconds": guess.seconds, "memory": guess.memory}
    _answer(as_json, answer, text)
    return 0


def _follow(events: "Iterator[Any]", folder: Path, as_json: bool) -> int:
    """Print a run as it goes; its report, its last line, its exit code."""
    from equipoise.terminal import show

    finished = show(events, quiet=as_json)
    page = None
    if finished.reason == "interrupted":
        last = f"stopped after step {finished.step}, everything is saved; go on with: equipoise resume {folder}"
    else:
        from equipoise.report.page import make
        from equipoise.runs import Run, unwritable

        try:
            page = make(Run(folder))
        except OSError as error:
            raise RunError(unwritable(folder, error)) from error
        last = f"report: {page}"
    answer = {"run": str(folder), "report": str(page) if page else None} | {
        name: getattr(finished, name) for name in ("step", "images", "seconds", "reason", "verdict")
    }
    if finished.verdict == "diverged":
        last = (
            f"the run diverged at step {finished.step}: a loss or gradient was not finite; lower lr_d and lr_g\n{last}"
        )
    _answer(as_json, answer, last)
    return {"interrupted": INTERRUPTED, "diverged": DIVERGED}.get(finished.reason, 0)


@contextmanager
def _stoppable() -> "Iterator[Callable[[], bool]]":
    """The first Ctrl-C (or SIGTERM) asks the loop to save and stop; the second stops at once."""
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            sys.exit(INTERRUPTED)
        asked = True
        print("\nsaving after this step; once more to stop at once", file=sys.stderr)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _answer(as_json: bool, answer: Any, text: str) -> None:
    print(json.dumps(answer) if as_json else text)
