"""Shared functions of commands that train: prepare data, show progress, stop a run safely, write its report."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.output import INTERRUPTED, UNHEALTHY, print_result
from equipoise.core.observations import SERIOUS
from equipoise.errors import EquipoiseError, RunError, unwritable

if TYPE_CHECKING:
    from equipoise.core.events import Event, Finished
    from equipoise.experiment.settings import Experiment


def prepare_data(experiment: "Experiment", *, quiet: bool) -> None:
    """Prepare the data of an experiment, if necessary, with a progress bar and notes on the data."""
    from equipoise.cli.terminal import show_preparation
    from equipoise.experiment import completion

    show_preparation(completion.prepare_data(experiment), quiet=quiet)


def follow_run(start: "Callable[[Callable[[], bool]], Iterator[Event]]", folder: Path, as_json: bool) -> int:
    """Train while printing progress, then write film and report, print the result and return the exit code.

    `start`: function that takes a function which returns whether to stop, and returns the events of the run.
    """
    from equipoise.cli.terminal import show_run

    with interruptible() as interrupted:
        finished = show_run(start(interrupted), quiet=as_json)
    is_interrupted = finished.reason == "interrupted"
    page = film = None
    if is_interrupted:
        text = f"stopped after step {finished.step}; everything is saved. Resume with: equipoise resume {folder}"
    else:
        try:
            page, film = write_report_files(folder)
        except OSError as error:
            raise RunError(unwritable(folder, error)) from error
        except KeyboardInterrupt:
            message = f"stopped; the run is complete, but its report is not. Write it with: equipoise report {folder}"
            print(f"\nequipoise: {message}", file=sys.stderr)
            return INTERRUPTED
        text = report_text(page, film)
    files = {name: str(path) if path else None for name, path in (("report", page), ("film", film))}
    outcome = {name: getattr(finished, name) for name in ("step", "images", "seconds", "reason", "verdict")}
    is_unhealthy = finished.verdict != "healthy" and not is_interrupted
    if is_unhealthy:
        text = f"{text}\n{_unhealthy_text(finished, folder)}"
    print_result(as_json, {"run": str(folder), **files, **outcome}, text)
    return INTERRUPTED if is_interrupted else UNHEALTHY if is_unhealthy else 0


def write_report_files(folder: Path, *, film: bool = True) -> tuple[Path, Path | None]:
    """Write figures, film and page of a run; return the paths of the page and of the film (None without a film).

    If the film fails, an error is printed and the page is written without it. Raises RunError if figures or page fail.
    """
    from equipoise.report.film import write_film
    from equipoise.report.page import write_page
    from equipoise.report.progress_figure import write_progress_figure
    from equipoise.runs.run import Run

    run, film_path = Run(folder), None
    write_progress_figure(run)
    if film:
        try:
            film_path = write_film(run)
        except EquipoiseError as error:
            print(f"equipoise: {error}", file=sys.stderr)
    return write_page(run), film_path


def report_text(page: Path, film: Path | None) -> str:
    """Format the paths of the page and the film."""
    return (f"film: {film}\n" if film else "") + f"report: {page}"


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Catch Ctrl-C and SIGTERM: the first requests a stop, reported by the yielded function; the second exits."""
    is_interrupted = False

    def on_signal(number: int, frame: object) -> None:
        nonlocal is_interrupted
        if is_interrupted:
            sys.exit(INTERRUPTED)
        is_interrupted = True
        print("\nsaving after this step; press Ctrl-C again to stop immediately", file=sys.stderr)

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: is_interrupted
    finally:
        for number, action in previous.items():
            signal.signal(number, action)


def _unhealthy_text(finished: "Finished", folder: Path) -> str:
    """Format why a run ended unhealthy and what to do."""
    from equipoise.runs.run import Run

    if finished.verdict == "diverged":
        return f"the run diverged at step {finished.step}: a loss or gradient was not finite; reduce lr_d and lr_g"
    findings = Run(folder).lines("sensed")[-1]["health"]["findings"]
    symptoms = ", ".join(finding["symptom"].replace("_", " ") for finding in findings if finding["severity"] >= SERIOUS)
    return f"the run ended unhealthy: {symptoms}. For evidence and advice: equipoise diagnose {folder}"
