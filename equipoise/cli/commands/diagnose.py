"""Report what went wrong in a run or in the log of another program: when, the evidence, and what to change."""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from equipoise.cli.arguments import Parser, add_json_flag
from equipoise.cli.output import print_result

ORDER = 90
EXAMPLES = (
    "equipoise diagnose runs/digits-dcgan-1",
    "equipoise diagnose train.log",
    "equipoise diagnose log.csv.gz --json",
)
JSON_KEYS: dict[str, str] = {
    "log": "what was read",
    "form": "its format",
    "readings, last, unit": "number of readings, the last one, and what they count",
    "verdict": "healthy, unhealthy, diverged or unknown",
    "findings": "a list of `symptom`, `severity`, evidence and advice",
    "signals, metrics, not used": "columns of a log of another program",
}


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
    from equipoise.diagnosis import diagnose, readers, rendering
    from equipoise.diagnosis.training_log import compute_readings
    from equipoise.runs.observations import read_signals
    from equipoise.runs.run import EVENTS_FILE, EXPERIMENT_FILE, Run

    path = Path(args.log)
    folder = path.parent if path.name == EVENTS_FILE else path
    notes: dict[str, str] = {}
    reals: Mapping[str, float] = {}
    if (folder / EXPERIMENT_FILE).exists():
        run = Run(folder)
        log_format, unit = "a run", "step"
        readings, was_sorted = diagnose.sort_readings(read_signals(run))
        reals = next((line["reals"] for line in run.lines("started") if line.get("reals")), {})
        notes = {"order": "the readings were not in the order of steps; sorted"} if was_sorted else {}
    else:
        log = readers.read_log(path)
        log_format, unit, readings = log.log_format, log.unit, list(compute_readings(log))
        columns = {"signals": log.signals, "metrics": log.metrics, "not used": log.ignored}
        notes = {name: ", ".join(names) for name, names in columns.items() if names}
        notes |= {"order": log.order_note} if log.order_note else {}
    result = diagnose.diagnose_run(readings, reals)
    if log_format == "a run" and not has_content(folder / EVENTS_FILE):
        result = dataclasses.replace(result, missing=f"{EVENTS_FILE} is missing or empty")
    episodes = [rendering.episode_to_dict(episode, unit) for episode in result.episodes]
    fields = {"log": str(path), "form": log_format, "readings": result.readings, "last": result.step, "unit": unit}
    title = "run" if log_format == "a run" else log_format
    verdict = {"verdict": result.verdict, **({"missing": result.missing} if result.missing else {})}
    text = rendering.format_diagnosis(result, title, unit, notes)
    print_result(args.json, {**fields, **notes, **verdict, "findings": episodes}, text)
    return 0


def has_content(path: Path) -> bool:
    """Return whether a file exists and is not empty."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
