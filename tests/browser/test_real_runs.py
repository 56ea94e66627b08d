"""A run from the form to its end with the real server: started, killed, resumed by button, duplicated with a change."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from equipoise.runs.run import Run
from tests.browser.conftest import require_browser
from tests.browser.test_start import control

TIMEOUT = 180
"""Seconds to wait for what starts a process that imports torch."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def address(root: Path) -> Iterator[str]:
    """The address of a studio of an empty folder; what it started is ended after the test."""
    require_browser()
    words = [sys.executable, "-m", "equipoise", "studio", str(root), "--port", "0", "--no-browser"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    yield process.stdout.readline().split()[-1]
    for folder in root.iterdir():
        for number in trainers(folder):
            os.kill(number, signal.SIGKILL)
    process.terminate()
    process.communicate(timeout=60)


def trainers(folder: Path) -> list[int]:
    """The processes that train a run, by the folder in their command lines."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(folder).encode() in words and (b"train" in words or b"resume" in words):
            found.append(int(place.parent.name))
    return found


def wait_for(page, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, page.inner_text("body")[:2000]
        page.wait_for_timeout(100)


def beginning(page, label: str):
    """The control under a label that begins so, whatever its unit."""
    return page.locator(f".field:has(> span:text-matches('^{label}')) > :nth-child(2)").first


def has_state(page, state: str) -> bool:
    return page.locator(f".run-head .badge[data-state={state}]").count() == 1


def start(page, root: Path) -> Path:
    """Press the button of the form, and return the folder of the run whose page is shown."""
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**#/run/*", timeout=1000 * TIMEOUT)
    return root / page.url.rpartition("/")[2].partition("?")[0]


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc to find the process of the run")
def test_start_kill_resume_and_duplicate(open_page, root: Path) -> None:
    page = open_page("#/runs")
    page.get_by_role("link", name="Start a run").click()
    control(page, "Data set").wait_for(timeout=1000 * TIMEOUT)
    control(page, "Data set").select_option("ring")
    page.get_by_role("radio", name="Steps").check()
    control(page, "Steps (each updates every network)").fill("200000")
    beginning(page, "batch size").fill("8")
    folder = start(page, root)
    assert json.loads((folder / "start.json").read_text())["steps"] == 200000

    wait_for(page, lambda: has_state(page, "running"))
    page.get_by_role("button", name="Save now").click()
    wait_for(page, lambda: bool(Run(folder).lines("saved")))
    wait_for(page, lambda: page.locator(".mark.checkpoint").count() > 0)
    (number,) = trainers(folder)
    os.kill(number, signal.SIGKILL)
    wait_for(page, lambda: has_state(page, "stopped"))
    page.get_by_role("button", name="Resume").click()
    page.locator("dialog").get_by_role("button", name="Resume").click()
    wait_for(page, lambda: bool(Run(folder).lines("resumed")))
    wait_for(page, lambda: has_state(page, "running"))
    page.get_by_role("button", name="Stop").click()
    wait_for(page, lambda: has_state(page, "interrupted"))

    page.get_by_role("link", name="Duplicate").click()
    page.get_by_role("heading", name=f"Start a run like {folder.name}").wait_for(timeout=1000 * TIMEOUT)
    assert control(page, "Data set").input_value() == "ring"
    control(page, "Steps (each updates every network)").fill("20")
    beginning(page, "seed").fill("7")
    other = start(page, root)
    wait_for(page, lambda: has_state(page, "finished"))
    first, second = Run(folder).experiment(), Run(other).experiment()
    assert (second["seed"], second["steps"], second["batch_size"]) == (7, 20, 8)
    assert (first["model"], first["data"]) == (second["model"], second["data"])
