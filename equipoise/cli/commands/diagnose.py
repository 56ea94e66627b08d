"""Say what went wrong in a run or in a log of somebody else's, when, by what evidence, and what to change."""

import argparse
from pathlib import Path

from equipoise.cli.arguments import Parser, json_flag
from equipoise.cli.commands._answer import answer


def add_arguments(made: Parser) -> None:
    """The arguments of `diagnose`."""
    made.add_argument(
        "log",
        metavar="RUN_OR_LOG",
        help="a run folder, or a log: the PyTorch DCGAN example's, PyTorch-GAN's, PyTorch-StudioGAN's, StyleGAN's "
        "stats.jsonl or log.txt, TensorBoard event files, or CSV with a header; .gz too",
    )
    json_flag(made)


def run(args: argparse.Namespace) -> int:
    """Read a run or a log forwards, and say what was found."""
    from equipoise.diagnosis import course, readers
    from equipoise.diagnosis.training_log import compute_readings
    from equipoise.runs.run_folder import EVENTS, EXPERIMENT, Run

    path = Path(args.log)
    folder = path.parent if path.name == EVENTS else path
    notes: dict[str, str] = {}
    if (folder / EXPERIMENT).exists():
        from equipoise.pilot import replay

        run = Run(folder)
        form, unit, result = "a run", "step", course.course([*replay.readings(run), *replay.closing(run)])
    else:
        trace = readers.read_log(path)
        form, unit, result = trace.form, trace.unit, course.course(compute_readings(trace))
        used = {"signals": ", ".join(trace.signals), "metrics": ", ".join(trace.metrics)}
        notes = {name: text for name, text in (*used.items(), ("not used", ", ".join(trace.ignored))) if text}
    findings = [course.told(episode, unit) for episode in result.episodes]
    told = {"log": str(path), "form": form, "readings": result.readings, "last": result.step, "unit": unit, **notes}
    answer(
        args.json, {**told, "verdict": result.verdict, "findings": findings}, course.summary(result, form, unit, notes)
    )
    return 0
