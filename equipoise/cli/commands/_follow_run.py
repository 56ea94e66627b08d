"""Shared functions of commands that train: prepare data, show progress, stop a run safely, write its report."""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, add_output_flags
from equipoise.cli.output import INTERRUPTED, UNHEALTHY, Verbosity, print_error, print_result, verbosity_of
from equipoise.cli.signals import StopRequest, interruptible
from equipoise.core.observations import SERIOUS
from equipoise.errors import RunError, report_command, resume_command, shell_path, unwritable

if TYPE_CHECKING:
    from equipoise.cli.terminal import RunDisplay
    from equipoise.core.events import Event, Finished
    from equipoise.experiment.settings import Experiment
    from equipoise.inference.run_weights import WeightsSummary
    from equipoise.report.steps import ReportFiles


def prepare_data(experiment: "Experiment", *, quiet: bool, with_notes: bool = True) -> list[str]:
    """Prepare the data of an experiment, if necessary, with a progress bar and notes on the data; return the notes.

    `with_notes`: whether the notes are printed.
    """
    from equipoise.cli.terminal import show_preparation
    from equipoise.experiment import completion

    return show_preparation(completion.prepare_data(experiment), quiet=quiet, with_notes=with_notes)


@dataclass(frozen=True)
class FollowOptions:
    """Options of commands that train. `film`: whether the report has a film."""

    verbosity: Verbosity = Verbosity.NORMAL
    as_json: bool = False
    film: bool = True

    @classmethod
    def of(cls, args: argparse.Namespace) -> "FollowOptions":
        """Read the flags of :func:`add_follow_flags`."""
        return cls(verbosity_of(args), args.json, not args.no_film)


def add_follow_flags(parser: Parser) -> None:
    """Add the flags of commands that train."""
    parser.add_argument("--no-film", action="store_true", help="do not write the film of the run")
    add_output_flags(parser)


def follow_run(
    start: "Callable[[Callable[[], bool]], Iterator[Event]]",
    folder: Path,
    experiment: "Experiment",
    options: FollowOptions,
) -> int:
    """Train while printing progress, then write film and report, print the result and return the exit code.

    `start`: function that takes a function which returns whether to stop, and returns the events of the run.
    """
    from equipoise.cli.terminal import show_run
    from equipoise.inference.run_weights import summarize_weights

    with interruptible() as request:
        finished = show_run(_defer_stops(start(request), request), _display(experiment, options))
    is_interrupted = finished.reason == "interrupted"
    report: ReportFiles | None = None
    weights: WeightsSummary | None = None
    if is_interrupted:
        lines = [f"stopped after step {finished.step}; everything is saved. Resume with: {resume_command(folder)}"]
    else:
        try:
            report = write_report_files(folder, film=options.film, quiet=options.verbosity is Verbosity.QUIET)
        except KeyboardInterrupt:
            message = f"stopped; the run is complete, but its report is not. Write it with: {report_command(folder)}"
            return print_error(message, INTERRUPTED, as_json=options.as_json)
        weights = summarize_weights(folder)
        lines = [*report_lines(report), *([weights.text] if weights.text else [])]
    files = {
        "report": str(report.page) if report else None,
        "film": str(report.film) if report and report.film else None,
    }
    outcome = {name: getattr(finished, name) for name in ("step", "images", "seconds", "reason", "verdict")}
    is_unhealthy = finished.verdict in ("unhealthy", "diverged") and not is_interrupted
    if is_unhealthy:
        lines.append(_unhealthy_text(finished, folder))
    missing = _missing_evidence(folder) if finished.verdict == "unknown" else ""
    if missing and options.verbosity is not Verbosity.QUIET:
        lines.append(f"the health of the run is unknown: {missing} (--metric, --evaluate-every)")
    best = asdict(weights.best) if weights is not None and weights.best is not None else None
    steps = {"weights_step": weights.weights_step if weights is not None else None, "best": best}
    outcome |= {"missing": missing} if missing else {}
    print_result(options.as_json, {"run": str(folder), **files, **outcome, **steps}, lines)
    return INTERRUPTED if is_interrupted else UNHEALTHY if is_unhealthy else 0


def _defer_stops(events: "Iterator[Event]", request: StopRequest) -> "Iterator[Event]":
    """Yield the same events. From the first one on, when there is something to save, a signal only requests a stop."""
    for event in events:
        request.defer()
        yield event


def _display(experiment: "Experiment", options: FollowOptions) -> "RunDisplay":
    """Return how to show a run: its knobs with schedules, and an estimate of the time for the report."""
    from equipoise.cli.terminal import RunDisplay
    from equipoise.core import catalog
    from equipoise.core.controller import AnyController, scheduled_knobs
    from equipoise.report.steps import estimate_seconds

    controller = experiment.controller
    scheduled: frozenset[str] = frozenset()
    if controller is not None:
        built: AnyController = catalog.build("controllers", controller.name, controller.options)
        scheduled = scheduled_knobs(built)
    samples = (experiment.steps or 0) // (experiment.sample_every or 1) + 1
    return RunDisplay(options.verbosity, scheduled, estimate_seconds(samples, film=options.film))


def write_report_files(folder: Path, *, film: bool = True, quiet: bool = False) -> "ReportFiles":
    """Write figures, film and page of a run, with a progress bar unless `quiet`; return their paths.

    If the film fails, an error is printed and the page is written without it. Raises RunError if figures or page fail.
    """
    from equipoise.cli.terminal import show_steps
    from equipoise.report.steps import report_steps
    from equipoise.runs.run import Run

    try:
        files = show_steps(report_steps(Run(folder), film=film), quiet=quiet)
    except OSError as error:
        raise RunError(unwritable(folder, error, then=report_command(folder))) from error
    if files.film_error:
        print_error(files.film_error)
    return files


def report_lines(files: "ReportFiles") -> list[str]:
    """Format the paths of the film and the page, one per line."""
    return [*([f"film: {files.film}"] if files.film else []), f"report: {files.page}"]


def _missing_evidence(folder: Path) -> str:
    """Return what a run lacks to call it healthy: its last reading, with the measurements after it; "" without one."""
    from equipoise.cli.commands._log_diagnosis import diagnose_path
    from equipoise.diagnosis.logs.log_columns import ReadOptions
    from equipoise.runs.run import Run

    run = Run(folder)
    readings = list(run.lines("sensed"))
    if not readings:
        return ""
    missing = str(readings[-1]["health"].get("missing", ""))
    if any(line["step"] >= readings[-1]["step"] for line in run.lines("evaluated")):
        (game,) = diagnose_path(str(folder), ReadOptions())
        return game.diagnosis.diagnosis.missing or missing
    return missing


def _unhealthy_text(finished: "Finished", folder: Path) -> str:
    """Format why a run ended unhealthy and what to do."""
    from equipoise.runs.run import Run

    if finished.verdict == "diverged":
        return f"the run diverged at step {finished.step}: a loss or gradient was not finite; reduce lr_d and lr_g"
    findings = Run(folder).lines("sensed")[-1]["health"]["findings"]
    symptoms = ", ".join(finding["symptom"].replace("_", " ") for finding in findings if finding["severity"] >= SERIOUS)
    return f"the run ended unhealthy: {symptoms}. For evidence and advice: equipoise diagnose {shell_path(folder)}"
