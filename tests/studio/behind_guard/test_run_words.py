"""What the studio says of a run in words: changes by hand before a finding, what is waited for, charts and facts."""

import dataclasses
import json
from array import array
from pathlib import Path

import numpy as np

from equipoise.pilot.pilot import DENSE_STEPS, SENSE_EVERY
from equipoise.runs.run_index import RunIndex
from equipoise.studio.manual_changes import describe_causes, describe_manual_changes, manual_changes
from equipoise.studio.progress_words import DEFAULT_INTERVAL, EVERY_STEP_UP_TO, describe_progress
from equipoise.studio.studio import Studio

from .conftest import Browser

RUNS = "/api/runs"


def append(root: Path, **line: object) -> None:
    with (root / "ring" / "events.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def test_a_finding_names_the_changes_by_hand_before_it(root: Path, browser: Browser) -> None:
    turned = {"images": 1280, "knob": "lr_d", "by": "manual", "why": "held by studio", "from": 0.00117, "to": 0.006}
    append(root, event="turned", step=40, **turned)
    append(root, event="requested", step=40, images=1280, action="turn", knob="lr_d", value=0.006, by="studio")
    append(root, event="requested", step=40, images=1280, action="release", knob="lr_d", by="studio")
    run = RunIndex(root).open("ring")
    assert describe_causes(manual_changes(run), 90) == [
        "lr_d was set by hand from 0.00117 to 0.006 (× 5.1) at step 40, 50 steps before"
    ]
    assert describe_causes(manual_changes(run), 39) == describe_causes(manual_changes(run), 400) == []
    labels = [item["label"] for item in browser.get(f"{RUNS}/ring/timeline").json["manual"]]
    assert labels == ["lr_d 0.00117 → 0.006", "lr_d given back to the controller"]
    assert describe_manual_changes(manual_changes(run)) == "lr_d 0.00117 → 0.006 at step 40"


def test_the_progress_of_a_run_in_words(root: Path, studio: Studio) -> None:
    run, row = RunIndex(root).open("ring"), studio.runs.row("ring")
    assert describe_progress(run, row) == {"next": "", "left": ""}
    steps, seconds = run.log.readings.steps, run.log.readings.seconds
    steps[-20:], seconds[-20:] = array("q", range(200, 1200, 50)), array("d", np.linspace(0, 950, 20))
    running = dataclasses.replace(row, state="running", step=1150, steps=2150, updated=1000.0)
    words = describe_progress(run, running, now=1010.0)
    assert words == {"next": "at step 1,200, in about 40 s", "left": "about 17 min 0 s left"}
    assert describe_progress(run, running, now=9e9)["next"] == "at step 1,200, in a moment"


def test_the_next_reading_is_that_of_the_run(root: Path, studio: Studio) -> None:
    assert (EVERY_STEP_UP_TO, DEFAULT_INTERVAL) == (DENSE_STEPS, SENSE_EVERY)
    run, row = RunIndex(root).open("ring"), studio.runs.row("ring")
    run.log.readings.seconds[-2:] = array("d", [1.0, 2.0])
    for last, following in (((98, 99), 100), ((99, 100), 150), ((100, 150), 200), ((120, 140), 160)):
        run.log.readings.steps[-2:] = array("q", last)
        words = describe_progress(run, dataclasses.replace(row, state="running", step=last[1]))
        assert words["next"].startswith(f"at step {following}, "), last


def test_charts_settings_and_events_are_texts(browser: Browser) -> None:
    run = browser.get(f"{RUNS}/ring").json
    charts = {chart["title"]: chart for chart in run["charts"]}
    labels = [line["label"] for line in charts["Rank"]["lines"]]
    assert (charts["Rank"]["section"], charts["Rank"]["range"]) == ("Balance", [-1, 1])
    assert "below 0: it takes fakes for reals" in charts["Rank"]["note"]
    assert {"train fake", "train held out"} >= set(labels)
    assert charts["coverage:samples"]["note"].endswith("is better")
    assert ["model.name", "mlp"] in run["settings"]
    texts = browser.get(f"{RUNS}/ring/events?limit=1").json["texts"]
    assert texts[0].startswith("step 40  ")
