"""Fixtures to run commands in this process, in an empty working directory."""

from collections.abc import Callable
from pathlib import Path

import pytest

from equipoise.cli import main as cli
from equipoise.runs.run import Run

Call = Callable[..., tuple[int, str, str]]
Refused = Callable[..., str]


@pytest.fixture(autouse=True)
def working_directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to an empty folder."""
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

    # A damaged run is still found out: its files are read.
    figure = "equipoise.report.progress_figure.write_progress_figure"
    monkeypatch.setattr(figure, lambda run: (run.experiment(), run.lines()))
    monkeypatch.setattr("equipoise.report.film.write_film", lambda run: None)
    monkeypatch.setattr("equipoise.report.page.write_page", write_page)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs a command: exit code, standard output, standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        code = cli.run([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def refused(call: Call) -> Refused:
    """Return a function that runs a command that must fail with exit code 2, and returns its one line of error."""

    def run(*words: object) -> str:
        code, out, err = call(*words)
        assert (code, out) == (2, ""), err
        assert err.startswith("equipoise: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1, err
        assert "Traceback" not in err
        return err.removeprefix("equipoise: ").rstrip("\n")

    return run


@pytest.fixture
def refused_training(refused: Refused, tiny: list[str], working_directory: Path) -> Refused:
    """Return a function that runs a training that must fail without writing any file, and returns its error."""

    def run(*words: object) -> str:
        line = refused("train", *tiny, *words)
        assert list(working_directory.iterdir()) == []
        return line

    return run


@pytest.fixture
def refused_unchanged(refused: Refused, snapshot: Callable[[Path], dict[str, bytes]]) -> Refused:
    """Return a function that runs a command that must fail without changing a folder, and returns its error."""

    def run(folder: Path, *words: object) -> str:
        before = snapshot(folder)
        line = refused(*words)
        assert snapshot(folder) == before
        return line

    return run
