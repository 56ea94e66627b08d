"""Requests to runs through the studio: what is sent, what waits, and what is refused before it is sent."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from equipoise.runs.folders import hold
from equipoise.runs.requests import RequestFolder, waiting_requests
from equipoise.runs.run import EVENTS_FILE

PATH = "/api/runs/digits/requests"


@pytest.fixture
def running(runs: Path) -> Iterator[Path]:
    """A run whose log is held, as if a process trained it."""
    with hold(runs / "digits" / EVENTS_FILE, ""):
        yield runs / "digits"


def test_a_slider_becomes_a_request_that_waits_until_it_is_taken(open_studio, running: Path) -> None:
    client = open_studio(running.parent)
    answer = client.post(PATH, {"action": "turn", "knob": "lr_d", "value": 1e-4})
    assert answer.status == 202, answer.content
    (waiting,) = client.get(PATH).values["requests"]
    assert waiting == {
        "request": answer.values["request"],
        "action": "turn",
        "knob": "lr_d",
        "value": 1e-4,
        "by": "studio",
    }
    (taken,) = RequestFolder(running).take(12, is_reading=True)
    assert (taken.action, taken.knob, taken.value, taken.by, taken.id) == (
        *("turn", "lr_d", 1e-4, "studio"),
        answer.values["request"],
    )
    assert client.get(PATH).values == {"requests": []}


@pytest.mark.parametrize(
    "body",
    [
        {"action": "release", "knob": "lr_d"},
        {"action": "sample"},
        {"action": "evaluate"},
        {"action": "save"},
        {"action": "stop"},
        {"action": "note", "text": "since now softer <b>"},
    ],
)
def test_every_action_can_be_sent(open_studio, running: Path, body: dict[str, object]) -> None:
    assert open_studio(running.parent).post(PATH, body).status == 202
    (request,) = waiting_requests(running)
    assert request.to_json() == {**body, "by": "studio"}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{", "invalid json"),
        ({}, "action"),
        ({"action": "dance"}, "no action 'dance'"),
        ({"action": "turn", "knob": "lr_d"}, "lacks 'value'"),
        ({"action": "turn", "knob": "lr_d", "value": "fast"}, "value"),
        ({"action": "turn", "knob": "lr_d", "value": 7}, "outside its range: 1e-06 to 0.01"),
        ({"action": "turn", "knob": "lr_x", "value": 1}, "lr_x has no effect in digits"),
        ({"action": "sample", "knob": "lr_d"}, "no field 'knob'"),
        ({"action": "sample", "path": "/etc"}, "path"),
        ({"action": "note", "text": "x" * 5000}, "characters"),
        ({"action": "turn", "knob": "../../x", "value": 1}, "no effect"),
    ],
)
def test_nonsense_is_refused_in_one_line(open_studio, running: Path, body: object, named: str) -> None:
    answer = open_studio(running.parent).post(PATH, body)
    assert answer.status == 422
    assert named in answer.values["error"]
    assert "\n" not in answer.values["error"]
    assert waiting_requests(running) == []


def test_a_frozen_knob_is_refused(open_studio, running: Path) -> None:
    path = running / "experiment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "freeze": ["lr_g"]}))
    answer = open_studio(running.parent).post(PATH, {"action": "turn", "knob": "lr_g", "value": 1e-4})
    assert (answer.status, answer.values) == (422, {"error": "lr_g is frozen in this run by --freeze"})


def test_nobody_takes_a_request_of_a_run_that_has_ended(open_studio, runs: Path) -> None:
    client = open_studio(runs)
    for action in ("sample", "stop"):
        answer = client.post(PATH, {"action": action})
        assert answer.status == 422
        assert "digits is not running" in answer.values["error"]
    assert not (runs / "digits" / "requests").exists()


@pytest.mark.parametrize("name", ["other", "..", "%2e%2e", "digits%2f..", ""])
def test_only_runs_of_the_folder_can_be_named(open_studio, running: Path, name: str) -> None:
    client = open_studio(running.parent)
    for answer in (
        client.post(f"/api/runs/{name}/requests", {"action": "save"}),
        client.get(f"/api/runs/{name}/requests"),
    ):
        assert answer.status in (404, 405)
    assert waiting_requests(running) == []


def test_a_full_disk_is_one_line(open_studio, running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_bytes(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    answer = open_studio(running.parent).post(PATH, {"action": "save"})
    assert answer.status == 422
    assert "is full; free some space" in answer.values["error"]


def test_a_file_that_is_no_request_is_shown_as_such(open_studio, running: Path) -> None:
    (running / "requests").mkdir()
    (running / "requests" / "1-ab.json").write_text("{")
    assert open_studio(running.parent).get(PATH).values == {
        "requests": [{"request": "1-ab", "action": "invalid", "problem": "it is not JSON"}]
    }
