"""Writing all files of a report one after the other, so that a caller can show the progress and stop."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from equipoise.errors import EquipoiseError
from equipoise.runs.run import Run

FIGURE_SECONDS = 4.0
"""Seconds to draw the figures of a run, for estimates: measured on one core of 2026."""


@dataclass(frozen=True, slots=True)
class ReportStep:
    """Progress of one part of a report: `done` of `total` parts or frames of a `task`. `note`: for the user."""

    task: str
    done: int
    total: int
    note: str | None = None


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """Files of a report. `film`: None without a film; then `film_error` is the reason if it could not be written."""

    page: Path
    film: Path | None = None
    film_error: str | None = None


def report_steps(run: Run, *, film: bool = True) -> Generator[ReportStep, None, ReportFiles]:
    """Write figures, film and page of a run, yielding the progress; return the paths.

    If the film fails, the page is written without it. Raises RunError if figures or page fail.
    """
    from equipoise.report.film import film_steps
    from equipoise.report.page import write_page
    from equipoise.report.progress_figure import write_progress_figure

    film_path = film_error = None
    yield ReportStep("figures", 0, 1)
    write_progress_figure(run)
    yield ReportStep("figures", 1, 1)
    if film:
        try:
            film_path = yield from film_steps(run)
        except EquipoiseError as error:
            film_error = str(error)
    yield ReportStep("page", 0, 1)
    page = write_page(run)
    yield ReportStep("page", 1, 1)
    return ReportFiles(page, film_path, film_error)


def estimate_seconds(samples: int, *, film: bool = True) -> float:
    """Estimate how long the report of a run with this number of sample files takes to write."""
    from equipoise.report import film as film_module

    return FIGURE_SECONDS + (film_module.estimate_seconds(samples) if film and samples else 0.0)
