"""The command line's arguments: what can be typed, and one line for what cannot.

argparse alone: see docs/decisions/0001-argparse.md. Nothing here imports torch.
"""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from typing import NoReturn

from equipoise.errors import EquipoiseError, SettingError, nearest
from equipoise.experiment import Experiment

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
    ("sample_every", int, "N"),
    ("evaluate_every", int, "N"),
    ("save_every", int, "N"),
)


class UsageError(EquipoiseError):
    """The command line cannot be understood."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises one line for people instead of printing usage and leaving."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse, which words it well but for unknown flags."""
        raise UsageError(f"{message}; see {self.prog} --help")


def parser(command: str, summary: str, fill: Callable[[Parser], None]) -> Parser:
    """The parser of one command."""
    made = Parser(prog=f"equipoise {command}", description=summary, allow_abbrev=False)
    fill(made)
    return made


def parse(made: Parser, words: Sequence[str]) -> argparse.Namespace:
    """Read the words after the command. Raises UsageError, with the nearest flag for one that does not exist."""
    found, unknown = made.parse_known_args(words)
    if unknown:
        flags = [flag for action in made._actions for flag in action.option_strings if flag.startswith("--")]
        wrong = next((word for word in unknown if word.startswith("-")), unknown[0])
        offer = nearest(wrong.partition("=")[0], flags) if wrong.startswith("-") else ""
        raise UsageError(f"{made.prog} does not take '{wrong}'{offer}")
    return found


def train(made: Parser) -> None:
    """The arguments of `train`; texts are those of the experiment's fields."""
    help = {field.name: field.metadata.get("help", "") for field in dataclasses.fields(Experiment)}
    made.add_argument("data", metavar="DATA", nargs="?", help=f"{help['data']}: see equipoise list data")
    for name, kind, metavar in FLAGS:
        made.add_argument(_flag(name), type=kind, metavar=metavar, help=help[name])
    made.add_argument("--stop-at-equilibrium", action="store_true", default=None, help=help["stop_at_equilibrium"])
    made.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KNOB=VALUE",
        help="where a knob stands, or, with --controller annealed, its schedule: augment_p='linear(0, 0.5)'",
    )
    made.add_argument(
        "--option", action="extend", nargs="+", default=[], metavar="NAME=VALUE", help="an option of the GAN: width=32"
    )
    made.add_argument("--out", metavar="RUN", help="the run folder; left out: the next free name in runs/")
    made.add_argument("--from", dest="start_from", metavar="RUN", help=help["start_from"])
    made.add_argument("--experiment", metavar="FILE.toml", help="settings from a file; flags win over it")
    made.add_argument(
        "--dry-run", action="store_true", help="say what would be run and how long it takes; write nothing"
    )
    json_flag(made)


def resume(made: Parser) -> None:
    """The arguments of `resume`."""
    made.add_argument("run", metavar="RUN", help="the run folder")
    made.add_argument("--steps", type=int, metavar="N", help="a new length of the whole run")
    json_flag(made)


def sample(made: Parser) -> None:
    """The arguments of `sample`."""
    made.add_argument("run", metavar="RUN", help="the run folder")
    made.add_argument("--count", type=int, default=64, metavar="N", help="how many samples")
    made.add_argument(
        "--out", required=True, metavar="PATH", help="grid.png, numbers.npy, points.csv, or a folder of single images"
    )
    made.add_argument("--truncation", type=float, metavar="T", help="latents within [-T, T]: truer, less diverse")
    made.add_argument("--label", type=int, metavar="K", help="the class of all samples; left out: each in turn")
    made.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same samples")
    json_flag(made)


def report(made: Parser) -> None:
    """The arguments of `report`."""
    made.add_argument("run", metavar="RUN", help="the run folder")
    json_flag(made)


def listing(made: Parser) -> None:
    """The arguments of `list`."""
    made.add_argument("kind", nargs="?", metavar="gans|data|controllers|metrics", help="left out: all of them")
    json_flag(made)


def runs(made: Parser) -> None:
    """The arguments of `runs`."""
    made.add_argument("folder", nargs="?", default="runs", metavar="DIR", help="where run folders lie")
    json_flag(made)


def json_flag(made: Parser) -> None:
    """Answers that a program can read."""
    made.add_argument("--json", action="store_true", help="answer in JSON")


def pairs(words: Sequence[str], flag: str) -> dict[str, str]:
    """`name=value` words as a mapping. Raises SettingError for a word without an equals sign."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise SettingError(f"{flag} takes name=value, not '{word}'")
        found[name.strip()] = value.strip()
    return found


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
