"""Commands in this process: an empty working directory, fast reports, and commands that must fail."""

from collections.abc import Callable
from pathlib import Path

import pytest

from equipoise.runs.run import Run

ErrorLine = Callable[..., str]


@pytest.fixture(autouse=True)
def working_directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to an empty folder, in every test; run folders are in `tmp_path`."""
    folder = tmp_path_factory.mktemp("working_directory")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def real_report() -> None:
    """Request the real report files, which take longer than the runs."""


@pytest.fixture(autouse=True)
def _no_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace figures, film and page, except for tests that request `real_report`."""
    if "real_report" in request.fixturenames:
        return

    def write_page(run: Run) -> Path:
        (run.folder / "report.html").write_text("a report")
        return run.folder / "report.html"

    # The files are read, so that a damaged run is still detected.
    figure = "equipoise.report.progress_figure.write_progress_figure"
    monkeypatch.setattr(figure, lambda run: (run.experiment(), run.lines()))
    monkeypatch.setattr("equipoise.report.film.film_steps", lambda run: iter(()))
    monkeypatch.setattr("equipoise.report.page.write_page", write_page)


@pytest.fixture
def training_error(error_line: ErrorLine, tiny: list[str], working_directory: Path) -> ErrorLine:
    """Return a function that runs a training that must fail without writing any file, and returns its error.

    Options of the tiny run that the arguments set again are left out.
    """

    def run(*args: object) -> str:
        again = {str(arg).partition("=")[0] for arg in args}
        kept = [word for word in tiny if word.partition("=")[0] not in again or "=" not in word]
        line = error_line("train", *kept, *args)
        assert list(working_directory.iterdir()) == []
        return line

    return run


@pytest.fixture
def error_without_changes(error_line: ErrorLine, snapshot: Callable[[Path], dict[str, bytes]]) -> ErrorLine:
    """Return a function that runs a command that must fail without changing a folder, and returns its error."""

    def run(folder: Path, *args: object) -> str:
        before = snapshot(folder)
        line = error_line(*args)
        assert snapshot(folder) == before
        return line

    return run
