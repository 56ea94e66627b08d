"""Report what went wrong in a run or in the log of another program: when, the evidence, and what to change."""

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, add_json_flag, output_path, write_file
from equipoise.cli.output import print_result
from equipoise.errors import RunError, SettingError, unwritable

if TYPE_CHECKING:
    from equipoise.cli.commands._log_diagnosis import DiagnosedGame
    from equipoise.diagnosis.logs.log_columns import ReadOptions

ORDER = 90
EXAMPLES = (
    "equipoise diagnose runs/digits-dcgan-1",
    "equipoise diagnose train.log",
    "equipoise diagnose table.csv --columns loss_d=critic,loss_g=actor --step-from minute",
    "equipoise diagnose out.txt --pattern 'at (?P<step>\\d+): D (?P<loss_d>\\S+), G (?P<loss_g>\\S+)'",
    "equipoise diagnose train.log --plot curves.png --format markdown",
)
JSON_KEYS: dict[str, str] = {
    "log": "what was read",
    "form": "its format",
    "readings, last, unit": "number of readings, the last one, and what they count",
    "verdict": "healthy, unhealthy, diverged or unknown; of several games the worst",
    "missing": "why the verdict is unknown, and what to log",
    "findings": "a list of `symptom`, `severity`, evidence, likely cause and advice",
    "best": "step and value of the best measurement of each metric",
    "games": "the diagnosis of each game, if there are several",
    "signals, metrics, not used": "columns of a log of another program",
    "sources": "the columns that each signal comes from",
    "notes": "what was dropped, or read differently from how it is written",
    "plot": "path of the figure",
}
KEY = r"[A-Za-z]\w*"
"""What --columns sets: a signal or a metric."""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `diagnose`."""
    from equipoise.cli.commands._trained_run import add_force_flag
    from equipoise.diagnosis import readers

    parser.description = f"{parser.description}\n\nThe exit code is 0 whatever the verdict is; --json has the verdict."
    parser.add_argument(
        "log",
        metavar="RUN_OR_LOG",
        help="a run folder, the log of another program (optionally .gz), a folder that contains one, or - for standard "
        f"input. Formats: {readers.format_readers()}",
    )
    parser.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="SIGNAL=NAME,…",
        help="columns of the log that contain a signal or metric, such as loss_d=critic,loss_g=actor,fid=score; may be "
        "given several times; write \\, for a comma in a name",
    )
    parser.add_argument(
        "--pattern",
        metavar="REGEX",
        help="regular expression that matches one row of the log, with named groups: "
        "'(?P<step>\\d+) D=(?P<loss_d>\\S+)'",
    )
    parser.add_argument("--step-from", metavar="NAME", help="column that counts the rows, such as step or epoch")
    parser.add_argument(
        "--format",
        choices=("terminal", "json", "markdown"),
        help="form of the output; json is the same as --json; default: terminal",
    )
    parser.add_argument("--plot", metavar="FILE.png", help="draw the curves with the findings and the best checkpoint")
    add_force_flag(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Diagnose all readings of a run or a log in order, and print the result; 0 whatever the verdict is."""
    from equipoise.cli.commands._log_diagnosis import diagnose_path
    from equipoise.diagnosis.rendering import markdown, summary, terminal_text

    output = output_format(args)
    plot = plot_path(args)
    games = diagnose_path(args.log, read_options(args))
    diagnoses = [game.diagnosis for game in games]
    result = summary.diagnoses_to_dict(diagnoses)
    if plot:
        write_figure(plot, games)
        result["plot"] = str(plot)
    if output == "markdown":
        text = markdown.format_diagnoses_as_markdown(diagnoses)
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        text = terminal_text.format_diagnoses(diagnoses, width) + (f"\n\nfigure: {plot}" if plot else "")
    print_result(output == "json", result, text)
    return 0


def output_format(args: argparse.Namespace) -> str:
    """Return the form of the output. Raises SettingError if --json contradicts --format."""
    if args.json and args.format not in (None, "json"):
        raise SettingError(f"--json and --format {args.format} are two forms of output; remove one of them")
    return "json" if args.json else args.format or "terminal"


def plot_path(args: argparse.Namespace) -> Path | None:
    """Return the path that --plot names; None without it.

    Raises SettingError if it is no PNG or the log itself, RunError if it exists and --force is not given.
    """
    from equipoise.runs.artifacts import check_overwrite

    if args.plot is None:
        return None
    path = output_path(args.plot, (".png",))
    if path.exists() and Path(args.log).exists() and path.samefile(args.log):
        raise SettingError(f"--plot would replace the log {path}; choose another file")
    check_overwrite([path], force=args.force, flag="--plot")
    return path


def write_figure(path: Path, games: "Sequence[DiagnosedGame]") -> None:
    """Draw the games and write the figure atomically. Raises RunError if it cannot be written."""
    from equipoise.cli.commands._diagnosis_curves import game_curves
    from equipoise.report.diagnosis_figure import render_diagnosis

    content = render_diagnosis([game_curves(game) for game in games])
    try:
        write_file(path, content)
    except OSError as error:
        raise RunError(unwritable(path, error)) from error


def read_options(args: argparse.Namespace) -> "ReadOptions":
    """Return what the flags say about the log. Raises SettingError for a pair that is not NAME=COLUMN."""
    from equipoise.diagnosis.logs.log_columns import ReadOptions

    return ReadOptions(parse_columns(args.columns), args.pattern, args.step_from)


def parse_columns(words: Sequence[str]) -> dict[str, str]:
    """Parse "loss_d=NAME,loss_g=NAME", several times: names may contain "=", and commas that no SIGNAL= follows.

    Raises SettingError for a word without an equals sign, and for a signal with two columns.
    """
    result: dict[str, str] = {}
    for word in words:
        for pair in re.split(rf"(?<!\\),\s*(?={KEY}\s*=)", word):
            match = re.fullmatch(rf"\s*({KEY})\s*=(.*\S.*)", pair, re.DOTALL)
            if not match:
                raise SettingError(f"--columns takes SIGNAL=NAME, such as loss_d=critic, not '{pair}'")
            signal, name = match[1], match[2].strip().replace("\\,", ",")
            if result.setdefault(signal, name) != name:
                raise SettingError(f"--columns sets {signal} twice, to {result[signal]} and to {name}; remove one")
    return result
