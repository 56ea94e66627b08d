"""Report what went wrong in a run or in the log of another program: when, the evidence, and what to change."""

import argparse
from pathlib import Path

from equipoise.cli.arguments import Parser, add_json_flag
from equipoise.cli.output import print_result

ORDER = 90


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `diagnose`."""
    from equipoise.diagnosis import readers

    parser.add_argument(
        "log",
        metavar="RUN_OR_LOG",
        help=f"a run folder, or the log of another program, optionally .gz. Formats: {readers.format_names()}",
    )
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Diagnose all readings of a run or a log in order, and print the result."""
    from equipoise.diagnosis import diagnose, readers
    from equipoise.diagnosis.training_log import compute_readings
    from equipoise.runs.observations import read_signals
    from equipoise.runs.run import EVENTS_FILE, EXPERIMENT_FILE, Run

    path = Path(args.log)
    folder = path.parent if path.name == EVENTS_FILE else path
    notes: dict[str, str] = {}
    if (folder / EXPERIMENT_FILE).exists():
        run = Run(folder)
        log_format, unit, readings = "a run", "step", list(read_signals(run))
    else:
        log = readers.read_log(path)
        log_format, unit, readings = log.log_format, log.unit, list(compute_readings(log))
        columns = {"signals": log.signals, "metrics": log.metrics, "not used": log.ignored}
        notes = {name: ", ".join(names) for name, names in columns.items() if names}
    result = diagnose.diagnose_run(readings)
    episodes = [diagnose.episode_to_dict(episode, unit) for episode in result.episodes]
    fields = {"log": str(path), "form": log_format, "readings": result.readings, "last": result.step, "unit": unit}
    title = "run" if log_format == "a run" else log_format
    text = diagnose.format_diagnosis(result, title, unit, notes)
    print_result(args.json, {**fields, **notes, "verdict": result.verdict, "findings": episodes}, text)
    return 0
