"""A run of a newer format is named in one line wherever it would be shown; the other runs stay as they are."""

import json
import shutil
from pathlib import Path

import pytest

from equipoise.runs.folders import hold
from equipoise.runs.migration import FORMAT

from .conftest import Browser

READS = f"has format {FORMAT + 1}, newer than this version reads ({FORMAT}), and was written by equipoise 99.1"
UPDATE = "update with: pip install --upgrade equipoise"


@pytest.fixture
def newer(root: Path) -> Path:
    """A run next to `ring` whose settings, events and notes have other names than those of this version."""
    folder = root / "newer"
    shutil.copytree(root / "ring", folder)
    versions = {"equipoise": "99.1", "torch": "9"}
    (folder / "experiment.json").write_text(
        json.dumps({"format": FORMAT + 1, "versions": versions, "network": {"name": "x"}})
    )
    (folder / "events.jsonl").write_text('{"happened": "sensed"}\n')
    (folder / "annotations.json").write_text("[]")
    return folder


def test_the_table_has_a_row_for_it(newer: Path, browser: Browser) -> None:
    with hold(newer / "events.jsonl", ""):  # while a newer version trains it, too
        rows = {row["id"]: row for row in browser.get("/api/runs").json["runs"]}
    assert rows["ring"]["state"] == "finished"
    assert (rows["newer"]["state"], rows["newer"]["model"]) == ("newer", "")
    assert READS in rows["newer"]["problem"]
    assert rows["newer"]["problem"].endswith(UPDATE)


@pytest.mark.parametrize(
    "path",
    [
        *("", "/series?names=loss_g", "/timeline", "/events", "/samples", "/samples/40.png", "/reals.png", "/requests"),
        *("/labels", "/chosen", "/pair?a=1&b=2", "/report", "/film", "/advice?symptom=plateau"),
    ],
)
def test_what_is_shown_of_a_run(path: str, newer: Path, browser: Browser) -> None:
    answer = browser.get(f"/api/runs/newer{path}")
    assert answer.status == 422
    assert READS in answer.json["error"]
    assert UPDATE in answer.json["error"]
    assert "\n" not in answer.json["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/runs/newer/requests", {"action": "turn", "knob": "lr_d", "value": 1e-3}),
        ("/api/runs/newer/requests", {"action": "stop"}),
        ("/api/runs/newer/resume", {}),
        ("/api/runs/newer/annotations", {"note": "seen"}),
        ("/api/runs/newer/chosen", {"step": 40}),
        ("/api/explore", {"run": "newer", "kind": "grid"}),
    ],
)
def test_nothing_is_written_into_it(path: str, body: dict[str, object], newer: Path, browser: Browser) -> None:
    before = {item: item.read_bytes() for item in sorted(newer.rglob("*")) if item.is_file()}
    answer = browser.post(path, body)
    assert answer.status == 422
    assert READS in answer.json["error"]
    assert {item: item.read_bytes() for item in sorted(newer.rglob("*")) if item.is_file()} == before


@pytest.mark.parametrize("path", ["/api/compare?runs=ring,newer", "/api/explore/newer"])
def test_views_of_several_topics(path: str, newer: Path, browser: Browser) -> None:
    answer = browser.get(path)
    assert (answer.status, READS in answer.json["error"]) == (422, True)


def test_a_format_that_is_no_number(newer: Path, browser: Browser) -> None:
    (newer / "experiment.json").write_text('{"format": "three"}')
    rows = {row["id"]: row for row in browser.get("/api/runs").json["runs"]}
    assert "format 'three', which is not a whole number; restore the original file" in rows["newer"]["problem"]
