"""Request files of a run folder: written, taken in order, refused, moved aside; and read again from the log."""

import errno
import json
import os
import time
from pathlib import Path

import pytest

from equipoise.core.events import Requested
from equipoise.core.requests import RunRequest
from equipoise.errors import RunError
from equipoise.runs import requests as run_requests
from equipoise.runs.folders import create_run
from equipoise.runs.log import Log
from equipoise.runs.requests import (
    MAX_AT_ONCE,
    MAX_BYTES,
    REQUESTS_FOLDER,
    RequestFolder,
    read_manual_changes,
    requests_of_run,
    waiting_requests,
    write_request,
)
from equipoise.runs.run import Run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_run(tmp_path / "run", {})
    return tmp_path / "run"


def put(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / REQUESTS_FOLDER / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def files(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / REQUESTS_FOLDER))


def test_requests_are_taken_once_in_the_order_in_which_they_were_sent(folder: Path) -> None:
    source = RequestFolder(folder)
    sent = [RunRequest("turn", "lr_d", 1e-4, by="me"), RunRequest("note", text="ö"), RunRequest("release", "lr_d")]
    ids = [write_request(folder, request) for request in sent]
    assert [request.id for request in waiting_requests(folder)] == ids == sorted(ids)
    taken = source.take(3, is_reading=True)
    assert [(r.action, r.knob, r.value, r.text, r.by) for r in taken] == [
        (r.action, r.knob, r.value, r.text, r.by) for r in sent
    ]
    assert [request.id for request in taken] == ids
    assert files(folder) == []
    assert waiting_requests(folder) == []
    assert list(source.take(4, is_reading=True)) == []


def test_a_run_without_requests_gets_no_folder(folder: Path) -> None:
    before = sorted(os.listdir(folder))
    source = RequestFolder(folder)
    assert list(source.take(1, is_reading=True)) == list(source.take(2, is_reading=False)) == []
    assert waiting_requests(folder) == []
    assert sorted(os.listdir(folder)) == before


def test_between_readings_only_a_stop_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_requests, "STOP_INTERVAL", 0.0)
    source = RequestFolder(folder)
    write_request(folder, RunRequest("turn", "lr_d", 1e-4))
    write_request(folder, RunRequest("stop"))
    assert [request.action for request in source.take(51, is_reading=False)] == ["stop"]
    assert list(source.take(52, is_reading=False)) == []
    assert [request.action for request in source.take(100, is_reading=True)] == ["turn"]


def test_looks_between_readings_are_rare(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    source = RequestFolder(folder)
    source.take(50, is_reading=True)
    write_request(folder, RunRequest("stop"))
    assert list(source.take(51, is_reading=False)) == []
    clock[0] += run_requests.STOP_INTERVAL
    assert [request.action for request in source.take(52, is_reading=False)] == ["stop"]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("1-ab.json", "{", "not JSON"),
        ("1-ab.json", b"\xff\xfe", "not JSON"),
        ("1-ab.json", "[" * 100_000, "bytes; a request has at most"),
        ("1-ab.json", "[" * 60_000, "not JSON"),
        ("1-ab.json", "{}", "no action"),
        ("1-ab.json", '{"action": "turn", "knob": "lr_d", "value": NaN}', "finite"),
        ("1-ab.json", b" " * (MAX_BYTES + 1), "bytes"),
        ("readme.txt", '{"action": "stop"}', "its name"),
        ("1-ab.yaml", '{"action": "stop"}', "its name"),
    ],
)
def test_files_that_are_no_requests_are_reported_and_moved_aside(
    folder: Path, name: str, content: bytes | str, problem: str
) -> None:
    put(folder, name, content)
    write_request(folder, RunRequest("sample"))
    source = RequestFolder(folder)
    (waiting, *_) = [request for request in waiting_requests(folder) if request.problem]
    assert problem in waiting.problem
    taken = source.take(5, is_reading=True)
    (refused,) = [request for request in taken if request.action == "invalid"]
    assert problem in refused.problem
    assert [request.action for request in taken if not request.problem] == ["sample"]
    assert files(folder) == [f"{name}.rejected"]
    assert list(source.take(6, is_reading=True)) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are files on POSIX only")
def test_what_is_no_regular_file_is_never_opened(folder: Path, tmp_path: Path) -> None:
    put(folder, "3-ab.json", '{"action": "sample"}')
    os.mkfifo(folder / REQUESTS_FOLDER / "1-ab.json")
    (tmp_path / "outside.json").write_text('{"action": "stop"}')
    (folder / REQUESTS_FOLDER / "2-ab.json").symlink_to(tmp_path / "outside.json")
    (folder / REQUESTS_FOLDER / "4-ab.json").mkdir()
    taken = RequestFolder(folder).take(1, is_reading=True)
    assert [request.action for request in taken] == ["invalid", "invalid", "sample", "invalid"]
    assert "regular" in taken[0].problem
    assert (tmp_path / "outside.json").exists()


def test_hidden_and_partial_files_are_ignored(folder: Path) -> None:
    put(folder, ".DS_Store", "x")
    put(folder, ".1-ab.json.77-1.partial", "{")
    assert list(RequestFolder(folder).take(1, is_reading=True)) == []
    assert len(files(folder)) == 2


def test_a_file_that_cannot_be_deleted_is_refused_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_request(folder, RunRequest("save"))

    def unlink(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "unlink", unlink)
    source = RequestFolder(folder)
    (request,) = source.take(1, is_reading=True)
    assert "cannot be deleted (Permission denied)" in request.problem
    assert list(source.take(2, is_reading=True)) == []


def test_a_folder_that_cannot_be_read_is_reported_once(folder: Path) -> None:
    (folder / REQUESTS_FOLDER).write_text("a file")
    source = RequestFolder(folder)
    (request,) = source.take(1, is_reading=True)
    assert request.action == "invalid"
    assert "cannot be read" in request.problem
    assert list(source.take(2, is_reading=True)) == []
    with pytest.raises(RunError, match="cannot be read"):
        waiting_requests(folder)


def test_many_requests_are_taken_in_parts(folder: Path) -> None:
    for number in range(MAX_AT_ONCE + 5):
        put(folder, f"{number:03}-ab.json", '{"action": "note", "text": "x"}')
    source = RequestFolder(folder)
    assert len(source.take(1, is_reading=True)) == MAX_AT_ONCE
    assert [request.id for request in source.take(2, is_reading=True)] == [f"{100 + i}-ab" for i in range(5)]


def test_a_stop_for_a_process_that_has_ended_is_refused(folder: Path) -> None:
    write_request(folder, RunRequest("stop"))
    write_request(folder, RunRequest("turn", "lr_d", 1e-4))
    source = RequestFolder(folder)  # the next process opens the folder
    stop, turn = source.take(1, is_reading=True)
    assert "has ended already" in stop.problem
    assert turn.problem == "", "what was sent to a run that does not run is done when it is resumed"
    write_request(folder, RunRequest("stop"))
    (stop,) = source.take(2, is_reading=True)
    assert stop.problem == ""


@pytest.mark.parametrize(
    ("number", "named"), [(errno.ENOSPC, "disk of"), (errno.EACCES, "no permission"), (errno.EROFS, "no permission")]
)
def test_a_request_that_cannot_be_written_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, named: str
) -> None:
    def write_bytes(path: Path, content: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(RunError, match=named) as error:
        write_request(folder, RunRequest("save"))
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    assert files(folder) == []


def test_a_request_to_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such folder"):
        write_request(tmp_path / "none", RunRequest("save"))


LOGGED = [
    Requested(5, 40, "turn", "lr_d", 1e-4, request="a"),
    Requested(5, 40, "turn", "lr_x", 1.0, request="b", refused="there is no knob 'lr_x'"),
    Requested(7, 56, "sample", request="c"),
    Requested(7, 56, "invalid", request="d", refused="not JSON"),
    Requested(9, 72, "release", "lr_d", request="e"),
    Requested(9, 72, "stop", request="f"),
]


@pytest.fixture
def logged(folder: Path) -> Path:
    with Log(folder) as log:
        for event in LOGGED:
            log.record(event)
    return folder


def test_changes_of_knobs_are_read_from_the_log(logged: Path) -> None:
    changes = read_manual_changes(Run(logged))
    assert {step: [(r.action, r.knob, r.value) for r in group] for step, group in changes.items()} == {
        5: [("turn", "lr_d", 1e-4)],
        9: [("release", "lr_d", None)],
    }


def test_requests_of_another_run_are_repeated_at_their_steps(logged: Path, tmp_path: Path) -> None:
    create_run(tmp_path / "again", {})
    source = requests_of_run(Run(tmp_path / "again"), logged, 0)
    taken = {step: [r.id for r in source.take(step, is_reading=True)] for step in range(1, 11)}
    assert {step: ids for step, ids in taken.items() if ids} == {5: ["a"], 7: ["c"], 9: ["e"]}, "without the stop"


def test_where_a_step_has_no_reading_the_next_one_repeats_it(logged: Path, tmp_path: Path) -> None:
    create_run(tmp_path / "again", {})
    source = requests_of_run(Run(tmp_path / "again"), logged, 0)
    assert list(source.take(6, is_reading=False)) == []
    assert [r.id for r in source.take(8, is_reading=True)] == ["a", "c"]


def test_a_killed_run_repeats_what_it_had_taken_after_its_checkpoint(logged: Path) -> None:
    source = requests_of_run(Run(logged), None, 5)
    assert [r.id for step in range(6, 12) for r in source.take(step, is_reading=True)] == ["c", "e"]


def test_a_finished_run_repeats_nothing(logged: Path) -> None:
    with (logged / "events.jsonl").open("a") as file:
        file.write(json.dumps({"event": "finished", "step": 9, "images": 72}) + "\n")
    assert isinstance(requests_of_run(Run(logged), None, 5), RequestFolder)


def test_a_run_to_repeat_that_is_gone_is_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such folder"):
        requests_of_run(Run(folder), tmp_path / "gone", 0)


def test_a_damaged_line_is_named(folder: Path) -> None:
    line = {"event": "requested", "step": 3, "images": 8, "action": "turn", "knob": 7, "value": 1.0}
    (folder / "events.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(RunError, match="event 'requested' of step 3"):
        read_manual_changes(Run(folder))
