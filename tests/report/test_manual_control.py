"""Manual control of a run in its summary, its page and its film."""

import pytest

from equipoise.core.events import Event, Finished, Requested
from equipoise.report.film_panels import film_panels
from equipoise.report.page import write_page
from equipoise.report.run_history import read_history
from equipoise.report.run_summary import rerun_command, summarise_run
from equipoise.runs.run import Run

from .conftest import BATCH, EXPERIMENT, Maker, pictures, sensed, started, text_of, turned


def controlled() -> list[Event]:
    """A run in which a person held lr_d from step 100 to 300, and one request was refused."""
    events: list[Event] = [started(), pictures(0)]
    for step in range(20, 401, 20):
        events.append(sensed(step))
        if step == 100:
            events += [
                Requested(step, step * BATCH, "turn", "lr_d", 1e-4, by="studio", request="1"),
                turned(step, "lr_d", 2e-4, 1e-4, by="manual", why="held by studio"),
                Requested(step, step * BATCH, "note", text="<b>softer</b>", request="2"),
                Requested(step, step * BATCH, "turn", "lr_x", 1.0, request="3", refused="there is no knob 'lr_x'"),
            ]
        if step == 300:
            events.append(Requested(step, step * BATCH, "release", "lr_d", request="4"))
            events.append(turned(step, "lr_d", 1e-4, 2e-4, by="manual", why="released"))
    return [*events, Finished(400, 400 * BATCH, "steps", "healthy", 60.0)]


@pytest.fixture
def run(write_run: Maker) -> Run:
    return write_run(controlled())


def test_the_summary_names_the_knobs_that_were_held(run: Run, write_run: Maker) -> None:
    assert "under manual control of lr_d;" in summarise_run(read_history(run))
    plain = write_run([started(), pictures(0), sensed(400)], "plain")
    assert "manual" not in summarise_run(read_history(plain))


@pytest.mark.usefixtures("empty_figures")
def test_the_page_lists_all_requests_with_their_outcome(run: Run) -> None:
    page = write_page(run).read_text()
    section = page[page.index("<h2>Manual control</h2>") :]
    for words in ("turn lr_d", "release lr_d", "studio", "refused: there is no knob", "&lt;b&gt;softer&lt;/b&gt;"):
        assert words in section
    assert "held by studio" in page


@pytest.mark.usefixtures("empty_figures")
def test_the_page_of_another_run_has_no_such_section(write_run: Maker) -> None:
    page = write_page(write_run([started(), pictures(0), sensed(400)])).read_text()
    assert "Manual control" not in page


def test_the_film_shows_what_is_held_and_when(run: Run) -> None:
    (panel,) = [panel for panel in film_panels(read_history(run)) if panel.title == "Manual"]
    texts = [text_of(panel.text_at(step)) for step in (80, 100, 280, 320)]
    assert texts == ["none", "lr_d 1e-4", "lr_d 1e-4", "none"]


def test_the_command_repeats_the_manual_control_of_another_run() -> None:
    assert "--manual runs/first" in rerun_command({**EXPERIMENT, "manual": "runs/first"})
