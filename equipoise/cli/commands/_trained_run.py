"""Shared arguments of commands that use a trained generator: the run, the step of its weights, labels, overwriting."""

import argparse
from typing import TYPE_CHECKING

from equipoise.cli import signals
from equipoise.cli.arguments import Parser

if TYPE_CHECKING:
    from equipoise.inference.generator import Generator
    from equipoise.inference.run_weights import StepChoice

RUN_HELP = "run folder, or one of its checkpoints: RUN/checkpoints/step-N"
ALL_CLASSES = "all"
"""Value of --label for each class in turn."""


def add_run_arguments(parser: Parser, help: str = RUN_HELP) -> None:
    """Add the arguments RUN and --step."""
    parser.add_argument("run", metavar="RUN", help=help)
    parser.add_argument(
        "--step",
        metavar="best|last|chosen|N",
        help="weights of this step: best by the metric of the run, last, chosen in the studio, or a number whose "
        "checkpoint was kept; "
        "default: the final weights, which are the best if a metric was computed",
    )


def add_label_flag(parser: Parser, default: str) -> None:
    """Add the flag --label. `default`: what it does without the flag."""
    parser.add_argument(
        "--label",
        metavar="NAME|K|all",
        help=f"class of the samples, by name or number; all: each class in turn; {default}",
    )


def add_force_flag(parser: Parser) -> None:
    """Add the flag --force, without which a command replaces no file."""
    parser.add_argument("--force", action="store_true", help="replace files that exist")


def load_generator(args: argparse.Namespace) -> "Generator":
    """Load the generator that RUN and --step select. From here on, a signal removes temporary files."""
    from equipoise.inference.generator import load

    generator = load(args.run, step_of(args))
    signals.install()
    return generator


def step_of(args: argparse.Namespace) -> "StepChoice | None":
    """Return the value of --step; None without the flag. Raises SettingError for an invalid one."""
    from equipoise.inference.run_weights import parse_step

    return None if args.step is None else parse_step(args.step)


def label_of(args: argparse.Namespace) -> str | None:
    """Return the value of --label; None for each class in turn."""
    return None if args.label == ALL_CLASSES else args.label
