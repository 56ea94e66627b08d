"""News of a run reach every open page: tabs share one stream, and a run that goes back is drawn again."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import LAST, make_run

TABS = 7


@pytest.fixture
def growing(runs: Path) -> Iterator[Path]:
    """A run of its own in the folder of the studio, deleted at the end."""
    make_run(runs / "growing", is_finished=False)
    yield runs / "growing"
    shutil.rmtree(runs / "growing", ignore_errors=True)


def append(run: Path, **line: object) -> None:
    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps({"images": 16, **line}) + "\n")


def shows_step(page, step: int) -> bool:
    return f"step {step}" in page.inner_text("main").lower()


def test_seven_tabs_learn_what_happens(open_page: Callable[..., object], browser, growing: Path, wait) -> None:
    context = browser.new_context()
    pages = [open_page("#/run/growing", context) for _ in range(TABS)]
    for page in pages:
        wait(lambda page=page: shows_step(page, LAST))
    append(growing, event="saved", step=LAST + 7, checkpoint="step-00000247", best=False)
    for page in pages:
        wait(lambda page=page: shows_step(page, LAST + 7))
    pages[0].close()  # it held the stream
    append(growing, event="saved", step=LAST + 9, checkpoint="step-00000249", best=False)
    for page in pages[1:]:
        wait(lambda page=page: shows_step(page, LAST + 9))
    context.close()


def test_a_run_that_goes_back_is_drawn_again(open_page: Callable[..., object], growing: Path, wait) -> None:
    page = open_page("#/run/growing")
    wait(lambda: shows_step(page, LAST))
    append(growing, event="resumed", step=100)
    wait(lambda: shows_step(page, 100))
    with (growing / "events.jsonl").open("a") as file:
        file.write('{"event": "saved", "step": 110, "images"')
    page.wait_for_timeout(600)
    assert not shows_step(page, 110)
    with (growing / "events.jsonl").open("a") as file:
        file.write(': 16, "checkpoint": "step-00000110", "best": false}\n')
    wait(lambda: shows_step(page, 110))


def test_runs_that_are_compared_are_read_again(open_page: Callable[..., object], growing: Path, wait) -> None:
    page = open_page("#/runs")
    page.goto(page.url.split("#")[0] + "#/compare?runs=growing,done")
    wait(lambda: f"{LAST} of 400" in page.inner_text("main"))
    bar = page.get_by_label("Step of the samples")
    bar.fill("2")
    append(growing, event="saved", step=LAST + 60, checkpoint="step-00000300", best=False)
    append(growing, event="finished", step=LAST + 60, reason="finished", verdict="healthy")
    wait(lambda: f"{LAST + 60} of 400" in page.inner_text("main"))
    assert "healthy" in page.inner_text("main table")
    assert bar.input_value() == "2"


def test_a_run_that_is_deleted_leaves_the_table(open_page: Callable[..., object], growing: Path, wait) -> None:
    page = open_page("#/runs")
    wait(lambda: page.get_by_text("growing", exact=True).count() == 1)
    shutil.rmtree(growing)
    wait(lambda: page.get_by_text("growing", exact=True).count() == 0)


def test_the_token_is_not_in_the_address(open_page: Callable[..., object], growing: Path) -> None:
    page = open_page("#/runs")
    assert "token" not in page.url
    assert "token" not in page.evaluate("document.cookie + JSON.stringify(history.state) + document.referrer")
