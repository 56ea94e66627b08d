"""Writing a report step by step: progress, and no half-written files if it is stopped or done twice at once."""

import threading
from pathlib import Path

import pytest

from equipoise.errors import RunError
from equipoise.report import film
from equipoise.report.steps import ReportFiles, ReportStep, estimate_seconds, report_steps
from equipoise.runs.artifacts import write_bytes

from .conftest import Maker, pictures, sensed, started


def files_of(steps) -> tuple[list[ReportStep], ReportFiles]:
    """Run a report to its end; return its steps and files."""
    made = []
    while True:
        try:
            made.append(next(steps))
        except StopIteration as end:
            return made, end.value


@pytest.mark.usefixtures("empty_figures")
def test_steps_reach_their_total(write_run: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film, "MIN_SECONDS", 1.0)
    monkeypatch.setattr(film, "HOLD_SECONDS", 0.2)
    run = write_run([started(), pictures(0), sensed(10)])
    steps, files = files_of(report_steps(run))
    assert [step.task for step in steps if step.done == step.total] == ["figures", "film", "page"]
    assert len([step for step in steps if step.task == "film"]) == 15
    assert files.film == run.folder / "film" / "training_progress.mp4"
    assert files.page.exists()


@pytest.mark.usefixtures("empty_figures")
def test_stopped_film_leaves_no_file(write_run: Maker) -> None:
    run = write_run([started(), pictures(0), sensed(10)])
    steps = report_steps(run)
    while next(steps).task != "film":
        pass
    steps.close()
    assert list((run.folder / "film").iterdir()) == []


@pytest.mark.usefixtures("empty_figures")
def test_report_without_film(write_run: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run([started(), pictures(0), sensed(10)])
    assert files_of(report_steps(run, film=False))[1].film is None

    def fail(run: object) -> None:
        raise RunError("no film: a reason")

    monkeypatch.setattr(film, "film_steps", fail)
    files = files_of(report_steps(run))[1]
    assert (files.film, files.film_error) == (None, "no film: a reason")
    assert files.page.exists()


def test_estimate_grows_with_the_film() -> None:
    assert estimate_seconds(100, film=False) == estimate_seconds(0) < estimate_seconds(10) < estimate_seconds(100)


def test_two_writers_at_once(tmp_path: Path) -> None:
    """Each file is complete, and none of the writers fails."""
    contents = [bytes([number]) * 200_000 for number in range(8)]
    errors: list[Exception] = []

    def write(content: bytes) -> None:
        try:
            for _ in range(20):
                write_bytes(tmp_path / "page.html", content)
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (tmp_path / "page.html").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
