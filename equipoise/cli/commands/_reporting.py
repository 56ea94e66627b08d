"""Making the pictures of a run, so that a film that fails takes nothing else with it."""

import sys
from pathlib import Path

from equipoise.errors import EquipoiseError


def report(folder: Path, *, film: bool = True) -> tuple[Path, Path | None]:
    """Make figures, film and page; the paths of the page and of the film, None without one.

    A film that cannot be made is told in one line on standard error. Raises RunError if the others cannot be made.
    """
    from equipoise.report import page
    from equipoise.report import progress_figure
    from equipoise.report import film as films
    from equipoise.runs.run_folder import Run

    run, made = Run(folder), None
    progress_figure.write_progress_figure(run)
    if film:
        try:
            made = films.write_film(run)
        except EquipoiseError as error:
            print(f"equipoise: {error}", file=sys.stderr)
    return page.write_page(run), made


def told(page: Path, film: Path | None) -> str:
    """Where they are, for people."""
    return (f"film: {film}\n" if film else "") + f"report: {page}"
